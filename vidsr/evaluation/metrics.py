"""PSNR and SSIM as the super-resolution field measures them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import OptionsError

__all__ = ["luma_bt601", "psnr", "shave", "ssim"]

_LUMA_BT601 = np.array([65.481, 128.553, 24.966])


def luma_bt601(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return BT.601 studio-range luma [H, W], 16..235, not rounded, of rgb [H, W, 3] uint8."""
    return rgb @ (_LUMA_BT601 / 255.0) + 16.0


def shave(picture: NDArray[np.float64], border: int) -> NDArray[np.float64]:
    """Return picture [H, W] without `border` pixels on each side."""
    return picture[border : len(picture) - border, border : picture.shape[1] - border]


def psnr(one: NDArray[np.float64], other: NDArray[np.float64], *, peak: float = 255.0) -> float:
    """Return 10 log10(peak^2 / mean squared difference) in dB; infinite for equal pictures."""
    if one.shape != other.shape:
        raise OptionsError(f"pictures of {one.shape} and {other.shape} cannot be compared")
    error = float(np.mean((one - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(peak * peak / error))


def ssim(one: NDArray[np.float64], other: NDArray[np.float64], *, peak: float = 255.0) -> float:
    """Return the mean structural similarity of two planes [H, W], each side at least 11.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", IEEE TIP 2004: 11x11 Gaussian
    window of sigma 1.5, K1 = 0.01, K2 = 0.03, only windows that lie wholly inside.
    """
    if one.shape != other.shape or min(one.shape) < 11:
        raise OptionsError(f"SSIM needs two planes of one size from 11x11, not {one.shape}, {other.shape}")
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b = _blur(one), _blur(other)
    var_a = _blur(one * one) - mean_a * mean_a
    var_b = _blur(other * other) - mean_b * mean_b
    covariance = _blur(one * other) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    likeness /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(likeness.mean())


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    height, width = plane.shape
    rows = sum(w * plane[i : height - 10 + i] for i, w in enumerate(window))
    return np.asarray(sum(w * np.asarray(rows)[:, i : width - 10 + i] for i, w in enumerate(window)))
