"""Deployed graphs against an independent float64 computation: torch for networks, matrices for the rest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from deploy_reference import Array, expected_planes

from vidsr.backends import SessionOptions, openvino
from vidsr.backends.openvino import BACKEND
from vidsr.errors import OptionsError
from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.networks.ecbsr import ECBSR, PlainECBSR
from vidsr.networks.export import export_network

SIZES = [(1, 1), (3, 5), (33, 17)]


def _network(channels: int, scale: int) -> PlainECBSR:
    torch.manual_seed(channels * 10 + scale)
    network = ECBSR(scale=scale, channels=channels, blocks=1, features=8).fold()
    with torch.no_grad():
        for i, kernel in enumerate(network.kernels):
            kernel *= 1.5 if i < 2 else 0.5
    return network


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], tuple[PlainECBSR, Model]]:
    folder = tmp_path_factory.mktemp("nets")
    made = {}
    for channels, scale in ((1, 2), (1, 3), (3, 2), (3, 3)):
        network = _network(channels, scale)
        path = export_network(network, folder / f"n{channels}{scale}.onnx")
        made[channels, scale] = network, find_model(str(path), scale)
    return made


# ---- the independent computation -------------------------------------------------------------------


def _source(pixels: PixelFormat, width: int, height: int) -> Planes:
    """Smooth pictures with some noise, over the whole range of codes."""
    rng = np.random.default_rng(width * height)
    made = []
    for shape in pixels.plane_shapes(width, height):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.45 * np.sin(rows / 3.1 + rng.uniform(0, 6)) * np.cos(columns / 4.3 + rng.uniform(0, 6))
        noise = rng.normal(0, 0.08, shape)
        made.append(np.clip((wave + noise) * pixels.peak, 0, pixels.peak).astype(pixels.dtype))
    return tuple(made)


def _upscale(deployed: Deployed, src: Planes, precision: str = "f32") -> Planes:
    pixels = deployed.format.pixel_format
    dst = pixels.allocate(deployed.out_width, deployed.out_height)
    session = BACKEND.open(deployed, SessionOptions(precision=precision, in_flight=1))  # type: ignore[arg-type]
    session.submit(src, dst).result()
    session.close()
    return dst


def _compare(got: Planes, expected: Sequence[Array], share: float = 1e-3) -> None:
    assert [p.shape for p in got] == [p.shape for p in expected]
    for i, (plane, wanted) in enumerate(zip(got, expected, strict=True)):
        difference = np.abs(plane.astype(np.int64) - wanted)
        assert difference.max() <= 1, f"plane {i}: {difference.max()} codes off"
        assert np.count_nonzero(difference) <= max(1, share * difference.size), f"plane {i}"


@pytest.mark.parametrize(
    "name", ["gray", "gray10", "yuv420p", "yuv420p10", "yuv422p", "yuv444p10", "yuva420p", "gbrp", "gbrap10"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_formats_and_sizes(nets, name: str, channels: int) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    network, model = nets[channels, 2]
    for width, height in SIZES:
        src = _source(form.pixel_format, width, height)
        _compare(_upscale(deploy(model, form, width, height), src), expected_planes(form, network, 2, src))


@pytest.mark.parametrize(
    ("channels", "scale", "form"),
    [
        (1, 3, FrameFormat(PixelFormat.parse("yuv420p"))),
        (3, 3, FrameFormat(PixelFormat.parse("yuv420p"), Matrix.BT601)),
        (1, 2, FrameFormat(PixelFormat.parse("yuv420p"), range=ColorRange.FULL)),
        (3, 2, FrameFormat(PixelFormat.parse("yuv420p"), range=ColorRange.FULL)),
        (1, 2, FrameFormat(PixelFormat.parse("gbrp"), Matrix.RGB, ColorRange.FULL)),
        (1, 2, FrameFormat(PixelFormat.parse("gbrp12"), Matrix.BT601, ColorRange.FULL)),
        (3, 2, FrameFormat(PixelFormat.parse("gbrp"), Matrix.RGB, ColorRange.FULL)),
        (1, 2, FrameFormat(PixelFormat.parse("yuv440p"), chroma_location=ChromaLocation.CENTER)),
        (3, 2, FrameFormat(PixelFormat.parse("yuv440p12"), chroma_location=ChromaLocation.TOP)),
        (1, 2, FrameFormat(PixelFormat.parse("yuv411p"))),
        (3, 2, FrameFormat(PixelFormat.parse("yuv411p"))),
        (3, 2, FrameFormat(PixelFormat.parse("yuv410p"), chroma_location=ChromaLocation.TOPLEFT)),
        (1, 2, FrameFormat(PixelFormat.parse("gray16"))),
    ],
    ids=lambda v: (
        f"{v.pixel_format.name}-{v.matrix}-{v.range}-{v.chroma_location}"
        if isinstance(v, FrameFormat)
        else str(v)
    ),
)
def test_colour(nets, channels: int, scale: int, form: FrameFormat) -> None:
    network, model = nets[channels, scale]
    src = _source(form.pixel_format, 37, 23)
    share = 1e-3 if form.pixel_format.bit_depth < 16 else 0.05  # f32 has 24 bits
    _compare(_upscale(deploy(model, form, 37, 23), src), expected_planes(form, network, scale, src), share)


@pytest.mark.parametrize("location", list(ChromaLocation))
@pytest.mark.parametrize("channels", [1, 3])
def test_siting(nets, location: ChromaLocation, channels: int) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"), chroma_location=location)
    network, model = nets[channels, 2]
    src = _source(form.pixel_format, 16, 12)
    _compare(_upscale(deploy(model, form, 16, 12), src), expected_planes(form, network, 2, src))


@pytest.mark.parametrize(("location", "first"), [(ChromaLocation.LEFT, 0.5), (ChromaLocation.CENTER, 1.0)])
def test_a_ramp_stays_where_it_is(nets, location: ChromaLocation, first: float) -> None:
    """Chroma that is linear across the picture has its values at the same places of the target.

    `first` is the place of chroma sample 0 in luma samples from the corner; sample i is 2 i further.
    """
    form = FrameFormat(PixelFormat.parse("yuv420p10"), chroma_location=location)
    u = np.tile((64 + 16 * np.arange(32)).astype(np.uint16), (4, 1))
    src = (np.full((8, 64), 300, np.uint16), u, np.full((4, 32), 512, np.uint16))
    got = _upscale(deploy(nets[1, 2][1], form, 64, 8), src)[1][4]
    places = (first + 2 * np.arange(64)) / 2  # in luma samples of the source
    wanted = 64 + 16 * (places - first) / 2
    np.testing.assert_array_equal(got[4:-4], wanted[4:-4])


def test_a_large_odd_picture(nets) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    network, model = nets[1, 2]
    src = _source(form.pixel_format, 321, 241)
    _compare(_upscale(deploy(model, form, 321, 241), src), expected_planes(form, network, 2, src))


@pytest.mark.parametrize("name", ["gray", "yuv420p", "yuv422p", "yuv444p", "yuv440p", "gbrp", "yuva420p"])
@pytest.mark.parametrize("channels", [1, 3])
def test_nearest_chroma_and_an_empty_network_repeat_every_sample(
    tmp_path: Path, name: str, channels: int
) -> None:
    for scale, suffix in ((2, ""), (3, "10")):
        network = ECBSR(scale=scale, channels=channels, blocks=0, features=4).fold()
        with torch.no_grad():
            for p in network.parameters():
                p.zero_()
        model = find_model(str(export_network(network, tmp_path / f"{scale}.onnx")), scale)
        form = FrameFormat(PixelFormat.parse(name + suffix), chroma="nearest")
        for width, height in ((1, 1), (7, 5), (32, 16)):
            src = _source(form.pixel_format, width, height)
            for precision in set(BACKEND.availability().precisions) - {"int8"}:
                got = _upscale(deploy(model, form, width, height), src, precision)
                for plane, one in zip(got, src, strict=True):
                    wanted = one.repeat(scale, 0).repeat(scale, 1)[: plane.shape[0], : plane.shape[1]]
                    np.testing.assert_array_equal(plane, wanted)


@pytest.mark.parametrize("name", ["gray", "gray10", "yuv420p", "yuv420p10", "yuv420p12"])
def test_bf16_keeps_the_codes_and_the_chroma(tmp_path: Path, name: str) -> None:
    """In bf16 only the network's detail is coarser: a small detail is off by less than a 256th of itself."""
    if "bf16" not in BACKEND.availability().precisions:
        pytest.skip("this CPU has no bf16")
    torch.manual_seed(1)
    network = ECBSR(blocks=1, features=8).fold()
    with torch.no_grad():
        network.kernels[-1].mul_(0.02)
        network.biases[-1].zero_()
    model = find_model(str(export_network(network, tmp_path / "n.onnx")), 2)
    form = FrameFormat(PixelFormat.parse(name))
    src = _source(form.pixel_format, 48, 32)
    deployed = deploy(model, form, 48, 32)
    fine, coarse = _upscale(deployed, src, "f32"), _upscale(deployed, src, "bf16")
    assert np.abs(fine[0].astype(int) - coarse[0].astype(int)).max() <= 1
    for one, other in zip(fine[1:], coarse[1:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "parts"), [("gray", 1), ("gray10", 2)])
