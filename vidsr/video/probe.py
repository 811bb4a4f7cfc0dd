"""Looking at a source before any work: what it is, without decoding more than one frame."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import av.container

from vidsr.errors import DecodeError, OptionsError, ProbeError, SourceError, UnsupportedFormatError
from vidsr.frame import VideoInfo
from vidsr.video.clock import Clock
from vidsr.video.decoding import Loss, Picture, decode
from vidsr.video.formats import color_of, nearest_planar
from vidsr.video.others import describe_other, disposition_names, is_cover

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["READ_TIMEOUT", "is_pattern", "open_source", "probe", "translate"]

# Nothing but files is ever opened: a playlist inside a file must not reach the network.
_PROTOCOLS = {"protocol_whitelist": "file"}
_MAX_PIXELS = 16384 * 16384
READ_TIMEOUT = 60.0
"""Seconds of waiting for one packet, after which a job gives its source up."""
_MAX_LOSSES = 300  # packets without a picture before the first one that has one


def is_pattern(path: Path) -> bool:
    """Return whether `path` names a sequence of pictures, such as ``shot_%04d.png``."""
    try:
        return "%" in path.name and path.name % 1 != path.name
    except (TypeError, ValueError):
        return False


def translate(
    error: Exception, path: str | os.PathLike[str], kind: type[SourceError], what: str
) -> SourceError:
    """Return a `kind` that says in one line what FFmpeg's error means."""
    text = getattr(error, "strerror", None) or str(error)
    hint = None
    if isinstance(error, av.error.ExitError):
        text = "nothing came for too long"
    if isinstance(error, av.InvalidDataError):
        hint = "the file is damaged, incomplete or no media file"
    return kind(f"{what} ({text})", path=path, hint=hint)


