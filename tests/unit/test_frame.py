"""Pixel formats and frames."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.frame import ColorInfo, ColorRange, Frame, Matrix, PixelFormat

NAMES = (
    "gray gray10le gray16le yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p yuv420p10le yuv422p12le"
    " yuv444p16le yuv440p10le yuva420p yuva444p10le gbrp gbrp14le gbrap gbrap16le"
).split()
COLOR = ColorInfo(Matrix.BT709, ColorRange.LIMITED)


@pytest.mark.parametrize("name", NAMES)
def test_parse_agrees_with_ffmpeg(name: str) -> None:
    ours, theirs = PixelFormat.parse(name), av.VideoFormat(name, 64, 64)
    components = theirs.components
    assert ours.name == name
    assert ours.plane_count == len(components)
    assert {c.bits for c in components} == {ours.bit_depth}
    assert ours.alpha == any(c.is_alpha for c in components)
    assert (ours.family == "gbr") == theirs.is_rgb
    shapes = [(c.height, c.width) for c in components]
    if ours.family != "gbr":  # FFmpeg counts R, G, B; all three are of one size
        assert list(ours.plane_shapes(64, 64)) == shapes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 5), (65, 63)])
def test_odd_sizes_round_chroma_up_like_ffmpeg(name: str, width: int, height: int) -> None:
    ours = PixelFormat.parse(name)
    planes = av.VideoFrame(width, height, name).planes
    assert list(ours.plane_shapes(width, height)) == [(p.height, p.width) for p in planes]


@pytest.mark.parametrize(
    "name",
    "nv12 yuyv422 rgb24 bgra pal8 yuvj420p yuv420p10be gray10be p010le grayf32le gbrpf32le yuv421p"
    " gray7 yuv420p17le YUV420P".split(),
)
def test_parse_refuses_everything_else(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        PixelFormat.parse(name)


@pytest.mark.parametrize(
    ("name", "dtype", "peak"),
    [("gray", np.uint8, 255), ("yuv420p10le", np.uint16, 1023), ("gbrap16le", np.uint16, 65535)],
)
def test_depth_decides_dtype_and_peak(name: str, dtype: type, peak: int) -> None:
    pixel_format = PixelFormat.parse(name)
    assert pixel_format.dtype == dtype
    assert pixel_format.peak == peak


@given(st.sampled_from(NAMES), st.integers(1, 40), st.integers(1, 40))
def test_allocated_planes_pass_the_check(name: str, width: int, height: int) -> None:
    pixel_format = PixelFormat.parse(name)
    planes = pixel_format.allocate(width, height)
    pixel_format.check(planes, width, height)
    frame = Frame(planes, pixel_format, COLOR, pts=0, duration=1, time_base=Fraction(1, 24))
    assert (frame.width, frame.height) == (width, height)
    assert frame.nbytes == sum(
        rows * columns for rows, columns in pixel_format.plane_shapes(width, height)
    ) * (1 if pixel_format.bit_depth == 8 else 2)


def test_check_refuses_wrong_planes() -> None:
    pixel_format = PixelFormat.parse("yuv420p")
    y, u, v = pixel_format.allocate(6, 4)
    for wrong in [(y, u), (y, u, v, v), (y, u, v.T), (y.astype(np.uint16), u, v), (u, y, v)]:
        with pytest.raises(ValueError, match="yuv420p 6x4 has planes"):
            pixel_format.check(wrong, 6, 4)
    with pytest.raises(ValueError, match="yuv420p"):
        Frame((y, u, u[:1]), pixel_format, COLOR, pts=0, duration=0, time_base=Fraction(1, 24))


def test_subsampled() -> None:
    assert PixelFormat.parse("yuv440p").subsampled
    assert PixelFormat.parse("yuv422p").subsampled
    assert not PixelFormat.parse("yuv444p").subsampled


def test_repr_names_size_format_and_time() -> None:
    pixel_format = PixelFormat.parse("yuv420p")
    frame = Frame(pixel_format.allocate(6, 4), pixel_format, COLOR, 36, 1, Fraction(1, 24))
    assert repr(frame) == "Frame(6x4 yuv420p pts=36 1.500s)"
