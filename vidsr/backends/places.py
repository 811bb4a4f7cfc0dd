"""Sessions of a few places, each with a thread: whoever is free takes the next frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from vidsr.backends.base import check_planes
from vidsr.errors import InferenceError

if TYPE_CHECKING:
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed

__all__ = ["FutureTicket", "Place", "PlacesSession"]


class Place(Protocol):
    """Where one frame is worked on: buffers, a request, a stream."""

    def run(self, src: Planes, dst: Planes) -> None:
        """Upscale a frame; copying and waiting release the GIL."""


class FutureTicket:
    """A ticket for what a thread does."""

    def __init__(self, future: Future[None]) -> None:
        """Take what the thread fills."""
        self._future = future

    def result(self) -> None:
        """Wait for it; see `vidsr.backends.base.Ticket`."""
        self._future.result()


class PlacesSession:
    """A `vidsr.backends.base.Session`: as many threads as places; `in_flight` frames are with them or wait.

    Attributes:
        in_flight: Frames that `submit` takes before it waits.
        notes: What was reduced for lack of memory; for a report.
    """

    def __init__(
        self,
        deployed: Deployed,
        places: Sequence[Place],
        in_flight: int,
        *,
        library: str,
        words: Callable[[BaseException], str],
        began: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
        notes: Sequence[str] = (),
    ) -> None:
        """Start the threads.

        Args:
            deployed: What a frame goes through.
            places: Where.
            in_flight: See the class.
            library: What is said to have failed.
            words: What its errors say, in one line.
            began: Called by each thread as it begins.
            ended: Called once, when the session is closed.
            notes: See the class.
        """
        self.in_flight, self.notes = in_flight, tuple(notes)
        self._deployed, self._library, self._words = deployed, library, words
        self._free: SimpleQueue[Place] = SimpleQueue()
        for place in places:
            self._free.put(place)
        self._entered = threading.Semaphore(in_flight)
        self._closing = threading.Lock()
        self._closed = False
        self._ended = ended
        self._threads = ThreadPoolExecutor(
            len(places), thread_name_prefix=f"vidsr-{library.lower()}", initializer=began
        )

    def submit(self, src: Planes, dst: Planes) -> FutureTicket:
        """Start upscaling; see `vidsr.backends.base.Session`."""
        check_planes(self._deployed, src, dst)
        self._entered.acquire()
        try:
            with self._closing:
                if self._closed:
                    raise InferenceError("this session is closed", stage="inference")
                future = self._threads.submit(self._run, src, dst)
        except BaseException:
            self._entered.release()
            raise
        future.add_done_callback(lambda _: self._entered.release())
        return FutureTicket(future)

    def _run(self, src: Planes, dst: Planes) -> None:
        place = self._free.get()
        try:
            place.run(src, dst)
        except (RuntimeError, MemoryError) as error:
            raise InferenceError(
                f"{self._library} failed ({self._words(error)})", stage="inference"
            ) from error
        finally:
            self._free.put(place)

    def close(self) -> None:
        """Wait for the work in progress and free everything."""
        with self._closing:
            before, self._closed = self._closed, True
        self._threads.shutdown(wait=True)
        while not self._free.empty():
            self._free.get()
        if not before:
            self._ended()
