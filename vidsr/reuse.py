"""What was computed for the frame before is not computed again; the result's bytes are the same.

A frame whose planes equal the last one's gets a copy of its result. Where only a part differs, and tiles give
a whole frame's very samples, the tiles that read a changed sample are computed and the rest is copied.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.base import Ticket
from vidsr.changes import Comparison, TileMap
from vidsr.errors import InferenceError, VidsrError
from vidsr.frame import Plane, Planes
from vidsr.report import Reused
from vidsr.resident import DevicePlanes, Source
from vidsr.tiling import Tile
from vidsr.upscaler import Upscaler

__all__ = ["PART_TILE", "Reuse"]

PART_TILE = 128
"""Side of the tiles that changed parts are computed in."""
_WORTH = 0.6
"""Of a frame's pixels: where changed tiles have more, the whole frame is computed."""
_WINDOW = 60
"""Compared frames after which it is asked whether comparing saves time."""
_PAUSE = 600
"""Frames without comparing, where it did not."""
_GLANCE = 12
"""Frames compared then, to see whether it would now."""


class _Account:
    """Whether comparing costs more than it saves, by the clock."""

    def __init__(self, in_flight: int) -> None:
        """Begin with comparing; `in_flight` frames share the cores."""
        self._in_flight = max(1, in_flight)
        self._lock = threading.Lock()
        self._frame_seconds = float("inf")  # the least is nearest to the network's own time
        self._spent = self._saved = 0.0
        self._left, self._paused = _WINDOW, 0

    def computed(self, seconds: float) -> None:
        """Take note of how long a whole frame took, from being submitted to its result."""
        with self._lock:
            self._frame_seconds = min(self._frame_seconds, seconds / self._in_flight)

    def spent(self, seconds: float) -> None:
        """Take note of time that re-use took."""
        with self._lock:
            self._spent += seconds

    def compared(self, saved: float) -> None:
        """Take note of a comparison and the share of a frame that it saved."""
        with self._lock:
            self._saved += saved
            self._left -= 1
            if self._left == 0:
                worth = self._saved > 0 and self._saved * self._frame_seconds > self._spent
                self._left, self._paused = (_WINDOW, 0) if worth else (_GLANCE, _PAUSE)
                self._spent = self._saved = 0.0

    def pauses(self) -> bool:
        """Tell, once a frame, whether it passes without being compared."""
        with self._lock:
            self._paused -= self._paused > 0
            return self._paused > 0


