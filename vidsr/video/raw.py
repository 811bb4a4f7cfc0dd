"""Frames as they lie in raw video: all planes one after another, without padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidsr.frame import PixelFormat, Planes

__all__ = ["Raw", "allocate_raw"]


@dataclass(slots=True)
class Raw:
    """A frame to be filled, its planes one after another in one block of memory."""

    block: NDArray[np.uint8]
    planes: Planes
    """Views of it."""
    pts: int = 0
    duration: int = 0
    shift: int = 0
    key: bool = False


def allocate_raw(pixels: PixelFormat, size: tuple[int, int]) -> Raw:
    """Return a new frame, not initialised."""
    block = np.empty(pixels.frame_bytes(*size), np.uint8)
    planes, begin = [], 0
    for rows, columns in pixels.plane_shapes(*size):
        end = begin + rows * columns * pixels.dtype.itemsize
        planes.append(block[begin:end].view(pixels.dtype).reshape(rows, columns))
        begin = end
    return Raw(block, tuple(planes))
