"""PSNR and SSIM as the super-resolution field measures them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vidsr.errors import OptionsError

__all__ = ["SSIM_WINDOW", "luma_bt601", "psnr", "shave", "ssim"]

Samples = NDArray[np.float64] | NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[Any]

SSIM_WINDOW = 11
"""Side of the smallest plane that SSIM can be measured on."""

_BLOCK = 32
_LUMA_BT601 = np.array([65.481, 128.553, 24.966])


def luma_bt601(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return BT.601 studio-range luma [H, W], 16..235, not rounded, of rgb [H, W, 3] uint8."""
    return rgb @ (_LUMA_BT601 / 255.0) + 16.0


def shave(picture: NDArray[np.float64], border: int) -> NDArray[np.float64]:
    """Return picture [H, W] without `border` pixels on each side."""
    return picture[border : len(picture) - border, border : picture.shape[1] - border]


def psnr(one: Samples, other: Samples, *, peak: float = 255.0) -> float:
    """Return 10 log10(peak^2 / mean squared difference) in dB; infinite for equal pictures.

    Raises:
        OptionsError: The pictures are of different sizes.
    """
    if one.shape != other.shape:
        raise OptionsError(f"pictures of {one.shape} and {other.shape} cannot be compared")
    difference = np.subtract(one, other, dtype=np.float64)
    error = float(np.mean(difference * difference))
    return float("inf") if error == 0 else 10 * float(np.log10(peak * peak / error))


def ssim(one: Samples, other: Samples, *, peak: float = 255.0) -> float:
    """Return the mean structural similarity of two planes [H, W], each side at least 11.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", IEEE TIP 2004: 11x11 Gaussian
    window of sigma 1.5, K1 = 0.01, K2 = 0.03, only windows that lie wholly inside.

    Computed in float64 for planes of float64, otherwise in float32, which is twice as fast and
    right to 1e-5.

    Raises:
        OptionsError: The planes are too small or of different sizes.
    """
    if one.shape != other.shape or min(one.shape) < SSIM_WINDOW:
        raise OptionsError(f"SSIM needs two planes of one size from 11x11, not {one.shape}, {other.shape}")
    exact = one.dtype == np.float64 and other.dtype == np.float64
    taps = _gaussian_bands().astype(np.float64 if exact else np.float32)
    # Small numbers lose less when variances are made as differences of squares.
    middle = taps.dtype.type(peak / 2)
    a, b = one.astype(taps.dtype) - middle, other.astype(taps.dtype) - middle
    rows = len(a) - SSIM_WINDOW + 1
    total = 0.0
    for top in range(0, rows, _BLOCK):  # strips stay in the processor's cache
        part = slice(top, top + len(taps))
        total += _likeness(a[part], b[part], taps, peak / 2, peak)
    return float(total / (rows * (a.shape[1] - SSIM_WINDOW + 1)))


def _likeness(a: Floats, b: Floats, taps: Floats, middle: float, peak: float) -> float:
    """Return the sum of the likeness over all windows; a and b are lower by `middle`."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b, square_a, square_b, product = _blur(np.stack([a, b, a * a, b * b, a * b]), taps)
    var_a = square_a - mean_a * mean_a
    var_b = square_b - mean_b * mean_b
    covariance = product - mean_a * mean_b
    mean_a += middle
    mean_b += middle
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    likeness /= (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    return float(likeness.sum(dtype=np.float64))


def _gaussian_bands() -> NDArray[np.float64]:
    """Return the matrix [_BLOCK + 10, _BLOCK] whose columns hold the window, each one lower than the last."""
    window = np.exp(-((np.arange(SSIM_WINDOW) - 5.0) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    bands = np.zeros((_BLOCK + SSIM_WINDOW - 1, _BLOCK))
    for column in range(_BLOCK):
        bands[column : column + SSIM_WINDOW, column] = window
    return bands


def _blur(planes: Floats, bands: Floats) -> Floats:
    """Return planes [N, H, W] under the window, [N, H - 10, W - 10]; H is at most _BLOCK + 10.

    Blocks of samples times a band matrix: three multiplications of four are by zero, and it is still
    several times as fast as adding up shifted planes.
    """
    border = SSIM_WINDOW - 1
    rows, columns = planes.shape[1] - border, planes.shape[2] - border
    planes = bands[: rows + border, :rows].T @ planes
    whole = columns // _BLOCK * _BLOCK
    out = np.empty((len(planes), rows, columns), planes.dtype)
    if whole:
        blocks = sliding_window_view(planes, len(bands), axis=2)[:, :, :whole:_BLOCK]
        out[..., :whole] = (np.ascontiguousarray(blocks) @ bands).reshape(len(planes), rows, whole)
    if rest := columns - whole:
        out[..., whole:] = planes[..., whole:] @ bands[: rest + border, :rest]
    return out
