"""Adaptive cropping: cutting a frame into overlapping tiles of one size. Pure arithmetic.

All tiles of a plan have the same size, so one compiled graph serves them all; the outer ones lie
flush with the frame's border, so that the network sees the border where the whole frame has it.
Neighbours overlap by at least twice the halo, and each output pixel is taken from a tile in which it
lies at least a halo away from every cut: for a stack of zero-padded convolutions the joined picture
equals the whole frame's.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidsr.errors import OptionsError

__all__ = ["Rect", "Tile", "TilePlan", "plan_corners", "plan_tiles"]


CORNER_OVERLAP = 32
"""Pixels."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in source luma pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: what it reads and what is kept of it."""

    source: Rect
    kept: Rect
    """In the frame's coordinates, inside `source`; the kept parts of all tiles cover the frame once."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The tiles of a frame, row by row."""

    width: int
    """Of every tile's source, in pixels."""
    height: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    kept_start: int
    kept_stop: int


def plan_tiles(
    width: int,
    height: int,
    tile: int,
    *,
    halo: int,
    align: int | tuple[int, int] = 1,
    least: int = 1,
) -> TilePlan:
    """Return the tiles of a width x height frame.

    Args:
        width: Of the frame, in luma pixels, at least 1.
        height: Of the frame.
        tile: Wanted side of a tile in pixels; 0 for one tile as large as the frame. Sides grow to
            the smallest that works (halo, alignment), and shrink so that tiles are evenly used.
        halo: Pixels of context that an output pixel depends on, to each side.
        align: Tiles and kept parts begin at multiples of this (chroma subsampling, filter phases); a pair:
            across and down. An axis without room for two such tiles is not cut.
        least: Smallest side of a tile; the frame has at least this.

    Raises:
        OptionsError: The frame has no pixels.
    """
    if width < 1 or height < 1:
        raise OptionsError(f"a frame of {width}x{height} has no pixels")
    across, down = (align, align) if isinstance(align, int) else align
    tile_width, columns = _cut(width, tile, halo, across, least)
    tile_height, rows = _cut(height, tile, halo, down, least)
    return _plan(tile_width, tile_height, columns, rows)


def plan_corners(
    width: int, height: int, multiple: int, overlap: int = CORNER_OVERLAP, *, least: int = 1
) -> TilePlan:
    """Return four overlapping patches (2 x 2), one in each corner, whose sides are multiples of `multiple`.

    The adaptive cropping strategy of Hui, Gao, Yang, Wang, "Lightweight Image Super-Resolution with
    Information Multi-distillation Network", ACM MM 2019: a network that takes only such sides runs on a
    frame of any size without padding. Each patch keeps what is nearest to its own corner.

    Args:
        width: Of the frame.
        height: Of the frame.
        multiple: Sides of patches are multiples of this.
        overlap: Pixels by which neighbours overlap, at least, where the frame is large enough. Smaller frames
            get the largest legal patches that fit; an axis shorter than one has one patch, to be padded.
        least: Smallest side of a patch.

    Raises:
        OptionsError: The frame has no pixels.
    """
    if width < 1 or height < 1:
        raise OptionsError(f"a frame of {width}x{height} has no pixels")
    tile_width, columns = _halves(width, multiple, overlap, least)
    tile_height, rows = _halves(height, multiple, overlap, least)
    return _plan(tile_width, tile_height, columns, rows)


def _halves(length: int, multiple: int, overlap: int, least: int) -> tuple[int, list[_Piece]]:
    """Return the patches' length along one axis and where the two lie."""
    side = _up(max(-(-(length + overlap) // 2), least), multiple)
    side = min(side, length - length % multiple)
    if side < _up(least, multiple) or side == length:
        return length, [_Piece(0, 0, length)]
    middle = length // 2
    return side, [_Piece(0, 0, middle), _Piece(length - side, middle, length)]


def _plan(tile_width: int, tile_height: int, columns: list[_Piece], rows: list[_Piece]) -> TilePlan:
    tiles = tuple(
        Tile(
            Rect(column.start, row.start, tile_width, tile_height),
            Rect(
                column.kept_start,
                row.kept_start,
                column.kept_stop - column.kept_start,
                row.kept_stop - row.kept_start,
            ),
        )
        for row in rows
        for column in columns
    )
    return TilePlan(tile_width, tile_height, tiles)


def _cut(length: int, tile: int, halo: int, align: int, least: int) -> tuple[int, list[_Piece]]:
    """Return the tiles' length along one axis and where each lies."""
    margin = _up(halo, align)
    if tile == 0 or tile >= length:
        return length, [_Piece(0, 0, length)]
    # A tile keeps at least one aligned step between its two margins.
    side = max(_up(tile, align), 2 * margin + align)
    count = -(-(length - 2 * margin) // (side - 2 * margin))
    if count <= 1 or side >= length:
        return length, [_Piece(0, 0, length)]
    # Spread evenly: the smallest step that `count` tiles need, in aligned units.
    step = _up(max(-(-(length - 2 * margin) // count), least - 2 * margin), align)
    side = step + 2 * margin
    # The last tile is flush with the border and must begin at an aligned pixel.
    side += (length - side) % align
    if side >= length:
        return length, [_Piece(0, 0, length)]
    starts = [min(i * step, length - side) for i in range(count)]
    cuts = [0, *[start + margin for start in starts[1:]], length]
    return side, [
        _Piece(start, before, after)
        for start, before, after in zip(starts, cuts, cuts[1:], strict=False)
        if after > before
    ]


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
