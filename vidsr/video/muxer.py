"""Joining encoded segments with the source's other streams, by copying packets."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
from av.bitstream import BitStreamFilterContext

from vidsr.errors import EncodeError, OutputError
from vidsr.frame import VideoInfo
from vidsr.video.containers import CarryPlan
from vidsr.video.hdr import template_of
from vidsr.video.probe import open_source
from vidsr.video.tags import container_tags, shifted_chapters, stream_tags

__all__ = ["Part", "Timeline", "join"]


@dataclass(frozen=True, slots=True)
class Part:
    """A finished segment as the muxer needs it."""

    path: Path
    start: int
    """Pts of its first frame in the source, in ticks of the writer's time base."""
    pts: tuple[int, ...]
    """Times of its frames in presentation order, relative to `start`."""
    reorder: int
    """See `SegmentWriter.reorder`."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Which stretch of the source the result shows."""

    origin: Fraction
    """Second of the source that is second zero of the result."""
    begin: Fraction | None = None
    """Other streams before this second of the source are left out; None: all are kept."""
    end: Fraction | None = None


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
            source = None if info.still else stack.enter_context(open_source(Path(info.path)))
            options = _muxer_options(plan, time_base)
            out = av.open(str(target), "w", format=plan.container.form, container_options=options)
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


def _muxer_options(plan: CarryPlan, time_base: Fraction) -> dict[str, str]:
    # bitexact: no random identifiers and no dates, so that the same job gives the same bytes.
    options = {"fflags": "+bitexact"}
    if plan.container.form in ("mp4", "mov"):
        options |= {
            "movie_timescale": "90000",
            "video_track_timescale": str(time_base.denominator),
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
    with template_of(parts[0].path, info.hdr) as first:
        template = first.streams.video[0]
        video = out.add_stream_from_template(template, opaque=True)
        if info.display_matrix is not None:
            video.set_display_matrix(_matrix_for(plan.container.form, info.display_matrix))
        elif info.rotation:
            video.set_display_rotation(info.rotation)
        header = bytes(template.codec_context.extradata or b"")
        # VP9 and FFV1 have no place for it in their stream, and SVT-AV1 writes square pixels: the segment's
        # container knows.
        aspect = template.sample_aspect_ratio or template.codec_context.sample_aspect_ratio
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
    video.time_base = time_base
    carried: dict[int, _Carried] = {}
    if source is not None:
        out.metadata.update(container_tags(source.metadata, plan.container.form))
        _copy_stream_tags(source.streams[info.stream_index], video)
        for key in [key for key in video.metadata if key.lower() == "alpha_mode"]:
            del video.metadata[key]  # true of the source; of the result it is said below
        for stream in source.streams:
            if stream.index in plan.copied or stream.index in {c[0] for c in plan.converted}:
                carried[stream.index] = _Carried.add(out, stream, plan)
        chapters = shifted_chapters(source.chapters(), timeline)
        if chapters:
            out.set_chapters(chapters)
    if parts[0].path.suffix == ".mkv":
        video.metadata["alpha_mode"] = "1"  # see `segment_suffix`
    out.start_encoding()
    streams = [_video_packets(parts, video, time_base, timeline.origin, header)]
    if source is not None and carried:
        streams.append(_other_packets(source, carried, timeline))
    for _, _, packet in heapq.merge(*streams, key=lambda item: item[:2]):
        out.mux(packet)


def _matrix_for(form: str, matrix: tuple[int, ...]) -> tuple[int, ...]:
    """Return the display matrix as the container can hold it: Matroska turns, but does not stretch."""
    turn = (matrix[0], matrix[1], matrix[3], matrix[4])
    right_angle = sorted(map(bool, turn[:2])) == sorted(map(bool, turn[2:])) == [False, True]
    if form not in ("matroska", "webm") or not right_angle:
        return matrix
    a, b, c, d = ((value > 0) - (value < 0) for value in turn)
    one = 1 << 16
    return (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)


_Timed = tuple[float, int, Any]
"""Decoding time in seconds, stream index, packet."""


def _video_packets(
    parts: Sequence[Part], stream: Any, time_base: Fraction, origin: Fraction, header: bytes
) -> Iterator[_Timed]:
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
        with av.open(str(part.path)) as container:
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


class _Carried:
    """Another stream of the source on its way into the result."""

    def __init__(self, stream: Any, filters: Any = None) -> None:
        self.stream = stream
        self._filter = filters

    @classmethod
    def add(cls, out: Any, stream: Any, plan: CarryPlan) -> _Carried:
        """Add the stream to `out`."""
        conversion = next((c for c in plan.converted if c[0] == stream.index), None)
        if conversion is not None:
            _, codec, name = conversion
            added = out.add_mux_stream(codec, time_base=stream.time_base)
            _copy_stream_tags(stream, added)
            return cls(added, BitStreamFilterContext(name, stream))
        if stream.codec_context is None and stream.type == "subtitle":
            added = out.add_mux_stream("webvtt", time_base=stream.time_base)
        else:
            added = out.add_stream_from_template(stream, opaque=True)
        _copy_stream_tags(stream, added)
        return cls(added)

    def packets(self, packet: Any) -> Sequence[Any]:
        """Return what goes into the result for one packet of the source."""
        return [packet] if self._filter is None else self._filter.filter(packet)


def _copy_stream_tags(source: Any, target: Any) -> None:
    target.metadata.update(stream_tags(source.metadata))
    target.disposition = source.disposition


def _other_packets(source: Any, carried: dict[int, _Carried], timeline: Timeline) -> Iterator[_Timed]:
    last = 0.0
    for packet in source.demux([source.streams[index] for index in carried]):
        if packet.size == 0 or (packet.pts is None and packet.dts is None):
            continue
        unit = packet.time_base
        if not _in_stretch(packet, timeline):
            continue
        begin = round(timeline.origin / unit)
        own = carried[packet.stream.index]
        is_text = packet.stream.type == "subtitle"
        for made in own.packets(packet):
            if made.pts is not None:
                # A subtitle that is already shown when the stretch begins is shown from its first frame.
                early = max(0, begin - made.pts) if is_text and timeline.begin is not None else 0
                made.pts += early - begin
                made.duration = max(0, (made.duration or 0) - early)
            if made.dts is not None:
                made.dts = made.pts if is_text else made.dts - begin
            made.stream = own.stream
            time = made.dts if made.dts is not None else made.pts
            last = max(last, float(time * unit))
            yield last, own.stream.index, made


def _in_stretch(packet: Any, timeline: Timeline) -> bool:
    if timeline.begin is None and timeline.end is None:
        return True
    time = (packet.pts if packet.pts is not None else packet.dts) * packet.time_base
    over = time + (packet.duration or 0) * packet.time_base
    if timeline.end is not None and time >= timeline.end:
        return False
    if timeline.begin is None or time >= timeline.begin:
        return True
    return bool(packet.stream.type == "subtitle" and over > timeline.begin)
