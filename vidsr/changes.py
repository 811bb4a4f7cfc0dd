"""Where two frames differ, by cells of a few pixels, and which tiles read a cell that does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidsr.frame import PixelFormat, Planes
from vidsr.tiling import Rect, Tile

__all__ = ["Comparison", "TileMap"]

_CELL_ROWS = 16
_BAND_CELLS = 4
_PROBES = 8
_WORD = 8  # samples whose flags are looked at as one integer


class Comparison:
    """Compares frames of one format and size, a band of rows at a time. Not thread-safe.

    Attributes:
        cell: Luma columns and rows of a cell.
        cells: Cells across and down; the last ones may reach beyond the frame.
    """

    def __init__(self, layout: PixelFormat, width: int, height: int) -> None:
        """Make ready for frames of width x height luma pixels."""
        self.cell = (_WORD << layout.chroma_shift_x, _CELL_ROWS)
        self.cells = (-(-width // self.cell[0]), -(-height // self.cell[1]))
        # Of each plane: rows of a cell, words of a cell, and flags of a band, false beyond the frame.
        self._planes: list[tuple[int, int, NDArray[np.bool_]]] = []
        for rows, columns in layout.plane_shapes(width, height):
            luma = (rows, columns) == (height, width)
            words = 1 << layout.chroma_shift_x if luma else 1
            down = _CELL_ROWS if luma else _CELL_ROWS >> layout.chroma_shift_y
            flags = np.zeros((_BAND_CELLS * down, self.cells[0] * words * _WORD), np.bool_)
            self._planes.append((down, words, flags))

    def mostly(self, before: Planes, now: Planes, share: float) -> bool:
        """Tell, by a look at a few rows of the first plane, whether more than a share of it differs."""
        step = -(-len(now[0]) // _PROBES)
        differ = np.not_equal(before[0][step // 2 :: step], now[0][step // 2 :: step])
        columns = differ.shape[1] // _WORD * _WORD
        cells = np.ascontiguousarray(differ[:, :columns]).view(np.uint64)
        return bool(cells.size and np.count_nonzero(cells) > share * cells.size)

    def changed(self, before: Planes, now: Planes, most: int) -> NDArray[np.bool_] | None:
        """Return which cells [down, across] differ in any plane; None: more than `most` of them.

        It stops as soon as that is known.
        """
        across, down = self.cells
        found = np.zeros((down, across), np.bool_)
        count = 0
        for first in range(0, down, _BAND_CELLS):
            band = found[first : first + _BAND_CELLS]
            for one, other, (rows, words, flags) in zip(before, now, self._planes, strict=True):
                top = first * rows
                part = one[top : top + len(flags)]
                height, width = part.shape
                np.not_equal(part, other[top : top + height], out=flags[:height, :width])
                flags[height:] = False
                by_word = flags.view(np.uint64).reshape(_BAND_CELLS, rows, across * words)
                differ = np.bitwise_or.reduce(by_word, axis=1).reshape(_BAND_CELLS, across, words)
                band |= differ.any(axis=2)[: len(band)]
            count += int(np.count_nonzero(band))
            if count > most:
                return None
        return found


class TileMap:
    """Which tiles of a plan read which cells."""

    def __init__(self, tiles: Sequence[Tile], comparison: Comparison) -> None:
        """Take a plan's tiles, and what finds the cells."""
        self._tiles = tuple(tiles)
        self._corners = np.array([_corners(t.source, comparison) for t in tiles], np.intp).T

    def touched(self, cells: NDArray[np.bool_]) -> tuple[Tile, ...]:
        """Return the tiles that read one of the cells."""
        total = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.intp)
        total[1:, 1:] = cells.cumsum(axis=0, dtype=np.intp).cumsum(axis=1)
        left, top, right, bottom = self._corners
        inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return tuple(self._tiles[i] for i in np.flatnonzero(inside))


def _corners(rect: Rect, comparison: Comparison) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the cells that a rectangle reaches into."""
    (width, height), (across, down) = comparison.cell, comparison.cells
    return (
        min(rect.x // width, across - 1),  # a tile of a padded frame reads its last column and row
        min(rect.y // height, down - 1),
        min(-(-(rect.x + rect.width) // width), across),
        min(-(-(rect.y + rect.height) // height), down),
    )
