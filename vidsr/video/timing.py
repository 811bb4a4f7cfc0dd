"""How the times of a video's frames run, from a bounded look at its packets: nothing is decoded."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from time import perf_counter
from typing import Any, Literal

import av

from vidsr.frame import VideoInfo
from vidsr.video.opening import open_info

__all__ = ["Timing", "scan_timing", "seen_rate"]

MAX_PACKETS = 4000
"""Of the video."""
MAX_BYTES = 128 << 20
"""Of all streams."""
MAX_SECONDS = 2.0
"""On the clock."""
_REORDER = 16  # H.264 and HEVC hold back at most so many frames
_MS = Fraction(1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of a video's packets, as far as the look at them went."""

    kind: Literal["constant", "variable", "unknown"]
    """constant: every time lies on an even grid, but for the rounding of the time base or of a millisecond;
    unknown: fewer than three times."""
    packets: int
    """Of the video that were looked at."""
    whole: bool
    """Whether these were all."""
    steps: int
    """From a frame to the one shown after it: what the next figures rest on. Frames that may still be
    reordered are left out."""
    seconds: float | None
    """From the first to the last time; None: there are no times."""
    first: float | None
    """The earliest time, in seconds."""
    shortest: float | None
    """Smallest step between two frames shown one after the other, in seconds."""
    longest: float | None
    missing: int
    """Packets without a presentation time."""
    by_decoding: bool
    """Whether decoding times stand in, because there is no presentation time at all."""
    duplicated: int
    """Frames with the time of the one before."""
    backwards: int
    """Frames whose time is earlier than that of the one before, reordering set aside."""


def scan_timing(container: Any, stream: Any) -> Timing:
    """Look at the first packets of a video, at most `MAX_PACKETS`, `MAX_BYTES` and `MAX_SECONDS`.

    Errors of the file end the look; they are the reader's to report.
    """
    pts: list[int | None] = []
    dts: list[int | None] = []
    whole = False
    try:
        for packet in _bounded(container, stream):
            if packet is None:
                whole = True
            elif _shown(packet, stream):
                pts.append(packet.pts)
                dts.append(packet.dts)
    except (av.FFmpegError, OSError):
        pass
    missing = sum(p is None for p in pts)
    by_decoding = bool(pts) and missing == len(pts) and any(d is not None for d in dts)
    context = stream.codec_context
    depth = _REORDER if not by_decoding and (context.has_b_frames or pts != dts) else 0
    stamps = [s for s in (dts if by_decoding else pts) if s is not None]
    base = Fraction(stream.time_base or 1)
    return _told(list(_presented(stamps, depth, whole=whole)), base, len(pts), whole, missing, by_decoding)


def seen_rate(info: VideoInfo) -> Fraction | None:
    """Return the frames a second of a source by the times of its packets; None: there are too few.

    Raises:
        SourceError: As `probe`.
    """
    with open_info(info, timeout=MAX_SECONDS) as container:
        timing = scan_timing(container, container.streams[info.stream_index])
    pictures = 2 if info.fields else 1
    return Fraction(timing.steps / timing.seconds / pictures) if timing.steps and timing.seconds else None


def _bounded(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the video's packets, then None if these were all; all streams count against the bounds."""
    deadline, left, count = perf_counter() + MAX_SECONDS, MAX_BYTES, 0
    for packet in container.demux():
        if packet.stream.index == stream.index and packet.size:
            yield packet
            count += 1
        left -= packet.size
        if count >= MAX_PACKETS or left < 0 or perf_counter() > deadline:
            return
    yield None


def _shown(packet: Any, stream: Any) -> bool:
    """Tell whether a packet is a frame that is shown: VP8 has others (RFC 6386, 9.1)."""
    if packet.is_discard:
        return False
    return bool(stream.codec_context.codec.canonical_name != "vp8" or bytes(packet)[0] >> 4 & 1)


def _presented(stamps: Iterable[int], depth: int, *, whole: bool) -> Iterator[int]:
    """Yield times in the order of presentation, as a decoder would that holds back `depth` frames.

    What it would still hold at the end is left out where more packets follow: theirs may come between.
    """
    held: list[int] = []
    for stamp in stamps:
        heapq.heappush(held, stamp)
        if len(held) > depth:
            yield heapq.heappop(held)
    while whole and held:
        yield heapq.heappop(held)


def _told(
    times: Sequence[int], base: Fraction, packets: int, whole: bool, missing: int, by_decoding: bool
) -> Timing:
    steps = [later - sooner for sooner, later in pairwise(times)]
    forward = [step for step in steps if step > 0]
    return Timing(
        kind="unknown" if len(times) < 3 else "constant" if _even(times, steps, base) else "variable",
        packets=packets,
        whole=whole,
        steps=len(steps),
        seconds=float((max(times) - min(times)) * base) if times else None,
        first=float(min(times) * base) if times else None,
        shortest=float(min(forward) * base) if forward else None,
        longest=float(max(forward) * base) if forward else None,
        missing=missing,
        by_decoding=by_decoding,
        duplicated=sum(step == 0 for step in steps),
        backwards=sum(step < 0 for step in steps),
    )


def _even(times: Sequence[int], steps: Sequence[int], base: Fraction) -> bool:
    """Tell whether times lie on an even grid, rounded to ticks or to milliseconds.

    The grid goes from the first to the last time; both may be rounded, so that another may be a whole unit
    off. Where a step is fewer than three ticks, rounding cannot be told from frames that are missing.
    """
    if min(steps) == max(steps):
        return min(steps) > 0
    step = Fraction(times[-1] - times[0], len(steps))
    if min(steps) <= 0 or step < 3:
        return False
    most = min(max(Fraction(1), _MS / base), step * Fraction(9, 20))
    return all(abs(time - times[0] - index * step) <= most for index, time in enumerate(times))