@contextmanager
def open_source(
    path: Path, *, frame_rate: Fraction | None = None, timeout: float | None = None
) -> Iterator[av.container.InputContainer]:
    """Open a media file, or a numbered sequence of pictures at `frame_rate` (25 by default).

    Args:
        path: The file, or a pattern.
        frame_rate: Of a sequence.
        timeout: Seconds after which looking for one packet is given up with FFmpeg's ExitError, and twice
            as many for opening it; None: never. Gigabytes of garbage hold no packet.

    Raises:
        ProbeError: It is missing, a folder, not readable, or no media file.
    """
    options = dict(_PROTOCOLS)
    name, file_format = f"file:{path}", None
    if is_pattern(path):
        file_format = "image2"
        options |= {"framerate": str(frame_rate or 25), "start_number_range": "100000"}
        name = str(path)
        if not any(path.parent.glob(_glob_of(path.name))):
            raise ProbeError("no picture fits this pattern", path=path)
    elif not path.exists():
        raise ProbeError("no such file", path=path)
    elif path.is_dir():
        hint = "for a sequence of pictures give a pattern such as name_%04d.png"
        raise ProbeError("this is a folder", path=path, hint=hint)
    elif path.stat().st_size == 0 and path.is_file():
        raise ProbeError("the file is empty", path=path)
    waits = None if timeout is None else (2 * timeout, timeout)
    try:
        container = av.open(
            name, format=file_format, options=options, metadata_errors="replace", timeout=waits
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise translate(error, path, ProbeError, "cannot open this as video") from error
    with container:
        yield container


def video_stream(container: av.container.InputContainer, path: Path, index: int | None = None) -> Any:
    """Return the video stream of an index, or the first one that is not an attached picture.

    Raises:
        OptionsError: There is no video stream of that index.
        UnsupportedFormatError: There is no video, or no decoder for it.
    """
    moving = [s for s in container.streams.video if not is_cover(s)]
    if not moving:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise UnsupportedFormatError(f"there is no video in it, only {kinds}", path=path)
    stream = moving[0] if index is None else next((s for s in moving if s.index == index), None)
    if stream is None:
        there = ", ".join(str(s.index) for s in moving)
        raise OptionsError(
            f"stream {index} is no video to enlarge", path=path, hint=f"--video-stream takes {there}"
        )
    if stream.codec_context is None:
        raise UnsupportedFormatError("no decoder for its video", path=path)
    # Asked for more than the widest picture we could take, the decoder refuses instead of allocating.
    stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    stream.thread_type = "AUTO"
    return stream


def probe(
    path: Path,
    *,
    frame_rate: Fraction | None = None,
    timeout: float | None = READ_TIMEOUT,
    index: int | None = None,
) -> VideoInfo:
    """Return what `path` holds; decodes its first frame, whose word counts where the header differs.

    Args:
        path: The file, or a pattern.
        frame_rate: Of a sequence of pictures.
        timeout: As for `open_source`.
        index: Of the video stream; None: the first.

    Raises:
        ProbeError: The file cannot be opened.
        OptionsError: There is no video stream of that index.
        UnsupportedFormatError: It has no video that can be decoded.
        DecodeError: No frame comes out of it.
    """
    with open_source(path, frame_rate=frame_rate, timeout=timeout) as container:
        stream = video_stream(container, path, index)
        return _describe(path, container, stream, *_first_picture(container, stream, path))


def _first_picture(container: Any, stream: Any, path: Path) -> tuple[av.VideoFrame, int]:
    """Return the first frame and its time; damage before it is the reader's to judge."""
    clock = Clock(container.format.name, stream.time_base or Fraction(1, 90000), None)
    losses: list[Loss] = []
    try:
        for item in decode(container, stream, clock, careful=True):
            if isinstance(item, Picture):
                return item.frame, item.pts or 0
            losses.append(item)
            if len(losses) == _MAX_LOSSES:
                break
    except (av.FFmpegError, OSError) as error:
        raise translate(error, path, DecodeError, "its first frame cannot be decoded") from error
    if losses:
        raise DecodeError(
            f"its first frame cannot be decoded ({losses[0].why})",
            path=path,
            hint="the file is damaged, encrypted, incomplete or no media file",
        )
    raise DecodeError("no frame can be decoded from it", path=path)


def _describe(
    path: Path, container: av.container.InputContainer, stream: Any, frame: av.VideoFrame, pts: int
) -> VideoInfo:
    source_format = frame.format.name
    pixel_format = nearest_planar(source_format)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    duration = _duration(container, stream)
    counted = stream.frames or (round(duration * rate) if duration and rate else None)
    time_base = stream.time_base or Fraction(1, 90000)
    file_format = container.format.name
    chapters = container.chapters()
    return VideoInfo(
        path=str(path),
        container=file_format,
        codec=stream.codec_context.codec.canonical_name,
        stream_index=stream.index,
        width=frame.width,
        height=frame.height,
        pixel_format=pixel_format,
        source_format=source_format,
        color=color_of(frame, pixel_format, source_format),
        frame_rate=Fraction(rate) if rate else None,
        time_base=Fraction(time_base),
        start_pts=pts,
        start_time=Fraction(container.start_time or 0, 1_000_000),
        sample_aspect_ratio=Fraction(
            stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 0
        ),
        rotation=int(frame.rotation),
        display_matrix=_display_matrix(frame),
        interlaced=bool(frame.interlaced_frame),
        duration=duration,
        estimated_frames=counted or None,
        still=file_format.endswith("_pipe") or file_format == "image2",
        others=tuple(describe_other(container, s) for s in container.streams if s.index != stream.index),
        chapters=len(chapters),
        chapter_tags=tuple(sorted({key for c in chapters for key in c["metadata"]} - {"title"})),
        metadata=dict(container.metadata),
        stream_tags=dict(stream.metadata),
        dispositions=disposition_names(stream),
    )


def _duration(container: av.container.InputContainer, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    else:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18.1 gives up on side data newer than it; `rotation` still works
        return None
    return None if data is None else struct.unpack("<9i", bytes(cast("Buffer", data))[:36])


def _glob_of(name: str) -> str:
    head, _, rest = name.partition("%")
    _, _, tail = rest.partition("d")
    return f"{head}*{tail}"
