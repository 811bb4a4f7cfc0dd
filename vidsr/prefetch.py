"""The one threading primitive: a bounded, order-keeping, error-carrying background iterator.

A `Prefetch` pulls items from an iterable in a thread of its own and hands them out in order. Stages
are chained by giving one `Prefetch` (or a generator that reads it) to the next:

    with Prefetch(reader, depth=4, name="decode") as frames, \
         Prefetch(map(upscale, frames), depth=4, name="inference") as results:
        for result in results: ...

Decoding, inference and encoding release the GIL while they work, so threads overlap them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter, sleep
from types import TracebackType
from typing import Generic, Self, TypeVar

from vidsr.errors import OptionsError, VidsrError

__all__ = ["OnDemand", "Prefetch"]

T = TypeVar("T")

_START_SECONDS = 1.0  # in which a thread whose start was interrupted shows whether it runs


class Prefetch(Generic[T]):
    """Iterate over `source` in a background thread, at most `depth` items ahead.

    * Order is kept, and nothing is lost: the end of `source` is passed on after its last item.
    * An exception in `source` is raised by the consumer's ``next`` once, after the items that came
      before it; a `VidsrError` without a stage gets this stage's name, any other error a note.
    * `close` (or leaving the ``with``) cancels: it returns when the thread has ended, which takes
      at most the time of the one item that `source` is making. A generator given as `source` is
      closed in the thread that ran it.

    Attributes:
        name: The stage's name, for errors and reports.
        worked_s: Seconds spent inside `source`, waiting for *its* inputs included.
        blocked_s: Seconds that the thread waited because `depth` items were queued.
        starved_s: Seconds that the consumer waited for an item.
        items: Items handed out so far.
        peak_bytes: Largest sum of `size(item)` over the queue, 0 without `size`.
    """

    def __init__(
        self,
        source: Iterable[T],
        depth: int,
        *,
        name: str,
        size: Callable[[T], int] | None = None,
    ) -> None:
        """Start the thread at once.

        Args:
            source: Any iterable; it is iterated in the background thread only.
            depth: Most items held ready, at least 1.
            name: The stage's name.
            size: Bytes of an item, for `queued_bytes` and `peak_bytes`.

        Raises:
            OptionsError: `depth` is less than 1.
        """
        if depth < 1:
            raise OptionsError(f"a queue needs room for at least one item, not {depth}")
        self.name = name
        self.worked_s = 0.0
        self.blocked_s = 0.0
        self.starved_s = 0.0
        self.items = 0
        self.peak_bytes = 0
        self._depth = depth
        self._size = size
        self._bytes = 0
        self._queue: deque[T] = deque()
        self._changed = threading.Condition()
        self._cancelled = False
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(source,), name=f"vidsr-{name}", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C: nobody else can end the thread, which may run or be about to
            until = perf_counter() + _START_SECONDS
            while not (self._thread.is_alive() or self._ended) and perf_counter() < until:
                sleep(0.001)
            self.close()
            raise

    @property
    def queued_bytes(self) -> int:
        """Bytes held ready now, as told by `size`."""
        return self._bytes

    def __iter__(self) -> Iterator[T]:
        """Return self: items are handed out once."""
        return self

    def __next__(self) -> T:
        """Return the next item, waiting for it if need be.

        Raises:
            StopIteration: `source` has ended, or `close` was called.
        """
        started = perf_counter()
        with self._changed:
            while not self._queue and not self._ended and not self._cancelled:
                self._changed.wait()
            self.starved_s += perf_counter() - started
            if self._queue and not self._cancelled:
                item = self._queue.popleft()
                self._bytes -= self._size(item) if self._size else 0
                self.items += 1
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None and not self._cancelled:
            raise error
        raise StopIteration

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel and join."""
        self.close()

    def close(self) -> None:
        """Cancel the work and wait for the thread to end; calling it again does nothing."""
        with self._changed:
            self._cancelled = True
            self._queue.clear()
            self._bytes = 0
            self._changed.notify_all()
        if self._thread is threading.current_thread() or self._thread.ident is None:
            return
        try:
            self._thread.join()
        except BaseException:  # Ctrl-C: whoever closes what the thread uses must still find it ended
            self._thread.join()
            raise

    def _run(self, source: Iterable[T]) -> None:
        iterator: Iterator[T] | None = None
        error: BaseException | None = None
        try:
            iterator = iter(source)
            while self._offer(iterator):
                pass
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer, whatever it is
            error = caught
        finally:
            try:
                close = getattr(iterator, "close", None)
                if close is not None and not isinstance(iterator, Prefetch):
                    close()
            except BaseException as caught:  # noqa: BLE001 - as above
                error = error or caught
            with self._changed:
                self._error = None if error is None else _named(error, self.name)
                self._ended = True
                self._changed.notify_all()

    def _offer(self, iterator: Iterator[T]) -> bool:
        """Make one item and queue it; return whether to go on."""
        started = perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return False
        finally:
            self.worked_s += perf_counter() - started
        size = self._size(item) if self._size else 0
        started = perf_counter()
        with self._changed:
            while len(self._queue) >= self._depth and not self._cancelled:
                self._changed.wait()
            self.blocked_s += perf_counter() - started
            if self._cancelled:
                return False
            self._queue.append(item)
            self._bytes += size
            self.peak_bytes = max(self.peak_bytes, self._bytes)
            self._changed.notify_all()
        return True


class OnDemand(Generic[T]):
    """A stage without a thread: each item is made when it is asked for, and none is held.

    For items so large that one held ready costs more than the overlap gains. It is used, and tells of
    itself, as `Prefetch` does: the consumer is starved for as long as `source` works.
    """

    def __init__(self, source: Iterable[T], *, name: str) -> None:
        """Take any iterable; `name` is the stage's."""
        self.name = name
        self.worked_s = self.blocked_s = 0.0
        self._iterator = iter(source)

    @property
    def starved_s(self) -> float:
        """Seconds that the consumer waited for an item."""
        return self.worked_s

    def __iter__(self) -> Iterator[T]:
        """Return self: items are handed out once."""
        return self

    def __next__(self) -> T:
        """Make the next item; an error is raised with the stage's name, as by `Prefetch`."""
        started = perf_counter()
        try:
            return next(self._iterator)
        except StopIteration:
            raise
        except BaseException as error:
            raise _named(error, self.name) from None
        finally:
            self.worked_s += perf_counter() - started

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the source."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def _named(error: BaseException, stage: str) -> BaseException:
    if isinstance(error, VidsrError):
        error.stage = error.stage or stage
    elif not getattr(error, "__notes__", None):
        error.add_note(f"in vidsr's stage '{stage}'")
    return error
