"""Between FFmpeg's frames and our planes: layouts, views without copies, colour tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
import numpy as np

from vidsr.color import complete_color
from vidsr.errors import UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix, PixelFormat, Plane, Planes

__all__ = [
    "LAYOUTS",
    "MATRICES",
    "color_of",
    "has_opaque_palette",
    "nearest_planar",
    "new_frame",
    "planar_name",
    "planes_of",
]

MATRICES = {
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
"""H.273 MatrixCoefficients."""
_RANGES = {1: ColorRange.LIMITED, 2: ColorRange.FULL}
_DEPTHS = {
    "gray": (8, 9, 10, 12, 14, 16),
    "yuv": (8, 9, 10, 12, 14, 16),
    "yuva": (8, 9, 10, 12, 16),
    "gbr": (8, 9, 10, 12, 14, 16),
    "gbra": (8, 10, 12, 14, 16),
}
LAYOUTS = {(1, 1): "420", (1, 0): "422", (0, 0): "444", (0, 1): "440", (2, 0): "411", (2, 2): "410"}
"""Names of chroma subsampling by `PixelFormat.chroma_shifts`."""


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
        return PixelFormat.parse(planar_name("gray", "", max(bits, 8)))
    else:
        shifts = (_shift(known.chroma_width), _shift(known.chroma_height))
        family, layout = "yuv", LAYOUTS[shifts] if len(components) > 2 else "444"
    family += "a" if alpha else ""
    return PixelFormat.parse(planar_name(family, layout, 8 if known.has_palette else bits))


def has_opaque_palette(frame: av.VideoFrame) -> bool:
    """Return whether a frame has a palette of colours, none of which is transparent."""
    if not frame.format.has_palette or len(frame.planes) < 2:
        return False
    palette: Any = frame.planes[1]
    colors = np.frombuffer(palette, np.uint8, count=1024)
    return bool((colors[3::4] == 255).all())


def planes_of(frame: av.VideoFrame) -> Planes:
    """Return views of a planar frame's planes, [rows, columns] each; they keep the frame alive."""
    dtype = PixelFormat.parse(frame.format.name.replace("yuvj", "yuv")).dtype
    return tuple(_view(plane, dtype) for plane in frame.planes)


def new_frame(pixel_format: PixelFormat, width: int, height: int) -> tuple[av.VideoFrame, Planes]:
    """Return a new frame and writable views of its planes."""
    frame = av.VideoFrame(width, height, pixel_format.name)
    return frame, planes_of(frame)


def color_of(
    frame: av.VideoFrame, pixel_format: PixelFormat, chroma_location: ChromaLocation | None
) -> ColorInfo:
    """Return the frame's colour as tagged, and guessed as by `complete_color` where it is not.

    Args:
        frame: The first of a source; ``yuvj`` formats are full range.
        pixel_format: What its frames become.
        chroma_location: Where the decoder says that chroma lies; None: it does not say.
    """
    color_range = _RANGES.get(frame.color_range)
    if color_range is None and "yuvj" in frame.format.name:
        color_range = ColorRange.FULL
    return complete_color(
        pixel_format,
        (frame.width, frame.height),
        matrix=MATRICES.get(frame.colorspace),
        color_range=color_range,
        chroma_location=chroma_location,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        matrix_code=int(frame.colorspace),
        colorful=pixel_format.family == "yuv" and not frame.format.name.startswith("ya"),
    )


def _view(plane: Any, dtype: np.dtype[Any]) -> Plane:
    samples = np.frombuffer(plane, dtype, count=plane.height * abs(plane.line_size) // dtype.itemsize)
    view: Plane = samples.reshape(plane.height, -1)[:, : plane.width]
    return view[::-1] if plane.line_size < 0 else view


def _shift(measure: Callable[[int], int]) -> int:
    return {64: 0, 32: 1, 16: 2}[measure(64)]


def planar_name(family: str, layout: str, bits: int) -> str:
    """Return FFmpeg's name of a planar format: of "yuva", "420" and 9 bits, say, or the next depth."""
    depth = next((d for d in _DEPTHS[family] if d >= bits), 16)
    stem = family if family == "gray" else f"{family}{layout}p"
    suffix = "" if depth == 8 else f"{depth}le"
    return f"{stem}{suffix}"
