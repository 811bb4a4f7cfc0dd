"""One frame as it is shown: RGB, turned, with square pixels; and writing such a picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from vidsr.atomic import write_atomically
from vidsr.errors import OptionsError, OutputError
from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat, Planes
from vidsr.video.convert import convert_frame
from vidsr.video.formats import new_frame

__all__ = ["SUFFIXES", "as_shown", "bicubic", "write_rgb"]

SUFFIXES = {".png": ("png", "rgb24"), ".jpg": ("mjpeg", "yuvj444p"), ".jpeg": ("mjpeg", "yuvj444p")}
_RGB = ColorInfo(matrix=Matrix.RGB, range=ColorRange.FULL)


def as_shown(
    planes: Planes, layout: PixelFormat, color: ColorInfo, aspect: Fraction, turn: Sequence[float]
) -> NDArray[np.uint8]:
    """Return a frame as [rows, columns, 3] of RGB, the way a player shows it.

    Args:
        planes: The frame.
        layout: Of the planes.
        color: Theirs.
        aspect: Width of a pixel divided by its height; 0: not known.
        turn: a, b, c, d of x' = ax + cy, y' = bx + dy; turns by other than quarters are left out.
    """
    height, width = planes[0].shape
    frame, target = new_frame(layout, width, height)
    for one, other in zip(target, planes, strict=True):
        np.copyto(one, other)
    shown = convert_frame(frame, color, "rgb24", _RGB)
    wide = max(1, round(width * (aspect or 1)))
    if wide != width:
        shown = shown.reformat(wide, height, "rgb24", interpolation=Interpolation.BICUBIC)
    rgb = shown.to_ndarray().astype(np.uint8, copy=False)
    a, b, c, d = (round(value) for value in turn)
    if abs(a * d - b * c) != 1:
        return rgb
    # A pixel goes from (x, y) to (ax + cy, bx + dy): axes change places, then some run backwards.
    across, down = (a, d) if a else (c, b)
    rgb = rgb if a else rgb.transpose(1, 0, 2)
    return np.ascontiguousarray(rgb[::down, ::across])


def bicubic(planes: Planes, layout: PixelFormat, size: tuple[int, int]) -> Planes:
    """Return a frame at another size, by swscale's bicubic, which most players take."""
    from vidsr.video.formats import planes_of

    height, width = planes[0].shape
    frame, target = new_frame(layout, width, height)
    for one, other in zip(target, planes, strict=True):
        np.copyto(one, other)
    made = frame.reformat(*size, interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND)
    return planes_of(made)


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write a picture, whole or not at all.

    Raises:
        OptionsError: The name says no format that this writes.
        OutputError: It cannot be written.
    """
    known = SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise OptionsError("this is no name of a picture", path=path, hint=f"take {' or '.join(SUFFIXES)}")
    codec, pixels = known
    try:
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixels, dst_color_range=2)
        context: Any = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt = rgb.shape[1], rgb.shape[0], pixels
        context.time_base, context.color_range = Fraction(1, 25), 2
        if codec == "mjpeg":
            context.qmin = context.qmax = 2
        frame.pts = 0
        data = b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])
        write_atomically(path, data)
    except (av.FFmpegError, OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"the picture cannot be written ({detail})", path=path) from error
