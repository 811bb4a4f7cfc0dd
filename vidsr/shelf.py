"""Networks that are open: one for each format and size of frame, the last few of them kept."""

from __future__ import annotations

import threading
from collections import OrderedDict

from vidsr.errors import OptionsError
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.opening import decide, open_way
from vidsr.upscaler import Upscaler

__all__ = ["Shelf", "Slot"]

_Key = tuple[FrameFormat, tuple[int, int]]


class Slot:
    """A place on the shelf."""

    def __init__(self) -> None:
        self.users = 0
        self.opening = threading.Lock()
        self._upscaler: Upscaler | None = None

    @property
    def upscaler(self) -> Upscaler:
        """The network; there is one between `Shelf.take` and `Shelf.give`."""
        if self._upscaler is None:
            raise RuntimeError("this slot is empty")
        return self._upscaler

    @property
    def empty(self) -> bool:
        """Whether there is none (yet)."""
        return self._upscaler is None

    def fill(self, upscaler: Upscaler) -> None:
        """Put the network here."""
        self._upscaler = upscaler

    def close(self) -> None:
        """Free the network."""
        if self._upscaler is not None:
            self._upscaler.close()


class Shelf:
    """Opens networks when frames first need them. Thread-safe; what is in use is never closed."""

    def __init__(self, job: Job, kept: int, in_flight: int) -> None:
        """Open nothing yet.

        Args:
            job: What is wanted of them; see `decide`.
            kept: How many stay open.
            in_flight: Frames at once in each; 0: the backend's choice.
        """
        self._job, self._kept, self._in_flight = job, kept, in_flight
        self._slots: OrderedDict[_Key, Slot] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self.notes: dict[str, None] = {}
        """What to warn of, each once and in order."""

    def __len__(self) -> int:
        """Return how many networks are open or being opened."""
        return len(self._slots)

    def take(self, form: FrameFormat, size: tuple[int, int]) -> Slot:
        """Return the network for frames of a format and size; `give` it back.

        Raises:
            OptionsError: The shelf is closed, or the target cannot be.
            VidsrError: It cannot be opened; see `decide`, `open_way`.
        """
        key = (form, size)
        with self._changed:
            if self._closed:
                raise OptionsError("this Upscaler is closed", hint="use it before its close()")
            slot = self._slots.setdefault(key, Slot())
            self._slots.move_to_end(key)
            slot.users += 1
            spare = self._spare()
        try:
            for other in spare:
                other.close()
            with slot.opening:
                if slot.empty:
                    way = decide(self._job, form, size)
                    slot.fill(open_way(way, in_flight=self._in_flight))
                    with self._changed:
                        self.notes.update(dict.fromkeys([*way.runtime.notes, *slot.upscaler.notes]))
        except BaseException:
            self.give(slot)
            raise
        return slot

    def give(self, slot: Slot) -> None:
        """Take back what `take` has returned, once."""
        with self._changed:
            slot.users -= 1
            spare = self._spare()
            self._changed.notify_all()
        for other in spare:
            other.close()

    def close(self) -> None:
        """Wait for what is in use, and free everything; calling it again does nothing."""
        with self._changed:
            self._closed = True
            while any(slot.users for slot in self._slots.values()):
                self._changed.wait()
            slots = list(self._slots.values())
            self._slots.clear()
        for slot in slots:
            slot.close()

    def _spare(self) -> list[Slot]:
        """Take those off that could not be opened, and the oldest beyond what is kept that nobody uses."""
        spare = []
        for key, slot in list(self._slots.items()):
            if not slot.users and (slot.empty or len(self._slots) > self._kept):
                spare.append(self._slots.pop(key))
        return spare
