"""Joining encoded segments with the source's other streams, by copying packets."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import av
import av.container

from vidsr.errors import EncodeError, OutputError
from vidsr.frame import VideoInfo
from vidsr.sources import ffmpeg_name
from vidsr.video.carrying import CarryPlan
from vidsr.video.hdr import template_of
from vidsr.video.opening import open_info
from vidsr.video.parts import Part
from vidsr.video.tags import container_tags, shifted_chapters
from vidsr.video.timecode import Timecode
from vidsr.video.tracks import Timed, Tracks, copy_stream_tags

__all__ = ["Timeline", "join"]

_MAX_TIMESCALE = 1 << 24  # ticks a second; a single frame may last 2^32 of them, which is 256 s


@dataclass(frozen=True, slots=True)
class Timeline:
    """Which stretch of the source the result shows."""

    origin: Fraction
    """Second of the source that is second zero of the result."""
    begin: Fraction | None = None
    """Other streams before this second of the source are left out; None: all are kept."""
    end: Fraction | None = None
    shifts: tuple[Fraction, ...] = (Fraction(0),)
    """Seconds by which the video was moved where the source's clock jumps, in order."""


def join(
    info: VideoInfo,
    parts: Sequence[Part],
    target: Path,
    *,
    plan: CarryPlan,
    time_base: Fraction,
    timeline: Timeline,
) -> None:
    """Write `target`, a temporary name, from the parts and the source's other streams.

    Args:
        info: The source.
        parts: The segments in order.
        target: The file to write; it is removed again if anything fails.
        plan: Which other streams to take along.
        time_base: The writer's: seconds a tick of the parts' times; its numerator is 1.
        timeline: What the result's times count from, and which stretch is shown.

    Raises:
        EncodeError: The parts do not fit together.
        OutputError: The container or the disk refused.
    """
    try:
        with ExitStack() as stack:
            source = None if info.still else stack.enter_context(open_info(info))
            options = _muxer_options(plan, _timescale(info, source, plan, time_base))
            out = av.open(ffmpeg_name(target), "w", format=plan.container.form, container_options=options)
            try:
                _mux(out, source, info, parts, plan, time_base, timeline)
            except BaseException:
                # Closing writes a trailer, which would make half a file look whole: it is removed.
                with suppress(av.FFmpegError, OSError, ValueError):
                    out.close()
                raise
            out.close()
    except (av.FFmpegError, OSError) as error:
        target.unlink(missing_ok=True)
        detail = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"joining the segments failed ({detail})",
            path=target,
            stage="mux",
            hint="free some space if the disk is full, and run the same command: it continues",
        ) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _timescale(info: VideoInfo, source: Any, plan: CarryPlan, time_base: Fraction) -> int:
    """Return ticks a second that are exact for all moving video of an MP4 file, and for its timecode.

    They share one option of the muxer.
    """
    ticks = time_base.denominator
    wanted = [
        Fraction(source.streams[other.index].time_base).denominator
        for other in info.others
        if other.kind == "video" and not other.cover and other.index in plan.copied
    ]
    if plan.timecode is not None and plan.timecode.rate is not None:
        wanted.append(plan.timecode.rate.numerator)
    for unit in wanted:
        ticks = lcm(ticks, unit) if lcm(ticks, unit) <= _MAX_TIMESCALE else ticks
    return ticks


def _muxer_options(plan: CarryPlan, timescale: int) -> dict[str, str]:
    # bitexact: no random identifiers and no dates, so that the same job gives the same bytes.
    options = {"fflags": "+bitexact"}
    if plan.container.form in ("mp4", "mov"):
        options |= {
            "movie_timescale": "90000",
            "video_track_timescale": str(timescale),
            "movflags": "+faststart",
        }
    elif plan.container.form in ("matroska", "webm"):
        # Otherwise sound that begins before zero (AAC's priming) would shift everything.
        options["avoid_negative_ts"] = "disabled"
    return options


