"""Matrices, ranges and siting against the standards' own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.color import LUMA_WEIGHTS, chroma_offsets, code_scale, rgb_to_ycc, upsampling_phases
from vidsr.frame import ChromaLocation, ColorRange, Matrix

WITH_LUMA = [m for m in Matrix if m is not Matrix.RGB]


def test_bt709_is_the_matrix_of_the_standard() -> None:
    # ITU-R BT.709-6, items 3.2 and 3.3: E'CB = (B - Y) / 1.8556, E'CR = (R - Y) / 1.5748
    red, green, blue = 0.2126, 0.7152, 0.0722
    wanted = [
        [red, green, blue],
        [-red / 1.8556, -green / 1.8556, (1 - blue) / 1.8556],
        [(1 - red) / 1.5748, -green / 1.5748, -blue / 1.5748],
    ]
    np.testing.assert_allclose(rgb_to_ycc(Matrix.BT709), wanted, atol=1e-15)


@pytest.mark.parametrize(
    ("matrix", "cb", "cr"),
    [(Matrix.BT601, 1.772, 1.402), (Matrix.BT709, 1.8556, 1.5748), (Matrix.BT2020, 1.8814, 1.4746)],
)
def test_colour_difference_divisors(matrix: Matrix, cb: float, cr: float) -> None:
    """The divisors printed in BT.601, BT.709 and BT.2020."""
    m = rgb_to_ycc(matrix)
    assert (1 - m[0, 2]) / m[1, 2] == pytest.approx(cb, abs=1e-9)
    assert (1 - m[0, 0]) / m[2, 0] == pytest.approx(cr, abs=1e-9)


@pytest.mark.parametrize("matrix", WITH_LUMA)
def test_gray_has_no_chroma_and_extremes_stay_in_range(matrix: Matrix) -> None:
    m = rgb_to_ycc(matrix)
    np.testing.assert_allclose(m @ [1, 1, 1], [1, 0, 0], atol=1e-15)
    cube = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1)
    ycc = m @ cube
    np.testing.assert_allclose(ycc.max(axis=1), [1, 0.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(ycc.min(axis=1), [0, -0.5, -0.5], atol=1e-12)


def test_rgb_has_no_luma() -> None:
    assert set(LUMA_WEIGHTS) == set(WITH_LUMA) - {Matrix.YCGCO}
    with pytest.raises(ValueError, match="no luma"):
        rgb_to_ycc(Matrix.RGB)


@pytest.mark.parametrize(
    ("depth", "color_range", "black", "white", "chroma_low", "chroma_high"),
    [
        (8, ColorRange.LIMITED, 16, 235, 16, 240),
        (10, ColorRange.LIMITED, 64, 940, 64, 960),
        (12, ColorRange.LIMITED, 256, 3760, 256, 3840),
        (8, ColorRange.FULL, 0, 255, 0.5, 255.5),
        (10, ColorRange.FULL, 0, 1023, 0.5, 1023.5),
    ],
)
def test_code_values(
    depth: int,
    color_range: ColorRange,
    black: float,
    white: float,
    chroma_low: float,
    chroma_high: float,
) -> None:
    """ITU-R BT.2100, table 9."""
    span, zero = code_scale(depth, color_range, chroma=False)
    assert (zero, span + zero) == (black, white)
    span, zero = code_scale(depth, color_range, chroma=True)
    assert (zero - span / 2, zero + span / 2) == (chroma_low, chroma_high)
    assert zero == 1 << (depth - 1)


@pytest.mark.parametrize(
    ("location", "x", "y"),
    [
        # in luma samples from the corner; the middle of a luma sample is 0.5
        (ChromaLocation.LEFT, 0.5, 1.0),
        (ChromaLocation.CENTER, 1.0, 1.0),
        (ChromaLocation.TOPLEFT, 0.5, 0.5),
        (ChromaLocation.TOP, 1.0, 0.5),
        (ChromaLocation.BOTTOMLEFT, 0.5, 1.5),
        (ChromaLocation.BOTTOM, 1.0, 1.5),
    ],
)
def test_where_the_first_sample_of_420_lies(location: ChromaLocation, x: float, y: float) -> None:
    assert tuple(2 * offset for offset in chroma_offsets(location, 1, 1)) == (x, y)


@pytest.mark.parametrize("location", ChromaLocation)
def test_siting_does_not_matter_where_nothing_is_subsampled(location: ChromaLocation) -> None:
    assert chroma_offsets(location, 0, 0) == (0.5, 0.5)
    assert chroma_offsets(location, 1, 0)[1] == 0.5


@given(
    scale=st.integers(1, 8),
    location=st.sampled_from(ChromaLocation),
    shift=st.integers(1, 2),
    index=st.integers(0, 50),
)
def test_phases_put_samples_where_they_are_in_the_picture(
    scale: int, location: ChromaLocation, shift: int, index: int
) -> None:
    """Measure both planes' samples in source luma samples and compare the places."""
    offset = chroma_offsets(location, shift, shift)[0]
    step = 1 << shift
    target = (index + offset) * step / scale  # the target's luma samples are 1 / scale wide
    source = index // scale + upsampling_phases(scale, offset)[index % scale]
    assert (source + offset) * step == pytest.approx(target, abs=1e-9)
