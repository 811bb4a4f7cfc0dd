"""Where two frames differ: no changed sample is missed, and no cell without one is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.changes import Comparison, TileMap
from vidsr.frame import PixelFormat, Planes
from vidsr.tiling import plan_tiles

FORMATS = "gray yuv420p yuv422p10le yuv444p yuv440p yuv411p yuv410p yuva420p gbrap12le".split()


def shifts(pixels: PixelFormat, plane: int) -> tuple[int, int]:
    return pixels.chroma_shifts if plane in (1, 2) and pixels.family == "yuv" else (0, 0)


def padded(planes: Planes) -> Planes:
    """Return the planes as views of larger ones, as a decoder's are; what lies around is noise."""
    rng, made = np.random.default_rng(), []
    for plane in planes:
        rows, columns = plane.shape
        around = rng.integers(0, 200, (rows + 3, columns + 5)).astype(plane.dtype)
        around[:rows, :columns] = plane
        made.append(around[:rows, :columns])
    return tuple(made)


@given(st.data())
def test_each_changed_sample_marks_its_cell(data: st.DataObject) -> None:
    pixels = PixelFormat.parse(data.draw(st.sampled_from(FORMATS)))
    width, height = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150))
    shapes = pixels.plane_shapes(width, height)
    before = tuple(np.full(shape, 77, pixels.dtype) for shape in shapes)
    now = tuple(plane.copy() for plane in before)
    comparison = Comparison(pixels, width, height)
    (cell_width, cell_height), (across, down) = comparison.cell, comparison.cells
    expected = np.zeros((down, across), bool)
    for _ in range(data.draw(st.integers(0, 6))):
        plane = data.draw(st.integers(0, len(shapes) - 1))
        y, x = (data.draw(st.integers(0, side - 1)) for side in shapes[plane])
        now[plane][y, x] ^= 1 << data.draw(st.integers(0, pixels.bit_depth - 1))
    for plane, (one, other) in enumerate(zip(before, now, strict=True)):
        sx, sy = shifts(pixels, plane)
        for y, x in np.argwhere(one != other):
            expected[(y << sy) // cell_height, (x << sx) // cell_width] = 1
    found = comparison.changed(padded(before), padded(now), across * down)
    assert found is not None
    assert np.array_equal(found, expected)
    count = int(expected.sum())
    if count:
        assert comparison.changed(before, now, count - 1) is None
    assert comparison.changed(before, now, count) is not None
    assert not np.any(comparison.changed(now, now, 0)), "what an earlier comparison found is forgotten"


@pytest.mark.parametrize("size", [(300, 200), (131, 97), (64, 64)])
def test_tiles_that_read_a_cell(size: tuple[int, int]) -> None:
    width, height = size
    comparison = Comparison(PixelFormat.parse("yuv420p"), width, height)
    plan = plan_tiles(width, height, 40, halo=5, align=2)
    tiles = TileMap(plan.tiles, comparison)
    (cell_width, cell_height), (across, down) = comparison.cell, comparison.cells
    for row, column in np.ndindex(down, across):
        cells = np.zeros((down, across), bool)
        cells[row, column] = True
        x, y = column * cell_width, row * cell_height
        wanted = tuple(
            t
            for t in plan.tiles
            if t.source.x < min(x + cell_width, width)
            and x < t.source.x + t.source.width
            and t.source.y < min(y + cell_height, height)
            and y < t.source.y + t.source.height
        )
        assert tiles.touched(cells) == wanted
        assert wanted
    assert tiles.touched(np.zeros((down, across), bool)) == ()
    assert tiles.touched(np.ones((down, across), bool)) == plan.tiles


@pytest.mark.parametrize("size", [(640, 480), (131, 97), (8, 1), (9, 200)])
def test_a_look_at_a_few_rows(size: tuple[int, int]) -> None:
    pixels = PixelFormat.parse("yuv420p10le")
    comparison = Comparison(pixels, *size)
    rng = np.random.default_rng(1)
    shapes = pixels.plane_shapes(*size)
    before, now = (tuple(rng.integers(0, 1024, s).astype(np.uint16) for s in shapes) for _ in range(2))
    assert comparison.mostly(padded(before), padded(now), 0.6)
    assert not comparison.mostly(padded(now), padded(now), 0.6)
    half = tuple(plane.copy() for plane in before)
    half[0][: size[1] // 2] = now[0][: size[1] // 2]
    assert not comparison.mostly(before, half, 0.6)


def test_a_frame_too_narrow_for_a_look() -> None:
    one = (np.zeros((5, 3), np.uint8),)
    assert not Comparison(PixelFormat.parse("gray"), 3, 5).mostly(one, (one[0] + 1,), 0.6)