def test_codes_go_into_the_first_layer_and_the_skip_comes_last(nets, name: str, parts: int) -> None:
    """What makes bf16 fast and exact: without it results differ by less than the other tests see."""
    graph = onnx.load_model_from_string(
        deploy(nets[1, 2][1], FrameFormat(PixelFormat.parse(name)), 16, 16).model_bytes
    ).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    first = next(n for n in graph.node if n.op_type == "Conv")
    assert shapes[first.input[1]] == (8, parts, 3, 3)
    makers = {o: n.op_type for n in graph.node for o in n.output}
    users = [n for n in graph.node if n.op_type == "DepthToSpace"]
    assert "Add" not in {makers[n.input[0]] for n in users}


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_activations_are_fused(nets, precision: str) -> None:
    """No PReLU is left as a node of its own, whose memory traffic costs a third of the time."""
    deployed = deploy(nets[1, 2][1], FrameFormat(PixelFormat.parse("yuv420p")), 64, 48)
    core = openvino._core()
    compiled = core.compile_model(
        core.read_model(deployed.model_bytes), "CPU", {"INFERENCE_PRECISION_HINT": precision}
    )
    kinds = {
        str(node.get_rt_info()["layerType"].astype(str))
        for node in compiled.get_runtime_model().get_ordered_ops()
        if "prelu" in str(node.get_rt_info()["originalLayersNames"].astype(str))
    }
    assert kinds == {"Convolution"}


