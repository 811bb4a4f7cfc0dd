"""One play: from one position on, with one model to begin with, at the clock's speed, until it is closed.

Frames are decoded in one thread, begun in a second and encoded in a third. The second decides: what cannot be
ready in time is not begun. The third hands out a picture for every moment: a new one, or the last one again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from time import perf_counter, time
from typing import Literal

from vidsr.errors import VidsrError
from vidsr.frame import Frame
from vidsr.prefetch import Prefetch
from vidsr.preview.clip import Clip
from vidsr.preview.networks import Networks, Open
from vidsr.preview.outlets import Jpegs, Mp4, Outlet, Words
from vidsr.preview.pace import Pace, StepDown
from vidsr.preview.stack import Picture
from vidsr.video.live import PRESET

__all__ = ["Play", "Wish"]

_DECODED_BYTES = 48 << 20
_AHEAD = 90  # slots between deciding and encoding; most of them are of frames that are not made
_GAP_S = 0.25  # behind by more, dropped frames become one
_LEAST_S = 1.0  # as often a frame is made even if it is late: a picture that never changes tells nothing
_WAIT_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a page asks for."""

    at: float = 0.0
    """Second of the clip, from the first frame on."""
    model: str
    scale: Fraction
    count: int | None = None
    """At most so many frames; one is a still: no sound, and better coded."""
    back: bool = False
    """Begin with the frame before."""
    form: Literal["mp4", "mjpeg"] = "mp4"


@dataclass(slots=True, eq=False)
class _Slot:
    """A frame's turn."""

    time: Fraction
    shown: Fraction
    work: _Work | None = None
    """None: it is dropped."""
    words: list[Words] = field(default_factory=list)
    """Said before it."""


class _Work:
    """A frame in the network."""

    def __init__(self, picture: Picture, frame: Frame, opened: Open, pace: Pace) -> None:
        self.picture, self.name = picture, opened.name
        self.began = time()
        self._pace, self._lock, self._done = pace, threading.Lock(), False
        self._start = perf_counter()
        self._ticket = opened.upscaler.submit(frame.planes, picture.planes)

    def finish(self) -> None:
        """Wait until the picture is whole."""
        with self._lock:
            self._ticket.result()
            if not self._done:
                self._done = True
                self._pace.took(perf_counter() - self._start)


