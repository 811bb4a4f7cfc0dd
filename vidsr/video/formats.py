"""Between FFmpeg's frames and our planes: layouts, views without copies, colour tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from vidsr.errors import UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix, PixelFormat, Plane, Planes
from vidsr.video.siting import sited

__all__ = [
    "color_change",
    "color_of",
    "convert_frame",
    "has_opaque_palette",
    "nearest_planar",
    "new_frame",
    "planes_of",
    "to_planar",
]

# H.273 MatrixCoefficients.
_MATRICES = {
    0: Matrix.RGB,
    1: Matrix.BT709,
    4: Matrix.FCC,
    5: Matrix.BT601,
    6: Matrix.BT601,
    7: Matrix.SMPTE240M,
    8: Matrix.YCGCO,
    9: Matrix.BT2020,
    10: Matrix.BT2020,
}
_CAREFUL = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_RANGES = {1: ColorRange.LIMITED, 2: ColorRange.FULL}
_DEPTHS = {
    "gray": (8, 9, 10, 12, 14, 16),
    "yuv": (8, 9, 10, 12, 14, 16),
    "yuva": (8, 9, 10, 12, 16),
    "gbr": (8, 9, 10, 12, 14, 16),
    "gbra": (8, 10, 12, 14, 16),
}
_LAYOUTS = {(1, 1): "420", (1, 0): "422", (0, 0): "444", (0, 1): "440", (2, 0): "411", (2, 2): "410"}


def nearest_planar(name: str, *, opaque: bool = False) -> PixelFormat:
    """Return the planar integer format that holds everything FFmpeg's pixel format `name` holds.

    Packed, semi-planar, palette, big-endian and float formats get the planar format of the same
    family, subsampling and depth (float: 16 bits), with alpha if they have it. A palette may have it too:
    `opaque` says that its colours are known to have none.

    Raises:
        UnsupportedFormatError: FFmpeg does not know it, or it is opaque (a hardware surface).
    """
    try:
        return PixelFormat.parse(name.replace("yuvj", "yuv"))
    except ValueError:
        pass
    try:
        known = av.VideoFormat(name)
    except ValueError as error:
        raise UnsupportedFormatError(f"unknown pixel format '{name}'") from error
    components = known.components
    if not components:
        raise UnsupportedFormatError(f"frames in '{name}' live in hardware, not in memory")
    bits = 16 if "f32" in name or "f16" in name else max(c.bits for c in components)
    alpha = not opaque if known.has_palette else len(components) in (2, 4)
    if known.is_rgb or known.has_palette:
        family, layout = "gbr", ""
    elif len(components) < 3 and not alpha:
        return PixelFormat.parse(_spelled("gray", "", max(bits, 8)))
    else:
        shifts = (_shift(known.chroma_width), _shift(known.chroma_height))
        family, layout = "yuv", _LAYOUTS[shifts] if len(components) > 2 else "444"
    family += "a" if alpha else ""
    return PixelFormat.parse(_spelled(family, layout, 8 if known.has_palette else bits))


def has_opaque_palette(frame: av.VideoFrame) -> bool:
    """Return whether a frame has a palette of colours, none of which is transparent."""
    if not frame.format.has_palette or len(frame.planes) < 2:
        return False
    palette: Any = frame.planes[1]
    colors = np.frombuffer(palette, np.uint8, count=1024)
    return bool((colors[3::4] == 255).all())


def to_planar(
    frame: av.VideoFrame, wanted: PixelFormat, width: int, height: int, color: ColorInfo | None = None
) -> av.VideoFrame:
    """Return `frame` itself when it is what is wanted, otherwise converted by swscale.

    Args:
        frame: As it was decoded.
        wanted: The layout to return.
        width: Pixels.
        height: Pixels.
        color: What the frame's range and matrix become; None: they stay.
    """
    name = frame.format.name.replace("yuvj", "yuv")
    same = name == wanted.name and (frame.width, frame.height) == (width, height)
    if same and (color is None or not color_change(frame, color)):
        return frame
    matrix, full = _own_color(frame)
    if color is not None:
        matrix = matrix if matrix is not None else color.matrix
        full = full if full is not None else color.range is ColorRange.FULL
    target, target_full = (matrix, full) if color is None else (color.matrix, color.range is ColorRange.FULL)
    return frame.reformat(
        width,
        height,
        wanted.name,
        src_colorspace=_swscale_matrix(matrix or Matrix.RGB, target or Matrix.RGB),
        dst_colorspace=_swscale_matrix(target or Matrix.RGB, matrix or Matrix.RGB),
        src_color_range=2 if full else 1,
        dst_color_range=2 if target_full else 1,
        interpolation=_CAREFUL,
    )


def color_change(frame: av.VideoFrame, color: ColorInfo) -> str:
    """Say how a frame's tags differ from a source's colour, as far as both are tagged."""
    matrix, full = _own_color(frame)
    found = []
    if full is not None and full != (color.range is ColorRange.FULL):
        found.append(f"range to {ColorRange.FULL if full else ColorRange.LIMITED}")
    if matrix is not None and Matrix.RGB not in (matrix, color.matrix) and matrix is not color.matrix:
        # What was never tagged was guessed, and a tag that comes late is no change.
        found += [] if "matrix" in color.guessed else [f"matrix to {matrix}"]
    return " and ".join(found)


def _own_color(frame: av.VideoFrame) -> tuple[Matrix | None, bool | None]:
    """Return a frame's matrix, and whether its range is full; None: not tagged."""
    full = True if "yuvj" in frame.format.name else {1: False, 2: True}.get(int(frame.color_range))
    return (Matrix.RGB if frame.format.is_rgb else _MATRICES.get(int(frame.colorspace))), full


