"""PSNR, SSIM and luma against numbers worked out by hand or by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidsr.errors import OptionsError
from vidsr.evaluation.metrics import luma_bt601, psnr, shave, ssim

Plane = NDArray[np.float64]


def direct_ssim(one: Plane, other: Plane) -> float:
    """Window by window, with weighted means, as the paper's equations 13 to 16 are written."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 4.5)
    window /= window.sum()
    values = []
    for y in range(one.shape[0] - 10):
        for x in range(one.shape[1] - 10):
            a, b = one[y : y + 11, x : x + 11], other[y : y + 11, x : x + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a = (window * (a - mean_a) ** 2).sum()
            var_b = (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + 6.5025)
                * (2 * both + 58.5225)
                / ((mean_a**2 + mean_b**2 + 6.5025) * (var_a + var_b + 58.5225))
            )
    return float(np.mean(values))


def test_psnr_by_hand() -> None:
    zeros = np.zeros((4, 5))
    assert psnr(zeros, zeros + 1) == pytest.approx(48.1308036087)  # 20 log10 255
    assert psnr(zeros, zeros + 255) == pytest.approx(0)
    half = zeros.copy()
    half[:2] = 2  # mean square 2
    assert psnr(zeros, half) == pytest.approx(45.1205036520)
    assert psnr(zeros, zeros + 0.1, peak=1.0) == pytest.approx(20)
    assert psnr(zeros, zeros) == float("inf")


def test_psnr_refuses_different_sizes() -> None:
    with pytest.raises(OptionsError, match="cannot be compared"):
        psnr(np.zeros((4, 5)), np.zeros((4, 1)))  # numpy alone would broadcast


def test_ssim_of_flat_planes_by_hand() -> None:
    flat = np.full((12, 13), 100.0)
    assert ssim(flat, flat) == pytest.approx(1)
    # only the mean's term is left: (2 * 100 * 50 + C1) / (100^2 + 50^2 + C1)
    assert ssim(flat, flat / 2) == pytest.approx((10000 + 6.5025) / (12500 + 6.5025))


@settings(max_examples=15, deadline=None)
@given(st.integers(11, 16), st.integers(11, 16), st.integers(0, 2**32 - 1))
def test_ssim_equals_its_definition(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one = random.uniform(0, 255, (height, width))
    other = np.clip(one + random.normal(0, 30, one.shape), 0, 255)
    assert ssim(one, other) == pytest.approx(direct_ssim(one, other), abs=1e-9)
    assert ssim(one, other) == pytest.approx(ssim(other, one), abs=1e-12)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 1023)])
def test_codes_are_compared_in_float32_and_nearly_as_well(dtype: type, peak: int) -> None:
    """Wide and high enough for several of the blocks that it is made of, and a rest."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:79, :85]
    one = (np.sin(x / 9) * np.cos(y / 7) * 0.3 + 0.6) * peak
    other = np.clip(one + random.normal(0, peak / 50, one.shape), 0, peak)
    a, b = np.rint(one).astype(dtype), np.rint(other).astype(dtype)
    exact = [plane.astype(np.float64) for plane in (a, b)]
    assert ssim(a, b, peak=peak) == pytest.approx(ssim(*exact, peak=peak), abs=1e-5)
    assert ssim(*exact, peak=peak) == pytest.approx(direct_ssim(*(e * 255 / peak for e in exact)), abs=1e-9)
    assert psnr(a, b, peak=peak) == pytest.approx(psnr(*exact, peak=peak), abs=1e-12)
    assert psnr(b, a, peak=peak) == psnr(a, b, peak=peak)  # no wrap below zero


@pytest.mark.parametrize("shapes", [((10, 20), (10, 20)), ((12, 12), (12, 13))])
def test_ssim_refuses_small_or_different_planes(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(OptionsError, match="SSIM needs"):
        ssim(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_luma_is_studio_range_and_not_rounded() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 1, 1]]])
    wanted = [[16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966, 16 + 219 / 255]]
    np.testing.assert_allclose(luma_bt601(colours.astype(np.uint8)), wanted, rtol=0, atol=1e-12)


def test_shave_takes_a_border_off_each_side() -> None:
    picture = np.arange(30.0).reshape(5, 6)
    np.testing.assert_array_equal(shave(picture, 2), [[14, 15]])
    np.testing.assert_array_equal(shave(picture, 0), picture)
