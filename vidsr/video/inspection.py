"""What a source is, told in full: what its headers state, what was looked at, and what is a guess."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import av

from vidsr.errors import VidsrError
from vidsr.frame import VideoInfo
from vidsr.sources import Source
from vidsr.video.compression import Compression, measure_compression
from vidsr.video.opening import open_info
from vidsr.video.others import codec_name, disposition_names, is_cover
from vidsr.video.probe import probe, video_stream
from vidsr.video.sidedata import side_data
from vidsr.video.timing import Timing, scan_timing

__all__ = ["Chapter", "FrameCount", "Inspection", "StreamSeen", "count_frames", "inspect_source"]

_FIRST = 8  # frames that are decoded for their flags
_WAIT_SECONDS = 2.0  # for one packet
_LOOK_SECONDS = 1.0  # at most, but for the first frame
_COMPRESSION_FRAMES = 36  # what `measure_compression` decodes, about
_COMPRESSION_SECONDS = 5.0
_MAX_LISTED = 1000  # chapters, tags: a hostile file may have millions


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSeen:
    """One stream of a file."""

    index: int
    kind: str
    """video, audio, subtitle, attachment or data."""
    codec: str
    """FFmpeg's name; "none" where it has no decoder."""
    profile: str = ""
    language: str = ""
    title: str = ""
    dispositions: tuple[str, ...] = ()
    """default, forced, attached_pic, ..."""
    cover: bool = False
    """Whether it is an attached picture."""
    main: bool = False
    """Whether it is the video that vidsr enlarges."""
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    sample_rate: int | None = None
    """Hz."""
    layout: str = ""
    """Of sound: mono, stereo, 5.1, ..."""
    file_name: str = ""
    """Of an attachment."""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter."""

    start: float
    """Seconds."""
    end: float
    title: str


@dataclass(frozen=True, slots=True)
class FrameCount:
    """A number of frames, and where it comes from."""

    count: int | None
    source: Literal["counted", "header", "estimated", "unknown"]
    """counted: packets, all of them; header: the file states it; estimated: duration times frame rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was seen of a source."""

    info: VideoInfo
    """What every job starts from."""
    bytes: int | None
    """Of the file; None: a sequence of pictures."""
    streams: tuple[StreamSeen, ...]
    timing: Timing
    frames: FrameCount
    """Of the video."""
    frames_stated: int | None
    """What the header states, even where it was counted."""
    first_frames: int
    """Frames that were decoded for the three figures below."""
    interlaced: int
    """Of these, flagged as interlaced."""
    untimed: int
    """Of these, without a time."""
    disordered: int
    """Of these, with a time not later than that of the one before."""
    side_data: tuple[str, ...]
    """Of the first frame, FFmpeg's names: MASTERING_DISPLAY_METADATA, A53_CC, ..."""
    compression: Compression | None
    """None: frames take too long to decode for a look at some."""
    chapters: tuple[Chapter, ...]
    metadata: dict[str, str] = field(default_factory=dict)


def inspect_source(path: Source, *, network: bool = False) -> Inspection:
    """Look at a file: headers, a few thousand packets, a few dozen frames.

    Takes seconds at most, whatever the headers claim: `vidsr.video.timing` bounds the packets, and frames
    that take long to decode are not looked at for their compression.

    Raises:
        SourceError: As `probe`.
    """
    info = probe(path, timeout=_WAIT_SECONDS, network=network)
    with open_info(info, timeout=_WAIT_SECONDS) as container:
        stream = video_stream(container, path)
        streams = tuple(_seen(container, s, main=s.index == info.stream_index) for s in container.streams)
        timing = scan_timing(container, stream)
        stated = _whole(info, stream.frames)
        chapters = tuple(_chapters(container))
    first = _first_frames(info)
    compression = None
    if first.seconds * _COMPRESSION_FRAMES < _COMPRESSION_SECONDS:
        with suppress(VidsrError, av.FFmpegError, OSError):
            compression = measure_compression(path, timeout=_WAIT_SECONDS, network=network)
    return Inspection(
        info=info,
        bytes=_bytes(path),
        streams=streams,
        timing=timing,
        frames=_frames(info, timing, stated),
        frames_stated=stated,
        first_frames=first.count,
        interlaced=first.interlaced,
        untimed=first.untimed,
        disordered=first.disordered,
        side_data=first.side_data,
        compression=compression,
        chapters=chapters,
        metadata=dict(list(info.metadata.items())[:_MAX_LISTED]),
    )