class Reuse:
    """An `Upscaler` that repeats what it can; used in its place. Thread-safe; use it in a ``with``.

    Planes are kept until the next frame was submitted: nobody may change source or result as long.

    Attributes:
        size_out: See `Upscaler`, as of the others.
        output_bytes: The same.
        in_flight: The same.
        cut: The same.
        notes: The same.
        takes_from: The same.
    """

    def __init__(
        self, whole: Upscaler, parts: Callable[[], Upscaler] | None = None, *, enabled: bool = True
    ) -> None:
        """Stand before an upscaler, which is closed with it.

        Args:
            whole: For whole frames.
            parts: Opens one of the same frames that cuts them into small tiles; called when it is first
                needed, and only where tiles are exact.
            enabled: Whether anything is compared.
        """
        self.size_out, self.output_bytes = whole.size_out, whole.output_bytes
        self.in_flight, self.cut, self.notes = whole.in_flight, whole.cut, whole.notes
        self.takes_from = whole.takes_from
        self._whole, self._enabled = whole, enabled
        self._open_parts = parts if whole.exact_tiles else None
        self._comparison = Comparison(whole.layout, *whole.size)
        self._parts: Upscaler | None = None
        self._map: TileMap | None = None
        if len(whole.plan.tiles) > 1:
            # The same tile of the same session: it need not be exact to come out the same.
            self._open_parts, self._parts = None, whole
            self._map = TileMap(whole.plan.tiles, self._comparison)
        self._account = _Account(whole.in_flight)
        self._lock = threading.Lock()
        self._last: _Made | None = None
        self._later: deque[_Later] = deque()
        self._reused = Reused()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the upscalers."""
        self.close()

    def close(self) -> None:
        """Wait for the work in progress and free the models."""
        self.forget()
        if self._parts is not None:
            self._parts.close()
        self._whole.close()

    def forget(self) -> None:
        """Finish what is in work and let go of the last frame."""
        with self._lock:
            self._settle(0)
            self._last = None

    def taken(self) -> Reused:
        """Return what was re-used since this was asked for last."""
        with self._lock:
            reused, self._reused = self._reused, Reused()
        return reused

    def submit(self, src: Source, dst: Planes) -> Ticket:
        """Start upscaling; see `Upscaler.submit`. Frames on a GPU are not compared.

        Raises:
            ValueError: The planes have other shapes or types.
        """
        self._whole.check(src, dst)
        with self._lock:
            if isinstance(src, DevicePlanes) or not self._enabled or self._account.pauses():
                self._last = None
                return self._whole.submit(src, dst)
            self._reused.frames += 1
            last, self._last = self._last, None
            tiles = None if last is None or last.shares(src, dst) else self._changed(last, src)
            if last is None or tiles is None:
                began = perf_counter()
                ticket: _Whole | _Later = _Whole(self._whole.submit(src, dst), began, self._account)
            else:
                ticket = self._repeated(last, src, dst, tiles)
            self._last = _Made(src, dst, ticket)
            return ticket

    def _changed(self, last: _Made, src: Planes) -> tuple[Tile, ...] | None:
        """Return the tiles that have to be computed; None: the whole frame has."""
        began = perf_counter()
        across, down = self._comparison.cells
        in_part = self._open_parts is not None or self._map is not None
        cells = None
        # Moving pictures go on moving: then a few rows tell, and a wrong guess costs a whole frame only.
        if not (isinstance(last.ticket, _Whole) and self._comparison.mostly(last.src, src, _WORTH)):
            cells = self._comparison.changed(last.src, src, int(across * down * _WORTH) if in_part else 0)
        seconds = perf_counter() - began
        tiles: tuple[Tile, ...] | None = None
        share = 1.0
        if cells is not None:
            tiles, share = self._read_by(cells) if cells.any() else ((), 0.0)
        self._reused.comparing += seconds
        self._account.spent(seconds)
        self._account.compared(1.0 - share)
        return tiles

    def _read_by(self, cells: NDArray[np.bool_]) -> tuple[tuple[Tile, ...] | None, float]:
        """Return the tiles that read changed cells, and their share of a frame; None: too many."""
        if self._open_parts is not None:
            self._parts, self._open_parts = self._open_parts(), None
            self._map = TileMap(self._parts.plan.tiles, self._comparison)
        if self._parts is None or self._map is None:
            return None, 1.0
        tiles, plan, (width, height) = self._map.touched(cells), self._parts.plan, self._whole.size
        share = len(tiles) * plan.width * plan.height / (width * height)
        return (tiles, share) if share <= _WORTH else (None, 1.0)

    def _repeated(self, last: _Made, src: Planes, dst: Planes, tiles: tuple[Tile, ...]) -> _Later:
        if tiles and self._parts is not None:
            self._reused.in_part += 1
            self._reused.tiles += len(self._parts.plan.tiles)
            self._reused.tiles_repeated += len(self._parts.plan.tiles) - len(tiles)
        else:
            self._reused.repeated += 1
        ticket = _Later(lambda: self._make(last, src, dst, tiles))
        self._settle(max(0, self.in_flight - 1))
        self._later.append(ticket)
        return ticket

    def _make(self, last: _Made, src: Planes, dst: Planes, tiles: tuple[Tile, ...]) -> None:
        try:
            last.ticket.result()
        except InferenceError:  # whoever holds that ticket is told; this frame is another one
            self._whole.submit(src, dst).result()
            return
        began = perf_counter()
        for target, made in zip(dst, last.dst, strict=True):
            np.copyto(target, made)
        self._account.spent(perf_counter() - began)
        if tiles and self._parts is not None:
            self._parts.submit(src, dst, tiles).result()

    def _settle(self, most: int) -> None:
        """Finish the oldest frames whose work was put off, until no more than `most` are left."""
        while len(self._later) > most:
            with suppress(VidsrError):  # its ticket raises it again
                self._later.popleft().result()


class _Whole:
    """A whole frame in work."""

    def __init__(self, ticket: Ticket, began: float, account: _Account) -> None:
        self._ticket, self._began, self._account = ticket, began, account
        self._told = False

    def result(self) -> None:
        self._ticket.result()
        if not self._told:
            self._told = True
            self._account.computed(perf_counter() - self._began)


class _Later:
    """Work that is done when its result is asked for: it needs the one of the frame before."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def result(self) -> None:
        with self._lock:
            if self._work is not None:
                try:
                    self._work()
                except Exception as error:  # noqa: BLE001 - raised below, and again
                    self._error = error
                self._work = None  # with it the frame before is let go
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True)
class _Made:
    """The last frame."""

    src: Planes
    dst: Planes
    ticket: _Whole | _Later

    def shares(self, src: Planes, dst: Planes) -> bool:
        """Tell whether planes lie in its memory: what was there before cannot be known then."""
        return any(map(_overlap, (*self.src, *self.dst), (*src, *dst)))


def _overlap(one: Plane, other: Plane) -> bool:
    return np.may_share_memory(one, other)
