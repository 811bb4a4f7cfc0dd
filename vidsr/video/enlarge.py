"""What players do: enlarging by swscale's filters. The yardstick for networks."""

from __future__ import annotations

from typing import Literal

import numpy as np
from av.video.reformatter import Interpolation

from vidsr.frame import PixelFormat, Planes
from vidsr.video.formats import new_frame, planes_of

__all__ = ["Filter", "enlarge"]

Filter = Literal["bicubic", "lanczos"]

_FILTERS = {"bicubic": Interpolation.BICUBIC, "lanczos": Interpolation.LANCZOS}


def enlarge(planes: Planes, pixel_format: PixelFormat, scale: int, method: Filter) -> Planes:
    """Return the frame, `scale` times as large: new planes, whose rows may be padded.

    Bicubic is Keys' kernel with a = -0.6, Lanczos has three lobes: swscale's defaults, which FFmpeg and most
    players take. Both are centred, so that nothing is shifted. Accurate rounding: without it every sample
    comes out 0.06 codes too dark on average.

    Args:
        planes: Of `pixel_format`, any size.
        pixel_format: A planar format that swscale knows.
        scale: Times as wide and as high.
        method: Which filter.
    """
    height, width = planes[0].shape
    frame, target = new_frame(pixel_format, width, height)
    for one, other in zip(planes, target, strict=True):
        np.copyto(other, one)
    flags = _FILTERS[method] | Interpolation.ACCURATE_RND
    return planes_of(frame.reformat(width * scale, height * scale, interpolation=flags))
