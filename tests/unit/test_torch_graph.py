"""Deployed graphs in torch, against OpenVINO."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_pictures import OV_F32, picture, psnr, upscale

from vidsr.backends import get_backend
from vidsr.backends.base import SessionOptions
from vidsr.backends.torch_graph import TorchGraph
from vidsr.errors import EngineBuildError
from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.models.lookup import list_models
from vidsr.models.steps import read_graph

SIZE = (48, 35)
FORMATS = "yuv420p yuv420p10 yuv422p yuv444p12 yuva420p gray gray16 gbrp gbrap10 gbrp16".split()
MODELS = list_models()


def _compare(got: Planes, wanted: Planes, share: float) -> None:
    for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
        off = np.abs(one.astype(np.int64) - other)
        assert off.max() <= 1, f"plane {i}: {off.max()} codes off"
        assert np.count_nonzero(off) <= max(2, share * off.size), f"plane {i}: {np.mean(off > 0):.5f}"


def _check(deployed: Deployed) -> None:
    pixels = deployed.format.pixel_format
    src = picture(pixels, deployed.width, deployed.height)
    got = upscale(get_backend("torch"), deployed, src, SessionOptions(threads=1, device="cpu"))
    # The finer the codes, the nearer to f32's own steps: which of two is nearer depends on the order of sums.
    # At 12 bits torch and OpenVINO are each off from float64 on 0.02 % of samples (benchmarks/exactness.py).
    share = 0.01 if pixels.bit_depth == 16 else 0.001 if pixels.bit_depth > 10 else 0.0005
    _compare(got, upscale(get_backend("openvino"), deployed, src, OV_F32), share)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.spec.id)
def test_every_model(model: Model) -> None:
    _check(deploy(model, FrameFormat(PixelFormat.parse("yuv420p10")), *SIZE))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", ["2x-ecbsr-m4c8", "2x-rfdn-s"])
def test_formats(model: str, name: str) -> None:
    _check(deploy(find_model(model, 2), FrameFormat(PixelFormat.parse(name)), *SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.spec.id)
def test_every_model_on_every_format(model: Model, name: str) -> None:
    for target in (None, (177, 151)):
        _check(deploy(model, FrameFormat(PixelFormat.parse(name)), *SIZE, target))


@pytest.mark.parametrize(
    ("name", "more", "target"),
    [
        ("yuv420p", {}, (137, 119)),
        ("gbrp10", {}, (60, 40)),
        ("yuv422p", {"chroma": "nearest"}, None),
        ("yuv411p", {"chroma": "nearest"}, (101, 99)),
        ("yuv420p", {"chroma_location": ChromaLocation.CENTER, "range": ColorRange.FULL}, None),
        ("yuv444p", {"matrix": Matrix.BT601}, None),
    ],
)
@pytest.mark.parametrize("model", ["2x-ecbsr-m4c8", "2x-imdn-rtc"])
def test_targets_and_colour(model: str, name: str, more: dict[str, object], target) -> None:
    _check(deploy(find_model(model, 2), FrameFormat(PixelFormat.parse(name), **more), *SIZE, target))  # type: ignore[arg-type]


@pytest.mark.parametrize("corners", [False, True])
def test_networks_at_the_target_s_size(tmp_path, corners: bool) -> None:
    from vidsr.networks.export import export_network
    from vidsr.networks.imdn_as import IMDNAS

    torch.manual_seed(3)
    path = export_network(IMDNAS(features=8), tmp_path / "as.onnx")
    model = find_model(str(path), 1)
    model = replace(model, spec=replace(model.spec, id="2x-as", scale=2, input="target", multiple=4))
    deployed = deploy(model, FrameFormat(PixelFormat.parse("yuv420p")), 40, 36, (96, 80), corners=corners)
    _check(deployed)


@pytest.mark.parametrize("name", ["yuv420p", "gbrp"])
def test_int8_files_round_as_onnx_says(name: str) -> None:
    """Values between two codes fall to either side by the last bit of a sum, so not every sample is equal."""
    form = FrameFormat(PixelFormat.parse(name))
    deployed = deploy(find_model("2x-ecbsr-m4c16", 2).at("int8"), form, *SIZE)
    src = picture(form.pixel_format, *SIZE)
    options = SessionOptions(precision="int8", threads=1, device="cpu")
    got = upscale(get_backend("torch"), deployed, src, options)
    wanted = upscale(get_backend("openvino"), deployed, src, OV_F32)
    assert max(np.mean(a != b) for a, b in zip(got, wanted, strict=True)) < 0.01
    assert psnr(got, wanted, 255) > 65
    with pytest.raises(EngineBuildError, match="not of an int8 file"):
        get_backend("torch").open(deploy(find_model("2x-ecbsr-m4c16", 2), form, *SIZE), options)


# ---- half precision, as a GPU has it -----------------------------------------------------------------


def _half(deployed: Deployed, src: Planes) -> Planes:
    graph = TorchGraph(read_graph(deployed.model_bytes), half=True)
    kind = deployed.format.pixel_format.dtype
    planes = [torch.from_numpy(p.view(np.int16) if p.itemsize == 2 else p)[None, None] for p in src]
    return tuple(plane.numpy().view(kind)[0, 0] for plane in graph(planes))


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10", "gray16", "gbrp"])
@pytest.mark.parametrize("model", ["2x-ecbsr-m4c16", "2x-rfdn-s", "2x-imdn-rtc"])
def test_half_precision_loses_little(model: str, name: str) -> None:
    pixels = PixelFormat.parse(name)
    deployed = deploy(find_model(model, 2), FrameFormat(pixels), *SIZE)
    src = picture(pixels, *SIZE)
    wanted = upscale(get_backend("torch"), deployed, src, SessionOptions(device="cpu", threads=1))
    made = _half(deployed, src)
    floor = {8: 62, 10: 68, 16: 73}[pixels.bit_depth]  # rounding to 8 and 10 bits is at 59 and 71 dB
    assert psnr(made, wanted, pixels.peak) > floor
    if pixels.family == "yuv" and model == "2x-ecbsr-m4c16":  # chroma meets no network
        _compare(made[1:], wanted[1:], 0)


def test_only_what_lies_between_convolutions_is_half() -> None:
    model, form = find_model("2x-ecbsr-m4c8", 2), FrameFormat(PixelFormat.parse("gray16"))
    graph = TorchGraph(read_graph(deploy(model, form, *SIZE).model_bytes), half=True)
    halves = [call.function.__qualname__.split(".")[0] for call in graph._calls if call.half]
    assert halves == ["_convolution", *["_prelu", "_convolution"] * 5]
    lifted = [call.factor for call in graph._calls if call.factor != 1]
    assert lifted
    assert all(factor <= 2**-12 and np.log2(factor).is_integer() for factor in lifted)


def test_nothing_is_kept_after_its_last_use() -> None:
    deployed = deploy(find_model("2x-rfdn-s", 2), FrameFormat(PixelFormat.parse("yuv420p")), *SIZE)
    graph = TorchGraph(read_graph(deployed.model_bytes))
    dead = [name for call in graph._calls for name in call.dead]
    made = {name for call in graph._calls for name in call.outputs} | set(graph._inputs)
    assert len(dead) == len(set(dead))
    assert set(dead) == made - set(graph._outputs)