def _bytes(source: Source) -> int | None:
    return source.stat().st_size if isinstance(source, Path) and source.is_file() else None


def count_frames(info: VideoInfo) -> FrameCount:
    """Return how many frames a video has, as far as a bounded look at its packets tells.

    Raises:
        SourceError: As `probe`.
    """
    rate = info.frame_rate if info.still else None
    with open_info(info, frame_rate=rate, timeout=_WAIT_SECONDS) as container:
        stream = video_stream(container, info.path)
        return _frames(info, scan_timing(container, stream), _whole(info, stream.frames))


def _frames(info: VideoInfo, timing: Timing, stated: int | None) -> FrameCount:
    if timing.whole and timing.packets:
        return FrameCount(_whole(info, timing.packets), "counted")
    if stated is not None:
        return FrameCount(stated, "header")
    if info.duration and timing.seconds and timing.steps:
        # Of what was seen: a header's rate may be anything, 1000 in Matroska.
        return FrameCount(_whole(info, round(info.duration * timing.steps / timing.seconds)), "estimated")
    return FrameCount(info.estimated_frames, "unknown" if info.estimated_frames is None else "estimated")


def _whole(info: VideoInfo, pictures: int) -> int | None:
    """Return how many frames these are."""
    return (-(-pictures // 2) if info.fields else pictures) or None


@dataclass(slots=True)
class _First:
    """What the first frames tell; see `Inspection`."""

    count: int = 0
    interlaced: int = 0
    untimed: int = 0
    disordered: int = 0
    side_data: tuple[str, ...] = ()
    seconds: float = 0.0
    """To decode one."""


def _first_frames(info: VideoInfo) -> _First:
    found = _First()
    last: int | None = None
    began = perf_counter()
    with open_info(info, timeout=_WAIT_SECONDS) as container:
        stream = video_stream(container, info.path)
        try:
            for frame in container.decode(stream):
                found.side_data = found.side_data if found.count else tuple(sorted(side_data(frame)))
                found.count += 1
                found.interlaced += bool(frame.interlaced_frame)
                found.untimed += frame.pts is None
                found.disordered += None not in (frame.pts, last) and frame.pts <= last
                last = frame.pts
                if found.count >= _FIRST or perf_counter() - began > _LOOK_SECONDS:
                    break
        except (av.FFmpegError, OSError):  # damage is the reader's to report
            pass
    found.seconds = (perf_counter() - began) / max(1, found.count)
    return found


def _chapters(container: Any) -> Iterator[Chapter]:
    for chapter in container.chapters()[:_MAX_LISTED]:
        unit = Fraction(chapter["time_base"])
        title = chapter["metadata"].get("title", "")
        yield Chapter(float(chapter["start"] * unit), float(chapter["end"] * unit), title)


def _seen(container: Any, stream: Any, *, main: bool) -> StreamSeen:
    context, tags = stream.codec_context, stream.metadata
    sound = stream.type == "audio" and context is not None
    picture = stream.type == "video" and context is not None
    return StreamSeen(
        index=stream.index,
        kind=stream.type,
        codec=codec_name(container, stream),
        profile=(getattr(stream, "profile", None) or "") if context is not None else "",
        language=tags.get("language", ""),
        title=tags.get("title", tags.get("name", "")),
        dispositions=disposition_names(stream),
        cover=is_cover(stream),
        main=main,
        size=(context.width, context.height) if picture else None,
        sample_rate=context.sample_rate or None if sound else None,
        layout=context.layout.name if sound else "",
        file_name=tags.get("filename", ""),
        media_type=tags.get("mimetype", ""),
    )