def planes_of(frame: av.VideoFrame) -> Planes:
    """Return views of a planar frame's planes, [rows, columns] each; they keep the frame alive."""
    dtype = PixelFormat.parse(frame.format.name.replace("yuvj", "yuv")).dtype
    return tuple(_view(plane, dtype) for plane in frame.planes)


def new_frame(pixel_format: PixelFormat, width: int, height: int) -> tuple[av.VideoFrame, Planes]:
    """Return a new frame and writable views of its planes."""
    frame = av.VideoFrame(width, height, pixel_format.name)
    return frame, planes_of(frame)


def convert_frame(
    frame: av.VideoFrame, source: ColorInfo, pixel_format: str, target: ColorInfo
) -> av.VideoFrame:
    """Return `frame` in another pixel format, converted by swscale with both sides' matrix, range and siting.

    Plain re-arrangement where the family stays; chroma is resampled where the subsampling changes.
    """
    own, wanted = nearest_planar(frame.format.name), nearest_planar(pixel_format)
    if frame.format.name == pixel_format and (own.family == "gbr" or source.range is target.range):
        return frame
    made = _sited_and_converted(frame, own, wanted, source, pixel_format, target)
    if own.alpha and wanted.alpha and pixel_format == wanted.name and own.bit_depth != wanted.bit_depth:
        # swscale shifts alpha, which leaves what is opaque a little less so.
        alpha = planes_of(frame)[-1].astype(np.uint32)
        planes_of(made)[-1][:] = (alpha * wanted.peak + own.peak // 2) // own.peak
    return made


def _sited_and_converted(
    frame: av.VideoFrame,
    own: PixelFormat,
    wanted: PixelFormat,
    source: ColorInfo,
    pixel_format: str,
    target: ColorInfo,
) -> av.VideoFrame:
    if own.subsampled and wanted.subsampled and source.chroma_location is not target.chroma_location:
        # swscale knows one place a call.
        between = PixelFormat.parse(_spelled("yuva" if own.alpha else "yuv", "444", own.bit_depth))
        frame = _converted(sited(frame, source.chroma_location), source, between.name, source)
    elif own.subsampled and own.chroma_shifts != wanted.chroma_shifts:
        return _converted(sited(frame, source.chroma_location), source, pixel_format, target)
    if wanted.subsampled:
        frame = sited(frame, target.chroma_location)
    return _converted(frame, source, pixel_format, target)


def _converted(
    frame: av.VideoFrame, source: ColorInfo, pixel_format: str, target: ColorInfo
) -> av.VideoFrame:
    return frame.reformat(
        format=pixel_format,
        src_colorspace=_swscale_matrix(source.matrix, target.matrix),
        dst_colorspace=_swscale_matrix(target.matrix, source.matrix),
        src_color_range=2 if source.range is ColorRange.FULL else 1,
        dst_color_range=2 if target.range is ColorRange.FULL else 1,
        interpolation=_CAREFUL,
    )


def color_of(
    frame: av.VideoFrame, pixel_format: PixelFormat, chroma_location: ChromaLocation | None
) -> ColorInfo:
    """Return the frame's colour as tagged, and guessed where it is not.

    Guesses, as players make them: BT.2020 with BT.2020 primaries; else BT.709 from 1280 columns or
    more than 576 rows, BT.601 below; limited range for YUV, full for RGB, gray (as
    FFmpeg does) and the ``yuvj`` formats; chroma at the top left for BT.2020, else left.

    Args:
        frame: The first of a source.
        pixel_format: What its frames become.
        chroma_location: Where the decoder says that chroma lies; None: it does not say.
    """
    guessed = set()
    matrix = _MATRICES.get(frame.colorspace)
    if pixel_format.family == "gbr":
        matrix = Matrix.RGB
    elif matrix is None or matrix is Matrix.RGB:
        guessed.add("matrix")
        large = frame.width >= 1280 or frame.height > 576
        matrix = Matrix.BT709 if large else Matrix.BT601
        matrix = Matrix.BT2020 if frame.color_primaries == 9 else matrix
    color_range = _RANGES.get(frame.color_range)
    if "yuvj" in frame.format.name:
        color_range = ColorRange.FULL
    elif color_range is None:
        guessed.add("range")
        color_range = ColorRange.LIMITED if pixel_format.family == "yuv" else ColorRange.FULL
    if chroma_location is None:
        chroma_location = ChromaLocation.TOPLEFT if matrix is Matrix.BT2020 else ChromaLocation.LEFT
        guessed |= {"chroma_location"} if pixel_format.subsampled else set()
    return ColorInfo(
        matrix=matrix,
        range=color_range,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix_code=int(frame.colorspace),
        chroma_location=chroma_location,
        guessed=frozenset(guessed),
    )


def _view(plane: Any, dtype: np.dtype[Any]) -> Plane:
    samples = np.frombuffer(plane, dtype, count=plane.height * abs(plane.line_size) // dtype.itemsize)
    view: Plane = samples.reshape(plane.height, -1)[:, : plane.width]
    return view[::-1] if plane.line_size < 0 else view


def _swscale_matrix(own: Matrix, other: Matrix) -> Colorspace:
    names = {
        Matrix.BT709: Colorspace.ITU709,
        Matrix.BT2020: Colorspace.BT2020,
        Matrix.FCC: Colorspace.FCC,
        Matrix.SMPTE240M: Colorspace.SMPTE240M,
        Matrix.BT601: Colorspace.ITU601,
    }
    # RGB has no matrix of its own: both sides get the other's, BT.709 where neither has one.
    return names.get(own) or names.get(other) or Colorspace.ITU709


def _shift(measure: Callable[[int], int]) -> int:
    return {64: 0, 32: 1, 16: 2}[measure(64)]


def _spelled(family: str, layout: str, bits: int) -> str:
    depth = next((d for d in _DEPTHS[family] if d >= bits), 16)
    stem = family if family == "gray" else f"{family}{layout}p"
    suffix = "" if depth == 8 else f"{depth}le"
    return f"{stem}{suffix}"