def _mux(
    out: av.container.OutputContainer,
    source: Any,
    info: VideoInfo,
    parts: Sequence[Part],
    plan: CarryPlan,
    time_base: Fraction,
    timeline: Timeline,
) -> None:
    tracks = None if source is None else Tracks(out, source, info, plan)
    # The order of the source; only the picture comes before other video, for whoever shows the first one.
    first = min([info.stream_index, *(o.index for o in info.others if o.kind == "video" and not o.cover)])
    if tracks is not None:
        for other in info.others:
            if other.index < first:
                tracks.add(other)
    video, header = _add_video(out, info, parts[0], plan.container.form)
    video.time_base = time_base
    if source is not None and tracks is not None:
        out.metadata.update(container_tags(source.metadata, plan.container.form))
        copy_stream_tags(source.streams[info.stream_index], video)
        for key in [key for key in video.metadata if key.lower() == "alpha_mode"]:
            del video.metadata[key]  # true of the source; of the result it is said below
        for other in info.others:
            if other.index >= first:
                tracks.add(other)
        chapters = shifted_chapters(source.chapters(), timeline)
        if chapters:
            out.set_chapters(chapters)
        if plan.timecode is not None:
            _set_timecode(video, plan, plan.timecode, info, timeline)
    if parts[0].path.suffix == ".mkv":
        video.metadata["alpha_mode"] = "1"  # see `segment_suffix`
    out.start_encoding()
    streams = [_video_packets(parts, video, time_base, timeline.origin, header)]
    if tracks is not None:
        streams.append(tracks.packets(timeline))
    for _, _, packet in heapq.merge(*streams, key=lambda item: item[:2]):
        out.mux(packet)


def _add_video(out: Any, info: VideoInfo, part: Part, form: str) -> tuple[Any, bytes]:
    """Add the picture's stream as its first segment describes it; return it and the segment's header."""
    with template_of(part.path, info.hdr) as first:
        template = first.streams.video[0]
        video = out.add_stream_from_template(template, opaque=True)
        if info.display_matrix is not None:
            video.set_display_matrix(_matrix_for(form, info.display_matrix))
        elif info.rotation:
            video.set_display_rotation(info.rotation)
        header = bytes(template.codec_context.extradata or b"")
        # VP9 and FFV1 have no place for it in their stream, and SVT-AV1 writes square pixels: the segment's
        # container knows.
        aspect = template.sample_aspect_ratio or template.codec_context.sample_aspect_ratio
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
    return video, header


def _set_timecode(
    video: Any, plan: CarryPlan, timecode: Timecode, info: VideoInfo, timeline: Timeline
) -> None:
    """Give the picture the timecode of its first frame; MP4 and MOV make a track of it."""
    if timeline.begin is not None:
        timecode = timecode.later(timeline.begin - info.start_pts * info.time_base)
    video.metadata["timecode"] = timecode.text
    if plan.container.form in ("mp4", "mov") and timecode.rate is not None:
        # Their muxer takes the timecode's rate from here.
        video.codec_context.framerate = timecode.rate


def _matrix_for(form: str, matrix: tuple[int, ...]) -> tuple[int, ...]:
    """Return the display matrix as the container can hold it: Matroska turns, but does not stretch."""
    turn = (matrix[0], matrix[1], matrix[3], matrix[4])
    right_angle = sorted(map(bool, turn[:2])) == sorted(map(bool, turn[2:])) == [False, True]
    if form not in ("matroska", "webm") or not right_angle:
        return matrix
    a, b, c, d = ((value > 0) - (value < 0) for value in turn)
    one = 1 << 16
    return (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)


def _video_packets(
    parts: Sequence[Part], stream: Any, time_base: Fraction, origin: Fraction, header: bytes
) -> Iterator[Timed]:
    """Yield the parts' packets with their times in the result.

    Each packet's decoding time is the presentation time `delay` places earlier, with one delay for
    the whole result: strictly increasing over the joints and never after the packet's own pts.
    """
    shift = round(origin / time_base)
    delay = max(part.reorder for part in parts)
    shown = [part.start + pts - shift for part in parts for pts in part.pts]
    step = max(1, shown[-1] - shown[-2]) if len(shown) > 1 else 1
    lead = [shown[0] - step * (delay - i) for i in range(delay)]
    place = 0
    for part in parts:
        with av.open(ffmpeg_name(part.path)) as container:
            segment = container.streams.video[0]
            if bytes(segment.codec_context.extradata or b"") != header:
                raise EncodeError("this segment was encoded with other settings", path=part.path)
            unit = segment.time_base or time_base
            frames = (p for p in container.demux(segment) if p.size and p.pts is not None)
            for number, packet in enumerate(frames):
                told = round((packet.pts or 0) * unit / time_base)
                if part.path.suffix == ".mkv":
                    # Its times are rounded to 1 ms; its frames are in order.
                    told = part.pts[number]
                pts = part.start - shift + told
                after = bisect_right(shown, pts)
                # Without a length the last frame would lie outside of MP4's edit list.
                length = round((packet.duration or 0) * unit / time_base) or step
                duration = shown[after] - pts if after < len(shown) else length
                packet.dts = lead[place] if place < delay else shown[place - delay]
                packet.pts, packet.duration = pts, duration
                packet.time_base, packet.stream = time_base, stream
                place += 1
                yield float(packet.dts * time_base), stream.index, packet
    if place != len(shown):
        raise EncodeError(f"the segments hold {place} frames instead of {len(shown)}")