class Play:
    """One play. Iterate over `chunks` once; `close` it from any thread.

    Attributes:
        pace: Its clock and counts.
    """

    def __init__(self, clip: Clip, networks: Networks, wish: Wish, *, pace: Pace | None = None) -> None:
        """Begin in threads of its own.

        Args:
            clip: What is played.
            networks: Where models are lent.
            wish: How.
            pace: Its clock; None: a new one.
        """
        self._clip, self._networks, self._wish = clip, networks, wish
        self.pace = pace or Pace()
        self._stop = threading.Event()
        self._step = StepDown()
        self._last = Fraction(0)
        self._lent = ExitStack()
        self._opening: threading.Thread | None = None
        self._next: list[Open | VidsrError] = []
        self._warned = False
        # Two wait, so that sending never holds encoding up.
        self.chunks: Prefetch[bytes] = Prefetch(self._made(), 2, name="preview")

    def close(self) -> None:
        """Stop, and free everything; returns when the threads have ended."""
        self._stop.set()
        self.chunks.close()

    def _made(self) -> Iterator[bytes]:
        clip, wish = self._clip, self._wish
        tell = Jpegs.tell if wish.form == "mjpeg" else Mp4.tell
        depth = max(2, min(16, _DECODED_BYTES // clip.form.pixel_format.frame_bytes(*clip.size)))
        with ExitStack() as stack:
            stack.callback(self._give_back)
            try:
                opened = self._lent.enter_context(self._networks.borrowed(wish.model, wish.scale))
                source = clip.frames(wish.at, count=wish.count, back=wish.back)
                frames = stack.enter_context(Prefetch(source, depth, name="preview-decode"))
                first = next(frames, None)
                if first is None:
                    yield tell({"k": "end"})
                    return
                outlet = stack.enter_context(self._outlet(opened, first, stack))
                yield outlet.begin(self._about(opened, first))
                ready = self._slots(opened, first, frames)
                slots = stack.enter_context(Prefetch(ready, _AHEAD, name="preview-network"))
                yield from self._paced(slots, outlet)
                yield tell({"k": "end"})
            except VidsrError as error:
                yield tell({"k": "error", "text": str(error)})

    def _outlet(self, opened: Open, first: Frame, stack: ExitStack) -> Outlet:
        clip, color = self._clip, self._clip.info.color
        if self._wish.form == "mjpeg":
            return Jpegs(color)
        read = None
        still = self._wish.count == 1
        if clip.sound and not still:
            read = stack.enter_context(clip.sound_from(first)).read
        size = clip.stack(opened.upscaler.size_out).size
        return Mp4(size, color, 1 / clip.frame_seconds, read, still=still)

    def _about(self, opened: Open, first: Frame) -> Words:
        clip, upscaler = self._clip, opened.upscaler
        stack = clip.stack(upscaler.size_out)
        return {
            "k": "begin",
            "at": float(clip.seconds(first)),
            "stack": list(stack.size),
            "below": stack.below,
            "target": list(upscaler.size_out),
            "encoder": f"x264 {PRESET}" if self._wish.form == "mp4" else "MJPEG",
            **_named(opened),
        }

    def _slots(self, opened: Open, first: Frame, frames: Prefetch[Frame]) -> Iterator[_Slot]:
        """Yield frames in order, in work or dropped, each as late as its time allows."""
        clip, pace = self._clip, self.pace
        stack = clip.stack(opened.upscaler.size_out)
        zero = clip.seconds(first)
        pending: deque[_Work] = deque()
        frame: Frame | None = first
        try:
            while frame is not None and not self._stop.is_set():
                following = next(frames, None)
                slot = _Slot(clip.seconds(frame) - zero, clip.shown_for(frame, following))
                while (left := pace.early(slot.time)) > 0:
                    if self._stop.wait(min(left, _WAIT_S)):
                        return
                while len(pending) >= opened.upscaler.in_flight:
                    pending.popleft().finish()
                opened, told = self._stepped(opened)
                slot.words += told
                rare = slot.time - self._last < _LEAST_S
                if not (frame is not first and rare and pace.late(slot.time)):
                    slot.work = _Work(stack.picture(frame), frame, opened, pace)
                    pending.append(slot.work)
                    self._last = slot.time
                if self._step.saw(slot.time, dropped=slot.work is None):
                    slot.words += self._begin_step(opened)
                yield slot
                frame = following
        finally:
            for work in pending:  # the network writes into these pictures until then
                with suppress(VidsrError):
                    work.finish()

    def _paced(self, slots: Prefetch[_Slot], outlet: Outlet) -> Iterator[bytes]:
        """Yield each moment's bytes when it is due."""
        pace = self.pace
        hole: Fraction | None = None
        for slot in slots:
            if self._stop.is_set():
                return
            for words in slot.words:
                yield outlet.tell(words)
            if slot.work is None:
                pace.dropped += 1
                hole = slot.time if hole is None else hole
                left = pace.due(slot.time)
                if left > -_GAP_S:
                    self._stop.wait(max(0.0, left))
                    yield outlet.repeat(hole, slot.time + slot.shown - hole, self._counts("drop", slot))
                    hole = None
                continue
            slot.work.finish()
            pace.begin()
            if hole is not None:
                yield outlet.repeat(hole, slot.time - hole, self._counts("drop", slot))
                hole = None
            pace.made += 1
            frame = slot.work.picture.viewable()
            made = outlet.picture(frame, slot.time, slot.shown, self._counts("frame", slot))
            self._stop.wait(max(0.0, pace.due(slot.time)))
            yield made

    def _counts(self, kind: str, slot: _Slot) -> Words:
        pace = self.pace
        words: Words = {
            "k": kind,
            "t": round(float(slot.time), 6),
            "made": pace.made,
            "dropped": pace.dropped,
            "cost": round(pace.cost, 4),
        }
        if slot.work is not None:
            words["began"] = round(slot.work.began * 1000, 1)
            words["model"] = slot.work.name
        return words

    def _begin_step(self, opened: Open) -> list[Words]:
        """Look for a smaller model, and open it beside the work; words where there is none."""
        self._step.forget()
        if self._opening is not None:
            return []
        share = 0.8 * float(self._clip.frame_seconds) / max(self.pace.cost, 1e-6)
        name = self._networks.smaller(opened, share)
        if name is None:
            told: list[Words] = [] if self._warned else [{"k": "slow", **_named(opened)}]
            self._warned = True
            return told

        def opens() -> None:
            try:
                self._next.append(self._lent.enter_context(self._networks.borrowed(name, self._wish.scale)))
            except VidsrError as error:
                self._next.append(error)

        self._opening = threading.Thread(target=opens, name="vidsr-preview-open", daemon=True)
        self._opening.start()
        return []

    def _stepped(self, opened: Open) -> tuple[Open, list[Words]]:
        """Return the network to go on with, and what there is to say of it."""
        if not self._next:
            return opened, []
        found = self._next.pop()
        self._opening = None
        if isinstance(found, VidsrError):
            return opened, [{"k": "slow", "text": str(found), **_named(opened)}]
        cost, self.pace.cost = self.pace.cost, 0.0
        self._step.forget()
        why = f"{opened.name} took {cost * 1000:.0f} ms a frame, and there are {self._frame_ms:.0f}"
        return found, [{"k": "step", "from": opened.name, "why": why, **_named(found)}]

    @property
    def _frame_ms(self) -> float:
        return float(self._clip.frame_seconds) * 1000

    def _give_back(self) -> None:
        if self._opening is not None:
            self._opening.join()
        self._lent.close()


def _named(opened: Open) -> Words:
    return {"model": opened.name, "backend": opened.backend, "way": opened.way.choice.way}
