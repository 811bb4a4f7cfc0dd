"""The times of frames, where packets' times are out of order, doubtful, or jump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av

__all__ = ["JUMPING", "RAGGED", "UNORDERED", "Clock", "Jump", "SharedClock"]

UNORDERED = frozenset({"avi"})
"""Containers that know no presentation times: FFmpeg makes them up, and gives some to the wrong frames."""
RAGGED = frozenset({"mpegts", "mpeg", "mpegvideo", "h264", "hevc"})
"""Containers, and streams without one, that begin and end anywhere: what was broadcast went on."""
JUMPING = frozenset({"mpegts", "mpeg", "flv"})
"""Containers of recordings and broadcasts, where a leap ahead means another clock and no pause."""
_BACK_S = 1  # farther back than reordering explains
_BACK_FRAMES = 20
_AHEAD_S = 10  # as FFmpeg's own programs (dts_delta_threshold)
_HELD = 64  # packets a decoder may hold: 16 of reordering, and one for each of its threads
_STALE = 32


@dataclass(frozen=True, slots=True)
class Jump:
    """A place where a file's clock jumps."""

    pts: int
    """Where, on the clock that goes on: ticks of the stream."""
    by: int
    """How far the file's clock leaps, in ticks."""


@dataclass(slots=True)
class _Sent:
    raw: int
    """Presentation time in the file."""
    pts: int
    """On a clock that does not jump."""
    shift: int


class Clock:
    """Follows the packets of one video and gives each frame that comes out of its decoder a time.

    A leap of the decoding times becomes one step of the usual length. In containers without presentation
    times, what the demuxer guessed is only believed as a set: the decoder gives frames in the order in which
    they are shown, so each gets the earliest time that no other has.

    Attributes:
        jumps: Where the clock of the file jumped so far.
        impossible: Packets so far whose presentation time is nowhere near their decoding time.
    """

    def __init__(self, container: str, time_base: Fraction, frame_rate: Fraction | None) -> None:
        """Begin where reading begins.

        Args:
            container: FFmpeg's name of the file's format.
            time_base: Seconds a tick.
            frame_rate: Frames a second; None: not known.
        """
        self.jumps: list[Jump] = []
        self.impossible = 0
        self._by_rank = container in UNORDERED
        self._step = max(1, round(1 / ((frame_rate or 25) * time_base)))
        self._back = max(round(_BACK_S / time_base), _BACK_FRAMES * self._step)
        self._ahead = round(_AHEAD_S / time_base) if container in JUMPING else None
        self._far = max(round(_AHEAD_S / time_base), _HELD * self._step)
        self._delay = 0
        self._shift = 0
        self._next: int | None = None
        self._sent: list[_Sent] = []
        self._stale = 0

    def sent(self, packet: av.Packet[Any]) -> int | None:
        """Note a packet that goes into the decoder; return the time that its frame will have."""
        if packet.dts is not None:
            # Presentation times alone go back and forth.
            self._follow(packet.dts, packet.duration or self._step)
        # A packet that an edit list hides gives no frame.
        if packet.pts is None or packet.is_discard:
            return None
        pts = self._possible(packet.pts, packet.dts) + self._shift
        self._sent.append(_Sent(packet.pts, pts, self._shift))
        del self._sent[:-_HELD]
        return pts

    def _possible(self, pts: int, dts: int | None) -> int:
        """Return a presentation time; one that damage has moved becomes as late as the last good one was."""
        # Other containers may show a frame for minutes; these have one within a second.
        if dts is None or self._ahead is None:
            return pts
        if abs(pts - dts) <= self._far:
            self._delay = pts - dts
            return pts
        self.impossible += 1
        return dts + self._delay

    def _near(self, pts: int) -> bool:
        """Tell whether a time that no packet had can be: of broadcasts one that is nowhere near cannot."""
        return self._ahead is None or self._next is None or abs(pts - self._next) <= self._far

    def lost(self, packet: av.Packet[Any]) -> int | None:
        """Note that a packet gives no frame; return the time it would have had."""
        entry = next((e for e in reversed(self._sent) if e.raw == packet.pts), None)
        if entry is None:
            return None
        self._sent.remove(entry)
        return entry.pts

    def passed(self, pts: int | None) -> list[int]:
        """Return the times before `pts` (None: all) that no frame had, ascending: none will come any more."""
        gone = sorted(e.pts for e in self._sent if pts is None or e.pts < pts)
        self._sent = [] if pts is None else [e for e in self._sent if e.pts >= pts]
        return gone

    def of(self, frame: av.VideoFrame) -> tuple[int | None, int]:
        """Return a frame's time (None: it has none) and by how much that differs from the file's own."""
        raw = frame.pts
        if raw is None:
            return None, self._shift
        own = next((e for e in self._sent if e.raw == raw), None)
        entry = self._earliest(raw) if self._by_rank else own
        if entry is None:
            known = self._near(raw + self._shift)
            return (raw + self._shift if known else None), self._shift
        self._sent.remove(entry)
        return entry.pts, entry.shift

    def _follow(self, stamp: int, length: int) -> None:
        """Compare a decoding time with the one expected, and move the clock where it leaps."""
        if self._next is not None:
            leap = stamp + self._shift - self._next
            if leap < -self._back or (self._ahead is not None and leap > self._ahead):
                self._shift -= leap
                self.jumps.append(Jump(self._next, leap))
        self._next = stamp + self._shift + length

    def _earliest(self, raw: int) -> _Sent | None:
        if not self._sent:
            return None
        entry = min(self._sent, key=lambda e: e.pts)
        # Frames that always claim a later time mean that one packet gave none.
        self._stale = self._stale + 1 if entry.raw < raw else 0
        if self._stale >= _STALE and len(self._sent) > 1:
            self._sent.remove(entry)
            self._stale = 0
            return min(self._sent, key=lambda e: e.pts)
        return entry


class SharedClock:
    """Moves the packets of other streams as the video was moved where the file's clock jumps."""

    def __init__(self, shifts: Sequence[Fraction]) -> None:
        """Take the seconds by which the video was moved, in order of its jumps; (0,) without one."""
        self._shifts = shifts
        self._next: dict[int, Fraction] = {}

    def shift(self, packet: Any) -> Fraction:
        """Return the seconds by which a packet is moved; packets come in the order of the file.

        Near a jump streams change clocks at different places. Of the moves that do not bring a packet before
        its forerunner, the one that leaves the smallest gap is the right one.
        """
        if len(self._shifts) == 1:
            return self._shifts[0]
        index = packet.stream.index
        stamp = (packet.pts if packet.dts is None else packet.dts) * packet.time_base
        expected = self._next.get(index)
        best = self._shifts[0]
        if expected is not None:
            gaps = {shift: stamp + shift - expected for shift in self._shifts}
            best = min(gaps, key=lambda shift: (gaps[shift] < -_BACK_S, abs(gaps[shift])))
        self._next[index] = stamp + best + (packet.duration or 0) * packet.time_base
        return best
