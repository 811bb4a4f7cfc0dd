"""A frame in tiles: cut, submitted one after another, joined."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from vidsr.backends.base import Session, Ticket
from vidsr.frame import PixelFormat, Plane, Planes
from vidsr.tiling import Rect, Tile, TilePlan

__all__ = ["TiledTicket", "scaled_rect"]


class TiledTicket:
    """A frame in tiles: as many in work as the session takes, each joined when it is done."""

    def __init__(
        self,
        session: Session,
        layout: PixelFormat,
        scale: tuple[Fraction, Fraction],
        plan: TilePlan,
        src: Planes,
        dst: Planes,
    ) -> None:
        """Submit the first tiles.

        Args:
            session: For tiles of the plan's size.
            layout: Of the planes.
            scale: Output samples a source sample, across and down.
            plan: Where the tiles lie; their borders fall on whole output samples.
            src: Of the frame, as large as the plan.
            dst: Of the result; what tiles of a padded frame reach beyond it is left out.
        """
        self._layout, self._scale, self._plan, self._dst = layout, scale, plan, dst
        self._error: BaseException | None = None
        self._work: deque[tuple[Tile, Planes, Ticket]] = deque()
        free: list[Planes] = []
        whole = scaled_rect(Rect(0, 0, plan.width, plan.height), scale)
        try:
            for tile in plan.tiles:
                if len(self._work) >= session.in_flight:
                    free.append(self._join_one())
                made = free.pop() if free else layout.allocate(whole.width, whole.height)
                cut = tuple(_cut(src, layout, tile.source))
                self._work.append((tile, made, session.submit(cut, made)))
        except BaseException:
            self._drain()
            raise

    def result(self) -> None:
        """Wait for the tiles that are still in work, and join them."""
        if self._error is not None:
            raise self._error
        try:
            while self._work:
                self._join_one()
        except BaseException as error:
            self._error = error
            self._drain()
            raise

    def _join_one(self) -> Planes:
        tile, made, ticket = self._work.popleft()
        ticket.result()
        kept, source = (scaled_rect(rect, self._scale) for rect in (tile.kept, tile.source))
        inside = Rect(kept.x - source.x, kept.y - source.y, kept.width, kept.height)
        pairs = zip(_cut(self._dst, self._layout, kept), _cut(made, self._layout, inside), strict=True)
        for target, part in pairs:
            # A padded frame's tiles reach beyond the picture.
            height, width = target.shape
            np.copyto(target, part[:height, :width])
        return made

    def _drain(self) -> None:
        """Wait for everything, whatever comes of it: the session still writes into our planes."""
        for _, _, ticket in self._work:
            try:
                ticket.result()
            except Exception:  # noqa: BLE001 - the first error is on its way already
                continue
        self._work.clear()


def _cut(planes: Planes, layout: PixelFormat, rect: Rect) -> Iterator[Plane]:
    """Yield each plane's part of a rectangle in luma pixels."""
    for plane, (shift_x, shift_y) in zip(planes, _shifts(layout), strict=True):
        x, y = rect.x >> shift_x, rect.y >> shift_y
        right = -(-(rect.x + rect.width) >> shift_x)
        bottom = -(-(rect.y + rect.height) >> shift_y)
        yield plane[y:bottom, x:right]


def _shifts(layout: PixelFormat) -> Iterator[tuple[int, int]]:
    yield 0, 0
    if layout.family != "gray":
        yield from [(layout.chroma_shift_x, layout.chroma_shift_y)] * 2
    if layout.alpha:
        yield 0, 0


def scaled_rect(rect: Rect, scale: tuple[Fraction, Fraction]) -> Rect:
    """Return the rectangle of the output that a rectangle of the source becomes.

    Raises:
        ValueError: Its borders would not fall on whole samples.
    """
    across, down = scale
    sides = (rect.x * across, rect.y * down, rect.width * across, rect.height * down)
    if any(Fraction(side).denominator != 1 for side in sides):
        raise ValueError(f"{rect} does not become whole samples at {across} x {down}")
    x, y, width, height = map(int, sides)
    return Rect(x, y, width, height)
