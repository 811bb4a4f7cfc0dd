"""Tiles at targets that are no whole multiple: what comes out is what the whole frame would have given."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vidsr.backends import SessionOptions, get_backend
from vidsr.errors import OptionsError
from vidsr.frame import PixelFormat, Planes
from vidsr.models import FrameFormat, Model, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network
from vidsr.target import tile_step
from vidsr.tiled import scaled_rect
from vidsr.tiling import Rect
from vidsr.upscaler import Upscaler, UpscalerOptions

FORMATS = ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv410p"]
F32 = SessionOptions(precision="f32")
RATIOS = ["1", "3/2", "4/3", "5/4", "2", "12/5", "5/2", "3"]


def network(folder: Path, channels: int) -> Model:
    torch.manual_seed(3 + channels)
    plain = ECBSR(blocks=1, features=8, channels=channels).fold()
    with torch.no_grad():
        for i, kernel in enumerate(plain.kernels):
            kernel *= 1.5 if i < 2 else 0.5
    return find_model(str(export_network(plain, folder / "n.onnx")), 2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Model]:
    return {channels: network(tmp_path_factory.mktemp("model"), channels) for channels in (1, 3)}


def source(pixels: PixelFormat, width: int, height: int) -> Planes:
    rng = np.random.default_rng(width * 7919 + height)
    return tuple(
        rng.integers(0, pixels.peak + 1, shape).astype(pixels.dtype)
        for shape in pixels.plane_shapes(width, height)
    )


def upscale(
    model: Model,
    form: FrameFormat,
    src: Planes,
    target: tuple[int, int],
    *,
    backend: str = "nearest",
    tile: str = "0",
) -> tuple[Planes, Upscaler]:
    height, width = src[0].shape
    options = UpscalerOptions(session=F32 if backend == "openvino" else SessionOptions(), tile=tile)
    with Upscaler(model, form, width, height, get_backend(backend), options, target=target) as upscaler:
        dst = form.pixel_format.allocate(*target)
        for plane in dst:
            plane.fill(1)
        upscaler.submit(src, dst).result()
        return dst, upscaler


sizes = st.tuples(
    st.integers(1, 48), st.integers(1, 48), st.sampled_from(RATIOS[1:]), st.sampled_from(RATIOS)
).map(lambda t: _sizes(*t))


def _sizes(columns: int, rows: int, across: str, down: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a source that the ratios' denominators divide, and its target."""
    x, y = Fraction(across), Fraction(down)
    size = (columns * x.denominator, rows * y.denominator)
    return size, (int(size[0] * x), int(size[1] * y))


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(FORMATS), both=sizes, tile=st.integers(1, 60))
@example(name="yuv420p", both=((54, 36), (81, 54)), tile=17)
@example(name="yuv410p", both=((96, 80), (120, 100)), tile=20)
def test_nearest_in_tiles_is_the_whole_frame(
    models: dict[int, Model], name: str, both: tuple[tuple[int, int], tuple[int, int]], tile: int
) -> None:
    (width, height), target = both
    form = FrameFormat(PixelFormat.parse(name), chroma="nearest")
    src = source(form.pixel_format, width, height)
    whole, _ = upscale(models[1], form, src, target)
    tiled, upscaler = upscale(models[1], form, src, target, tile=str(tile))
    for one, other in zip(tiled, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    rows, columns = (
        (2 * np.arange(t) + 1) * s // (2 * t) for s, t in ((height, target[1]), (width, target[0]))
    )
    np.testing.assert_array_equal(whole[0], src[0][np.ix_(rows, columns)])
    for one in upscaler.plan.tiles:
        scaled_rect(one.source, (Fraction(target[0], width), Fraction(target[1], height)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p", "gray", "yuva420p", "gbrp", "yuv411p"])
@pytest.mark.parametrize(
    ("size", "target", "tile"),
    [((96, 90), (144, 135), 40), ((100, 60), (240, 144), 48), ((160, 64), (200, 192), 50)],
)
def test_openvino_in_tiles_is_the_whole_frame(
    models: dict[int, Model],
    channels: int,
    name: str,
    size: tuple[int, int],
    target: tuple[int, int],
    tile: int,
) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    src = source(form.pixel_format, *size)
    whole, _ = upscale(models[channels], form, src, target, backend="openvino")
    tiled, upscaler = upscale(models[channels], form, src, target, backend="openvino", tile=str(tile))
    assert len(upscaler.plan.tiles) > 1
    assert upscaler.notes == []
    for one, other in zip(tiled, whole, strict=True):
        difference = np.abs(one.astype(int) - other.astype(int))
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= max(1, 1e-4 * difference.size)


def test_where_chroma_reaches_further_than_the_network(tmp_path: Path) -> None:
    """Four luma samples a chroma sample, behind a network that sees two."""
    plain = ECBSR(blocks=0, features=4).fold()
    model = find_model(str(export_network(plain, tmp_path / "n.onnx")), 2)
    form = FrameFormat(PixelFormat.parse("yuv411p"))
    src = source(form.pixel_format, 96, 16)
    whole, _ = upscale(model, form, src, (384, 64), backend="openvino")
    tiled, upscaler = upscale(model, form, src, (384, 64), backend="openvino", tile="24")
    assert len(upscaler.plan.tiles) > 1
    for one, other in zip(tiled, whole, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=300, deadline=None)
@given(
    source=st.integers(1, 600),
    target=st.integers(1, 1500),
    factor=st.sampled_from([1, 2, 4]),
    multiple=st.sampled_from([1, 2, 3, 4, 8]),
)
def test_steps_are_the_smallest_that_fall_on_whole_samples(
    source: int, target: int, factor: int, multiple: int
) -> None:
    step = tile_step(source, target, factor=factor, multiple=multiple)

    def falls(x: int) -> bool:
        image = Fraction(x * target, source)
        return x % factor == x % multiple == 0 and image.denominator == 1 and image % factor == 0

    assert falls(step)
    assert not any(falls(x) for x in range(1, min(step, 500)))


def test_a_frame_without_a_place_to_cut_stays_whole_and_says_so(models: dict[int, Model]) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    backend = get_backend("nearest")
    options = UpscalerOptions(tile="256")
    sizes = {(1366, 768): (1920, 1080), (1366, 766): (1920, 1077), (1280, 720): (1920, 1080)}
    told = {}
    for size, target in sizes.items():
        with Upscaler(models[1], form, *size, backend, options, target=target) as upscaler:
            told[size] = (upscaler.cut, upscaler.notes)
    words, (note,) = told[1366, 768]
    assert words.endswith("pixels a frame")
    assert note.startswith("tiles are as wide as the frame: from 1366x768 to 1920x1080")
    words, (note,) = told[1366, 766]
    assert words == "whole frames"
    assert note.startswith("whole frames are used: from 1366x766 to 1920x1077")
    assert told[1280, 720][1] == []


def test_networks_with_a_multiple_are_padded_inside(models: dict[int, Model]) -> None:
    """Whole frames and tiles alike; the picture's filter phases are not the padded one's."""
    picky = replace(models[1], spec=replace(models[1].spec, multiple=4, min_size=15))
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    for size, target in (((90, 54), (135, 81)), ((7, 9), (11, 14)), ((30, 45), (45, 68))):
        src = source(form.pixel_format, *size)
        plain, _ = upscale(models[1], form, src, target, backend="openvino")
        for tile in ("0", "40"):
            got, upscaler = upscale(picky, form, src, target, backend="openvino", tile=tile)
            assert {side % 4 for one in upscaler.plan.tiles for side in (one.source.x, one.source.y)} == {0}
            for one, other in zip(got, plain, strict=True):
                # Zeros beyond the border or its last samples again: that is felt within the halo alone.
                inner = one[:-16, :-16].astype(int) - other[:-16, :-16]
                assert np.abs(inner).max(initial=0) <= 1
    with pytest.raises(OptionsError, match="at least 15"):
        upscale(picky, form, source(form.pixel_format, 90, 54), (135, 81), tile="14")


def test_rectangles_between_samples_are_refused() -> None:
    scale = (Fraction(3, 2), Fraction(2))
    assert scaled_rect(Rect(2, 3, 4, 5), scale) == Rect(3, 6, 6, 10)
    with pytest.raises(ValueError, match="whole samples"):
        scaled_rect(Rect(1, 3, 4, 5), scale)


def test_a_size_that_is_none_is_refused(models: dict[int, Model]) -> None:
    form = FrameFormat(PixelFormat.parse("gray"))
    with pytest.raises(OptionsError, match="cannot become 8x20"):
        Upscaler(models[1], form, 10, 10, get_backend("nearest"), target=(8, 20))


def test_results_have_the_target_size_and_bytes(models: dict[int, Model]) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p10"))
    with Upscaler(models[1], form, 32, 20, get_backend("nearest"), target=(48, 30)) as upscaler:
        assert upscaler.size_out == (48, 30)
        assert upscaler.output_bytes == 2 * (48 * 30 + 2 * 24 * 15)
    with Upscaler(models[1], form, 32, 20, get_backend("nearest")) as upscaler:
        assert upscaler.size_out == (64, 40)
