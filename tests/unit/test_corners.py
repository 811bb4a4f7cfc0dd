"""Adaptive cropping into four corners, and networks that work at the target's size, against plain numpy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from deploy_reference import _keys, _sampler
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from vidsr.backends import SessionOptions, get_backend
from vidsr.errors import OptionsError
from vidsr.frame import ColorRange, Matrix, PixelFormat
from vidsr.models import FrameFormat, Model, ModelFile, ModelSpec, deploy
from vidsr.models.half import half, tensor_types
from vidsr.models.simulate import run_deployed, run_typed
from vidsr.tiling import Rect, Tile, plan_corners
from vidsr.upscaler import Upscaler, UpscalerOptions

Array = NDArray[np.float64]
MULTIPLE = 4


# ---- the plan --------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    multiple=st.sampled_from([1, 2, 4, 6, 16]),
    overlap=st.integers(0, 64),
    least=st.sampled_from([1, 4, 15, 40]),
)
@example(width=5, height=7, multiple=4, overlap=32, least=1)
@example(width=31, height=32, multiple=16, overlap=0, least=16)
def test_four_corners(width: int, height: int, multiple: int, overlap: int, least: int) -> None:
    plan = plan_corners(width, height, multiple, overlap, least=least)
    smallest = -(-least // multiple) * multiple
    covered = np.zeros((height, width), np.uint8)
    for tile in plan.tiles:
        source, kept = tile.source, tile.kept
        assert (source.width, source.height) == (plan.width, plan.height)
        covered[kept.y : kept.y + kept.height, kept.x : kept.x + kept.width] += 1
        for start, side, own, kept_side, length in (
            (source.x, source.width, kept.x, kept.width, width),
            (source.y, source.height, kept.y, kept.height, height),
        ):
            assert 0 <= start <= own
            assert own + kept_side <= start + side <= length
            if side < length:
                assert side % multiple == 0
                assert side >= smallest
                assert start in (0, length - side)
                # Half of the frame each, the half at its own border.
                assert abs(2 * kept_side - length) <= 1
                assert (own == 0) == (start == 0)
                if 2 * side - length < overlap:
                    assert side == length - length % multiple, "the largest that fits"
            elif length >= smallest:
                assert length % multiple == 0, "needs no padding"
    assert covered.min() == covered.max() == 1
    assert len(plan.tiles) == (1 + (plan.width < width)) * (1 + (plan.height < height))


def test_a_full_hd_frame() -> None:
    plan = plan_corners(1920, 1080, 4, 32)
    assert (plan.width, plan.height) == (976, 556)
    assert plan.tiles == (
        Tile(Rect(0, 0, 976, 556), Rect(0, 0, 960, 540)),
        Tile(Rect(944, 0, 976, 556), Rect(960, 0, 960, 540)),
        Tile(Rect(0, 524, 976, 556), Rect(0, 540, 960, 540)),
        Tile(Rect(944, 524, 976, 556), Rect(960, 540, 960, 540)),
    )


def test_a_frame_without_pixels_is_refused() -> None:
    with pytest.raises(OptionsError, match="has no pixels"):
        plan_corners(0, 5, 4)


# ---- a network at the target's size ----------------------------------------------------------------


def weights(channels: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(channels)
    return rng.normal(0, 0.12, (6, channels, 5, 5)), rng.normal(0, 0.12, (channels * 16, 6, 3, 3))


def write_model(folder: Path, channels: int) -> Model:
    """Stride 4, the mean over the picture, and back: sizes must be multiples of 4, and no halo is enough."""
    one, two = (w.astype(np.float32) for w in weights(channels))
    nodes = [
        helper.make_node("Conv", ["input", "one"], ["coarse"], pads=[2] * 4, strides=[4, 4]),
        helper.make_node("GlobalAveragePool", ["coarse"], ["mean"]),
        helper.make_node("Add", ["coarse", "mean"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["active"]),
        helper.make_node("Conv", ["active", "two"], ["fine"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["fine"], ["detail"], blocksize=4, mode="CRD"),
        helper.make_node("Add", ["detail", "input"], ["output"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, [1, channels, "H", "W"]) for name in ("input", "output")]
    stored = [numpy_helper.from_array(one, "one"), numpy_helper.from_array(two, "two")]
    graph = helper.make_graph(nodes, "as", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "1x-toy.onnx"
    path.write_bytes(model.SerializeToString())
    spec = ModelSpec(
        id="1x-toy",
        network="toy",
        scale=1,
        channels=channels,
        halo=40,
        input="target",
        multiple=MULTIPLE,
        min_size=MULTIPLE,
        tiling="approximate",
        files={"f32": ModelFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())},
    )
    return Model(spec, path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Model]:
    return {channels: write_model(tmp_path_factory.mktemp("toy"), channels) for channels in (1, 3)}


def convolve(x: Array, kernel: Array, stride: int) -> Array:
    """Return [out, h / stride, w / stride] of x [in, h, w], zeros beyond the border."""
    pad = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
    return np.einsum("chwyx,ocyx->ohw", windows[:, ::stride, ::stride], kernel)


def toy(x: Array) -> Array:
    """Run the network on x [channels, h, w], sides multiples of 4."""
    one, two = weights(len(x))
    coarse = convolve(x, one, 4)
    coarse = np.maximum(coarse + coarse.mean(axis=(1, 2), keepdims=True), 0)
    fine = convolve(coarse, two, 1)
    channels, height, width = x.shape
    detail = fine.reshape(channels, 4, 4, height // 4, width // 4).transpose(0, 3, 1, 4, 2)
    return x + detail.reshape(x.shape)


def enlarged(planes: list[Array], target: tuple[int, int]) -> Array:
    made = []
    for plane in planes:
        down, across = (
            _sampler((np.arange(t) + 0.5) * s / t - 0.5, s, 1.0, _keys)
            for s, t in zip(plane.shape, target[::-1], strict=True)
        )
        made.append(down @ plane @ across.T)
    return np.stack(made)


def padded(x: Array) -> Array:
    height, width = x.shape[1:]
    more = ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE))
    return toy(np.pad(x, more, mode="edge"))[:, :height, :width]


def pieces(length: int, overlap: int) -> list[tuple[slice, slice]]:
    """Return what is read and what is kept of it, along one axis."""
    whole = slice(0, length)
    half = int(np.ceil((length + overlap) / 2))
    side = min(int(np.ceil(half / MULTIPLE)) * MULTIPLE, length - length % MULTIPLE)
    if side in (0, length):
        return [(whole, whole)]
    middle = length // 2
    return [
        (slice(0, side), slice(0, middle)),
        (slice(length - side, length), slice(middle, length)),
    ]


def in_four(x: Array, overlap: int = 32) -> Array:
    """The article's strategy by hand."""
    made = np.empty_like(x)
    for rows, kept_rows in pieces(x.shape[1], overlap):
        for columns, kept_columns in pieces(x.shape[2], overlap):
            patch = np.full_like(x, np.nan)
            patch[:, rows, columns] = padded(x[:, rows, columns])
            made[:, kept_rows, kept_columns] = patch[:, kept_rows, kept_columns]
    return made


