"""The degradation, against a direct implementation and against pictures of the field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidsr.errors import OptionsError
from vidsr.evaluation.bicubic import crop_to_multiple, downscale, keys_cubic
from vidsr.video.still import find_pictures, read_picture


def direct(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Shrink picture [H, W] by the definition: one output sample, one sum, one rounding at a time."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def line(samples: NDArray[np.uint8]) -> list[float]:
        border = 2 * scale + 1
        padded = np.pad(samples.astype(np.float64), border, mode="symmetric")
        out = []
        for k in range(len(samples) // scale):
            middle = (k + 0.5) * scale - 0.5
            near = [j for j in range(-border, len(samples) + border) if abs(j - middle) < 2 * scale]
            weights = [kernel((middle - j) / scale) for j in near]
            value = sum(w * padded[j + border] for w, j in zip(weights, near, strict=True))
            out.append(np.floor(min(max(value / sum(weights), 0), 255) + 0.5))
        return out

    columns = np.stack([line(c) for c in picture.T], axis=1).astype(np.uint8)
    return np.stack([line(row) for row in columns]).astype(np.uint8)


def test_kernel_has_keys_values() -> None:
    x = np.array([0, 0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_allclose(keys_cubic(x), [1, 0.5625, 0, -0.0625, 0, 0], atol=1e-15)
    np.testing.assert_array_equal(keys_cubic(-x), keys_cubic(x))


@settings(max_examples=25, deadline=None)
@given(
    scale=st.sampled_from([2, 3, 4]),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_direct_sum(scale: int, rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (rows * scale, columns * scale), dtype=np.uint8)
    np.testing.assert_array_equal(downscale(picture, scale), direct(picture, scale))


def test_more_bits_are_the_same_on_a_finer_scale() -> None:
    picture = np.random.default_rng(4).integers(0, 256, (16, 24), dtype=np.uint8)
    fine = downscale(picture.astype(np.uint16) * 4, 2, peak=1020)
    assert fine.dtype == np.uint16
    assert fine.max() <= 1020
    assert np.abs(fine / 4 - downscale(picture, 2)).max() < 1.5


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_constant_stays_constant(scale: int, value: int) -> None:
    picture = np.full((scale * 5, scale * 3, 3), value, dtype=np.uint8)
    out = downscale(picture, scale)
    assert out.shape == (5, 3, 3)
    assert out.dtype == np.uint8
    assert (out == value).all()


@pytest.mark.parametrize("scale", [2, 4])  # weights are whole fractions of two: sums are exact
def test_mirrored_in_mirrored_out(scale: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (24, 16), dtype=np.uint8)
    out = downscale(picture, scale)
    np.testing.assert_array_equal(downscale(picture[::-1], scale), out[::-1])
    np.testing.assert_array_equal(downscale(picture[:, ::-1], scale), out[:, ::-1])


def test_channels_do_not_mix() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    planes = [downscale(picture[..., c], 3) for c in range(3)]
    np.testing.assert_array_equal(downscale(picture, 3), np.stack(planes, axis=2))


def test_sides_must_be_multiples() -> None:
    picture = np.zeros((7, 9), dtype=np.uint8)
    with pytest.raises(OptionsError, match="9x7 cannot be shrunk exactly 2 times"):
        downscale(picture, 2)
    assert crop_to_multiple(picture, 2).shape == (6, 8)
    assert crop_to_multiple(picture, 3).shape == (6, 9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bit_exact_with_the_pictures_of_the_field(data: Path, scale: int) -> None:
    pictures = find_pictures([data / "eval/Set5/HR"])
    assert len(pictures) == 5
    for path in pictures:
        wanted = read_picture(data / f"eval/Set5/LR_imdn/x{scale}/{path.stem}x{scale}.bmp")
        made = downscale(crop_to_multiple(read_picture(path), scale), scale)
        np.testing.assert_array_equal(made, wanted, err_msg=path.stem)
