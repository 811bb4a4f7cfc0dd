"""One graph for all sizes makes what each size's own graph makes, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typed_graphs import MODELS, equal, form, frame, model, proto

from vidsr.errors import OptionsError
from vidsr.models import Model, deploy, find_model
from vidsr.models.half import dynamic, half
from vidsr.models.simulate import run_typed
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network

RANGE = ((16, 24), (24, 40), (1080, 1920))


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(3)
    network = ECBSR(channels=3, blocks=1, features=8)
    return find_model(str(export_network(network, tmp_path_factory.mktemp("rgb") / "n.onnx")), 2)


def assert_same(network: Model, pixels: str, chroma: str = "bicubic") -> None:
    layout = form(pixels, chroma)
    graph = dynamic(network, layout, RANGE)
    for height, width in ((16, 24), (22, 50)):
        src = frame(layout.pixel_format, width, height)
        static = half(deploy(network, layout, width, height))
        assert equal(run_typed(graph, src), run_typed(static, src))
        assert graph.carriers_at((height, width)) == static.carriers


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n[0] == "2" else pytest.mark.slow) for n in MODELS]
)
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10"])
def test_all_models(name: str, pixels: str) -> None:
    assert_same(model(name), pixels)


@pytest.mark.parametrize("pixels", ["gray", "gbrp", "gbrap10", "yuv422p", "yuv444p10", "yuva420p"])
@pytest.mark.parametrize("chroma", ["bicubic", "nearest"])
def test_luma_network(pixels: str, chroma: str) -> None:
    assert_same(model("2x-ecbsr-m4c8"), pixels, chroma)


@pytest.mark.parametrize("pixels", ["gray", "gbrp", "yuv422p", "yuv420p10"])
@pytest.mark.parametrize("chroma", ["bicubic", "nearest"])
def test_rgb_network(rgb: Model, pixels: str, chroma: str) -> None:
    assert_same(rgb, pixels, chroma)


def test_says_what_is_dynamic() -> None:
    graph = dynamic(model("2x-ecbsr-m4c8"), form("yuv420p10"), RANGE)
    assert graph.dynamic
    assert graph.carriers == graph.out_carriers == ((1, 1, -1, -1, 2),) * 3
    assert graph.carriers_at((24, 40)) == ((1, 1, 24, 40, 2), (1, 1, 12, 20, 2), (1, 1, 12, 20, 2))
    names = {d.dim_param for i in proto(graph).graph.input for d in i.type.tensor_type.shape.dim} - {""}
    assert len(names) == 6  # TensorRT takes equal names for equal sides


def test_does_not_depend_on_the_range() -> None:
    one, other = (
        dynamic(model("2x-ecbsr-m4c8"), form("yuv420p"), r) for r in (RANGE, ((8, 8), (8, 8), (8, 8)))
    )
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("name", "pixels", "sizes", "said"),
    [
        ("2x-ecbsr-m4c8", "yuv420p", ((16, 16), (33, 32), (64, 64)), "not all multiples of 2"),
        ("2x-ecbsr-m4c8", "yuv420p", ((16, 16), (32, 32), (64, 63)), "not all multiples of 2"),
        ("2x-ecbsr-m4c8", "gray", ((16, 16), (64, 32), (32, 64)), "are no range from 8"),
        ("2x-ecbsr-m4c8", "gray", ((4, 16), (32, 32), (64, 64)), "are no range from 8"),
        ("2x-ecbsr-m4c8", "gray", ((16, 16), (32, 32), (64, 1 << 17)), "are no range from 8 to 65536"),
        ("2x-rfdn-s", "gray", ((12, 16), (32, 32), (64, 64)), "are no range from 15"),
    ],
)
def test_sizes_that_do_not_work(name: str, pixels: str, sizes, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        dynamic(model(name), form(pixels), sizes)


def test_networks_that_need_padding(tmp_path: Path, rgb: Model) -> None:
    for spec, said in (
        (replace(rgb.spec, multiple=2), "needs multiples of 2"),
        (replace(rgb.spec, input="target"), "works at the result's size"),
    ):
        with pytest.raises(OptionsError, match=said):
            dynamic(replace(rgb, spec=spec), form("gray"), RANGE)
