"""Where a source is cut into segments: at its key frames, so that reading can begin there at once.

A segment ends before the first key frame after it has the wanted length, and at twice that length wherever
it is. The rule needs no look ahead, so a job that reads its source in order cuts it on the way; `find_cuts`
comes to the same places from the packets alone, so that several workers can begin at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import av

from vidsr.errors import ProbeError
from vidsr.frame import VideoInfo
from vidsr.video.clock import RAGGED, UNORDERED, Clock
from vidsr.video.opening import open_info, translate
from vidsr.video.probe import READ_TIMEOUT, video_stream

__all__ = ["cut_before", "cuts_among", "find_cuts"]


def cut_before(frames: int, wanted: int, *, key: bool) -> bool:
    """Tell whether a segment ends before the next frame.

    Args:
        frames: In it so far.
        wanted: The least that it should have.
        key: Whether the next frame is a key frame of the source.
    """
    return frames >= wanted and (key or frames >= 2 * wanted)


def cuts_among(frames: Iterable[tuple[int, bool]], wanted: int, *, each: int = 1) -> tuple[int, ...]:
    """Return the times at which segments begin.

    Args:
        frames: Time, and whether it is a key frame, of each frame of the source in the order of presentation.
        wanted: As for `cut_before`.
        each: Frames of the result that are made of one of the source; none is cut off from the other.
    """
    cuts: list[int] = []
    count = 0
    for pts, key in frames:
        if not cuts or cut_before(count, wanted, key=key):
            cuts.append(pts)
            count = 0
        count += each
    return tuple(cuts)


def find_cuts(
    info: VideoInfo, wanted: int, *, each: int = 1, begin: int | None = None, end: int | None = None
) -> tuple[tuple[int, ...], str]:
    """Read a source's packets and return where its segments begin, in ticks of `info.time_base`.

    Args:
        info: The source.
        wanted: The least number of frames in a segment.
        each: Frames that are made of one of the source, as many ticks of `info` as one of the file has.
        begin: The first frame's time is at least this.
        end: Of frames from here on nothing is wanted.

    Returns:
        The times, and "". No times, and why, where packets do not tell the frames' times: then the source
        can only be cut while it is decoded, in order.

    Raises:
        ProbeError: It cannot be read.
    """
    if info.still:
        return (), "pictures have no key frames"
    if info.container in UNORDERED:
        return (), f"{info.container.upper()} has no presentation times"
    if info.fields:
        return (), "each of its pictures is one field"
    stamps: list[tuple[int, bool]] = []
    try:
        with open_info(info, timeout=READ_TIMEOUT) as container:
            stream = video_stream(container, info.path, info.stream_index)
            rate = None if info.frame_rate is None else info.frame_rate / each
            clock = Clock(info.container, stream.time_base or Fraction(1, 90000), rate)
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                if packet.is_corrupt:
                    return (), "the source is damaged"
                pts = clock.sent(packet)
                if pts is None and not packet.is_discard:
                    return (), "frames have no times"
                if clock.jumps or clock.impossible:
                    return (), "the source's clock jumps"
                if pts is not None:
                    stamps.append((pts * each, bool(packet.is_keyframe)))
    except (av.FFmpegError, OSError) as error:
        raise translate(error, info.path, ProbeError, "it cannot be read to its end") from error
    least = info.start_pts if begin is None else max(begin, info.start_pts)
    stamps = sorted(s for s in stamps if s[0] >= least and (end is None or s[0] < end))
    if len({pts for pts, _ in stamps}) < len(stamps):
        return (), "several frames have the same time"
    if not any(key for _, key in stamps) and info.container in RAGGED:
        return (), "the source has no key frames"
    return cuts_among(stamps, wanted, each=each), ""
