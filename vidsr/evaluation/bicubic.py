"""The field's degradation: bicubic downscaling as MATLAB's ``imresize`` does it for uint8 pictures.

Kernel: R. Keys, "Cubic convolution interpolation for digital image processing", 1981, a = -0.5;
stretched by the scale when shrinking (antialiasing), border mirrored with the edge sample repeated,
columns first and then rows, rounded to whole codes after each pass. Bit-exact with the low-resolution
pictures that IMDN was measured on.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import OptionsError

__all__ = ["crop_to_multiple", "downscale", "keys_cubic", "upscale"]

C = TypeVar("C", np.uint8, np.uint16)


def keys_cubic(x: NDArray[np.float64], a: float = -0.5) -> NDArray[np.float64]:
    """Return Keys' cubic kernel at distances x, in samples; zero from 2 on."""
    d = np.abs(x)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def crop_to_multiple(picture: NDArray[C], scale: int) -> NDArray[C]:
    """Cut rows and columns off the end of picture [H, W, ...] until `scale` divides its sides."""
    height, width = picture.shape[:2]
    return picture[: height - height % scale, : width - width % scale]


def downscale(picture: NDArray[C], scale: int, *, peak: int = 255) -> NDArray[C]:
    """Shrink picture [H, W] or [H, W, C], uint8 or uint16, to [H / scale, W / scale, ...] of the same type.

    Args:
        picture: Code values.
        scale: How many times smaller.
        peak: The largest code.

    Raises:
        OptionsError: `scale` does not divide the picture's sides; see `crop_to_multiple`.
    """
    height, width = picture.shape[:2]
    if height % scale or width % scale:
        raise OptionsError(f"a picture of {width}x{height} cannot be shrunk exactly {scale} times")
    rows = _shrink_first_axis(picture, scale, peak)
    return np.swapaxes(_shrink_first_axis(np.swapaxes(rows, 0, 1), scale, peak), 0, 1)


def upscale(plane: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Enlarge plane [H, W] by bicubic interpolation, without rounding: the tables' row "bicubic"."""
    for _ in range(2):
        indices, weights = _taps(len(plane), scale, enlarge=True)
        plane = np.einsum("ot,otw->ow", weights, plane[indices]).T
    return plane


def _shrink_first_axis(picture: NDArray[C], scale: int, peak: int) -> NDArray[C]:
    indices, weights = _taps(len(picture), scale)
    total = np.zeros((len(indices), *picture.shape[1:]), dtype=np.float64)
    shape = (-1, *[1] * (picture.ndim - 1))
    for index, weight in zip(indices.T, weights.T, strict=True):
        total += weight.reshape(shape) * picture[index]
    # MATLAB rounds halves up (away from zero), numpy's rint to even.
    return np.floor(np.clip(total, 0, peak) + 0.5).astype(picture.dtype)


def _taps(length: int, scale: int, *, enlarge: bool = False) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return source indices and weights, both [output length, taps]."""
    step = 1 / scale if enlarge else float(scale)  # source samples from one output sample to the next
    width = max(1.0, step)  # how far the kernel is stretched, to take in all samples when shrinking
    centres = (np.arange(length * scale if enlarge else length // scale) + 0.5) * step - 0.5
    taps = int(np.ceil(4 * width)) + 2
    first = np.floor(centres - 2 * width).astype(np.intp)
    indices = first[:, None] + np.arange(taps)
    weights = keys_cubic((centres[:, None] - indices) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    period = 2 * length
    folded = np.mod(indices, period)
    return np.where(folded < length, folded, period - 1 - folded), weights