@pytest.mark.parametrize(
    ("name", "channels"), [("gray", 1), ("yuv420p", 1), ("yuv420p", 3), ("gbrp", 1), ("yuv410p", 3)]
)
def test_the_halo_is_enough_for_tiles(nets, name: str, channels: int) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    model = nets[channels, 2][1]
    width, height = 64, 48
    whole = deploy(model, form, width, height)
    src = _source(form.pixel_format, width, height)
    expected = _upscale(whole, src)
    align = whole.align[0]
    margin = -(-whole.halo // align) * align
    x, side = 2 * align, 2 * margin + 2 * align
    tile = deploy(model, form, side, height)
    shifts = [0] + [form.pixel_format.chroma_shift_x] * (len(src) - 1)
    cut = tuple(p[:, x >> s : (x + side) >> s].copy() for p, s in zip(src, shifts, strict=True))
    for got, whole_plane, shift in zip(_upscale(tile, cut), expected, shifts, strict=True):
        kept = slice(margin * 2 >> shift, (side - margin) * 2 >> shift)
        there = slice((x + margin) * 2 >> shift, (x + side - margin) * 2 >> shift)
        assert np.abs(got[:, kept].astype(int) - whole_plane[:, there]).max() <= 1


def test_equal_calls_give_equal_graphs(nets) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p10"))
    one, other = (deploy(nets[1, 2][1], form, 40, 30) for _ in range(2))
    assert one == other
    assert one.digest != deploy(nets[1, 2][1], form, 40, 32).digest
    onnx.checker.check_model(onnx.load_model_from_string(one.model_bytes), full_check=True)
    assert one.output_shapes == ((60, 80), (30, 40), (30, 40))


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (1 << 17, 4)])
def test_sizes_that_are_none(nets, size: tuple[int, int]) -> None:
    with pytest.raises(OptionsError):
        deploy(nets[1, 2][1], FrameFormat(PixelFormat.parse("gray")), *size)
