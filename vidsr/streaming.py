"""Frames in, larger frames out, in order: read ahead, several at once, ready before they are asked for."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from vidsr.errors import VidsrError
from vidsr.prefetch import Prefetch

__all__ = ["Flight", "Stream"]

F = TypeVar("F")
R = TypeVar("R", covariant=True)


class Flight(Protocol[R]):
    """A frame on its way."""

    in_flight: int
    """How many like it there should be at once."""

    def land(self) -> R:
        """Wait for the result and return it. Called once, unless `drop` is."""

    def drop(self) -> None:
        """Wait for the result and forget it."""


class Stream(Generic[F]):
    """An iterator over results, in the order of the frames, made in threads of its own.

    An error, of the frames' iterable or of a frame, is raised once, after the results before it; then the
    stream is at its end. A stream that is left early ends by `close`, by leaving its ``with``, or when
    nobody holds it any more: then its threads end after the frame that they are at.
    """

    def __init__(self, frames: Iterable[F], begin: Callable[[F], Flight[F]], ahead: int) -> None:
        """Start reading at once.

        Args:
            frames: Iterated in a thread.
            begin: Starts a frame.
            ahead: Frames that are read ahead, and results that are held ready, at most.
        """
        self._results = Prefetch(_flow(frames, begin, ahead), ahead, name="upscale")
        self._finalizer = weakref.finalize(self, self._results.close)

    def __iter__(self) -> Iterator[F]:
        """Return self: results are handed out once."""
        return self

    def __next__(self) -> F:
        """Return the next result.

        Raises:
            StopIteration: There are no more, or the stream is closed.
        """
        return next(self._results)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give up what is on its way and end the threads; calling it again does nothing."""
        self._finalizer()


def _flow(frames: Iterable[F], begin: Callable[[F], Flight[F]], ahead: int) -> Generator[F]:
    pending: deque[Flight[F]] = deque()
    broken: Exception | None = None
    with Prefetch(frames, ahead, name="source") as source:
        try:
            while True:
                try:
                    flight = begin(next(source))
                except StopIteration:
                    break
                except Exception as error:  # noqa: BLE001 - raised again behind what came before it
                    broken = error
                    break
                pending.append(flight)
                while len(pending) >= max(1, flight.in_flight):
                    yield pending.popleft().land()
                del flight
            while pending:
                yield pending.popleft().land()
            if broken is not None:
                raise broken
        finally:
            for left in pending:
                with suppress(VidsrError):
                    left.drop()