def picture(pixels: PixelFormat, width: int, height: int) -> tuple[NDArray[np.uint8], ...]:
    rng = np.random.default_rng(width * height)
    made = []
    for rows, columns in pixels.plane_shapes(width, height):
        y, x = np.mgrid[:rows, :columns]
        wave = (
            128
            + 90 * np.sin(x / 3.0 + rng.uniform(0, 6)) * np.cos(y / 4.0)
            + rng.normal(0, 8, (rows, columns))
        )
        made.append(np.clip(wave, 0, 255).astype(np.uint8))
    return tuple(made)


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "target"),
    [((60, 40), (120, 80)), ((37, 29), (90, 71)), ((30, 21), (45, 42)), ((9, 7), (13, 11))],
)
def test_against_numpy(
    models: dict[int, Model], channels: int, size: tuple[int, int], target: tuple[int, int], corners: bool
) -> None:
    pixels = PixelFormat.parse("gray" if channels == 1 else "gbrp")
    form = FrameFormat(pixels, Matrix.RGB, ColorRange.FULL)
    src, dst = picture(pixels, *size), pixels.allocate(*target)
    options = UpscalerOptions(session=SessionOptions(precision="f32"), tile="auto" if corners else "0")
    with Upscaler(models[channels], form, *size, get_backend("openvino"), options, target=target) as upscaler:
        upscaler.submit(src, dst).result()
        assert upscaler.cut.startswith("4 overlapping patches of" if corners else "whole frames")
        assert upscaler.notes == []
    order = [0] if channels == 1 else [2, 0, 1]
    x = enlarged([src[i] / 255 for i in order], target)
    made = in_four(x) if corners else padded(x)
    assert np.abs(in_four(x) - padded(x)).max() > 1e-3, "the two ways differ, so the test can tell"
    for i, plane in zip(order, made, strict=True):
        difference = np.abs(dst[i] - np.rint(np.clip(plane * 255, 0, 255)))
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= max(1, 2e-3 * difference.size)


