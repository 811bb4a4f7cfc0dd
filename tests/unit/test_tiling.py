"""Tiles: they cover the frame once and keep nothing that a cut could have touched."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vidsr.errors import OptionsError
from vidsr.tiling import Rect, Tile, plan_tiles

SIDES = st.integers(1, 300)


@settings(max_examples=600, deadline=None)
@given(
    width=SIDES,
    height=SIDES,
    tile=st.integers(0, 140),
    halo=st.integers(0, 24),
    align=st.sampled_from([1, 2, 4, 8]),
    least=st.integers(1, 40),
)
@example(width=1, height=1, tile=1, halo=0, align=1, least=1)
@example(width=300, height=1, tile=1, halo=24, align=4, least=1)
@example(width=101, height=99, tile=100, halo=7, align=2, least=1)
@example(width=16, height=16, tile=15, halo=1, align=1, least=15)
def test_tiles_cover_the_frame_and_stay_away_from_cuts(
    width: int, height: int, tile: int, halo: int, align: int, least: int
) -> None:
    plan = plan_tiles(width, height, tile, halo=halo, align=align, least=least)
    assert plan.width >= min(width, least)
    assert plan.height >= min(height, least)
    covered = np.zeros((height, width), np.uint8)
    for one in plan.tiles:
        source, kept = one.source, one.kept
        assert (source.width, source.height) == (plan.width, plan.height)
        assert kept.width >= 1
        assert kept.height >= 1
        assert {v % align for v in (source.x, source.y, kept.x, kept.y)} == {0}
        _check_axis(source.x, source.width, kept.x, kept.width, width, halo)
        _check_axis(source.y, source.height, kept.y, kept.height, height, halo)
        covered[kept.y : kept.y + kept.height, kept.x : kept.x + kept.width] += 1
    assert covered.min() == covered.max() == 1


def _check_axis(start: int, length: int, kept: int, kept_length: int, frame: int, halo: int) -> None:
    assert 0 <= start <= kept
    assert kept + kept_length <= start + length <= frame
    assert start == 0 or kept - start >= halo
    assert start + length == frame or (start + length) - (kept + kept_length) >= halo


@settings(max_examples=300, deadline=None)
@given(
    length=st.integers(1, 4000),
    tile=st.integers(1, 1100),
    halo=st.integers(0, 24),
    align=st.sampled_from([1, 2, 4]),
)
def test_no_tile_is_much_larger_than_asked_and_none_is_wasted(
    length: int, tile: int, halo: int, align: int
) -> None:
    """Memory is why tiles are asked for: a side is the wish, or what halo and alignment need."""
    plan = plan_tiles(length, 1, tile, halo=halo, align=align)
    needed = 2 * (-(-halo // align) * align) + align
    assert plan.width <= max(tile + align - 1, needed) + align - 1
    kept = max(1, max(tile, needed) - 2 * (halo + align - 1))
    assert len(plan.tiles) <= -(-length // kept)


@pytest.mark.parametrize("size", [(1, 1), (53, 37), (1920, 1080)])
@pytest.mark.parametrize("tile", [0, 1 << 16])
def test_one_tile_is_the_whole_frame(size: tuple[int, int], tile: int) -> None:
    plan = plan_tiles(*size, tile, halo=6, align=2)
    whole = Rect(0, 0, *size)
    assert plan.tiles == (Tile(whole, whole),)
    assert (plan.width, plan.height) == size


def test_one_pixel_is_never_cut() -> None:
    assert len(plan_tiles(1, 1, 1, halo=9, align=4).tiles) == 1


def test_tiles_come_row_by_row() -> None:
    places = [(t.source.y, t.source.x) for t in plan_tiles(100, 60, 32, halo=4, align=2).tiles]
    assert len(places) > 4
    assert places == sorted(places)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_a_frame_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(OptionsError, match="has no pixels"):
        plan_tiles(*size, 16, halo=2)