@pytest.mark.parametrize("target", [(1, 1), (3, 2), (4, 4), (5, 40), (2, 9)])
@pytest.mark.parametrize("name", ["yuv420p", "gray"])
def test_frames_too_small_for_four_patches(
    models: dict[int, Model], name: str, target: tuple[int, int]
) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    src, dst = picture(form.pixel_format, 1, 1), form.pixel_format.allocate(*target)
    options = UpscalerOptions(session=SessionOptions(precision="f32"))
    with Upscaler(models[1], form, 1, 1, get_backend("openvino"), options, target=target) as upscaler:
        upscaler.submit(src, dst).result()
        assert (upscaler.cut == "whole frames") == (max(target) <= MULTIPLE)
    made = in_four(enlarged([src[0] / 255], target))[0]
    assert np.abs(dst[0] - np.rint(np.clip(made * 255, 0, 255))).max() <= 1


def test_tiles_of_the_source_can_be_asked_for(models: dict[int, Model]) -> None:
    form = FrameFormat(PixelFormat.parse("gray"))
    options = UpscalerOptions(tile="64")
    backend = get_backend("nearest")
    with Upscaler(models[1], form, 300, 200, backend, options, target=(450, 300)) as upscaler:
        assert len(upscaler.plan.tiles) > 1
        assert upscaler.notes == ["tiles were asked for: with 1x-toy they are approximate"]
    large = (4096, 2160)
    with Upscaler(models[1], form, *large, backend, target=(6144, 3240)) as upscaler:
        assert len(upscaler.plan.tiles) == 1
        assert upscaler.cut == "4 overlapping patches of 3088x1636 pixels of the result"


def test_the_patches_share_their_weights(models: dict[int, Model]) -> None:
    form = FrameFormat(PixelFormat.parse("gray"))
    stored = []
    for corners in (True, False):
        data = deploy(models[1], form, 60, 40, (120, 80), corners=corners).model_bytes
        graph = onnx.load_model_from_string(data).graph
        onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
        assert sum(n.op_type == "Conv" for n in graph.node) == (8 if corners else 2)
        shapes = [tuple(t.dims) for t in graph.initializer]
        stored.append(sum(len(s) == 4 and s[2:] in ((5, 5), (3, 3)) for s in shapes))
    assert stored == [2, 2]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("channels", "pixels"), [(1, "yuv420p"), (3, "gbrp10")])
def test_in_fp16(models: dict[int, Model], channels: int, pixels: str, corners: bool) -> None:
    form = FrameFormat(PixelFormat.parse(pixels))
    deployed = deploy(models[channels], form, 30, 22, (60, 44), corners=corners)
    rng = np.random.default_rng(0)
    shapes = form.pixel_format.plane_shapes(30, 22)
    src = tuple(rng.integers(0, form.pixel_format.peak, s).astype(form.pixel_format.dtype) for s in shapes)
    typed = half(deployed)
    types = tensor_types(typed)
    convs = [n for n in onnx.load_from_string(typed.model_bytes).graph.node if n.op_type == "Conv"]
    assert len(convs) == (8 if corners else 2)
    assert {types[n.output[0]] for n in convs} == {"f16"}
    for got, wanted in zip(run_typed(typed, src), run_deployed(deployed, src), strict=True):
        assert np.abs(got.astype(int) - wanted).max() <= form.pixel_format.peak // 255
