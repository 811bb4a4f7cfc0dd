"""Looking at a source before any work: what it is, without decoding more than one frame."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container

from vidsr.errors import DecodeError, ProbeError, SourceError, UnsupportedFormatError
from vidsr.frame import OtherStream, VideoInfo
from vidsr.video.decoder import alpha_decoder, decoded
from vidsr.video.formats import color_of, has_opaque_palette, nearest_planar
from vidsr.video.sidedata import display_matrix, hdr_of, losses, side_data
from vidsr.video.siting import chroma_location

__all__ = ["is_pattern", "open_source", "probe", "translate"]

# Nothing but files is ever opened: a playlist inside a file must not reach the network.
_PROTOCOLS = {"protocol_whitelist": "file"}
_MAX_PIXELS = 16384 * 16384


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


def video_stream(container: av.container.InputContainer, path: Path) -> Any:
    """Return the first video stream that is not an attached picture.

    Raises:
        UnsupportedFormatError: There is none.
    """
    streams = list(container.streams.video)
    moving = [s for s in streams if not _is_cover(s)]
    if not moving:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise UnsupportedFormatError(f"there is no video in it, only {kinds}", path=path)
    stream = moving[0]
    if stream.codec_context is None:
        raise UnsupportedFormatError("no decoder for its video", path=path)
    # Asked for more than the widest picture we could take, the decoder refuses instead of allocating.
    stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    # Without it a stream's cropping at the left is done only as far as memory stays aligned.
    stream.codec_context.flags |= av.codec.context.Flags.unaligned
    stream.thread_type = "AUTO"
    return stream


def probe(path: Path, *, frame_rate: Fraction | None = None, timeout: float | None = None) -> VideoInfo:
    """Return what `path` holds; decodes its first frame, whose word counts where the header differs.

    Raises:
        ProbeError: The file cannot be opened.
        UnsupportedFormatError: It has no video that can be decoded.
        DecodeError: No frame comes out of it.
    """
    with open_source(path, frame_rate=frame_rate, timeout=timeout) as container:
        stream = video_stream(container, path)
        # One frame; and no thread of a decoder's may speak while `listening` has the log pass through Python.
        stream.codec_context.thread_count = 1
        try:
            frame = next(decoded(container, stream), None)
        except (av.FFmpegError, OSError) as error:
            raise translate(error, path, DecodeError, "its first frame cannot be decoded") from error
        if frame is None:
            raise DecodeError("no frame can be decoded from it", path=path)
        return _describe(path, container, stream, frame, _carrier(path, stream, frame))


def _carrier(path: Path, stream: Any, frame: av.VideoFrame) -> av.VideoFrame:
    """Return the frame that has the container's side data, which only the stream's own decoder attaches."""
    if alpha_decoder(stream) is None:
        return frame
    with open_source(path) as again, suppress(av.FFmpegError, OSError):
        return next(again.decode(video_stream(again, path)), frame)
    return frame


def _describe(
    path: Path,
    container: av.container.InputContainer,
    stream: Any,
    frame: av.VideoFrame,
    carrier: av.VideoFrame,
) -> VideoInfo:
    source_format = frame.format.name
    pixel_format = nearest_planar(source_format, opaque=has_opaque_palette(frame))
    attached = side_data(carrier)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    duration = _duration(container, stream)
    counted = stream.frames or (round(duration * rate) if duration and rate else None)
    time_base = stream.time_base or Fraction(1, 90000)
    file_format = container.format.name
    return VideoInfo(
        path=str(path),
        container=file_format,
        codec=stream.codec_context.codec.canonical_name,
        stream_index=stream.index,
        width=frame.width,
        height=frame.height,
        pixel_format=pixel_format,
        source_format=source_format,
        color=color_of(frame, pixel_format, chroma_location(frame) if pixel_format.subsampled else None),
        frame_rate=Fraction(rate) if rate else None,
        time_base=Fraction(time_base),
        start_pts=frame.pts if frame.pts is not None else 0,
        start_time=Fraction(container.start_time or 0, 1_000_000),
        sample_aspect_ratio=Fraction(
            stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 0
        ),
        rotation=int(carrier.rotation),
        display_matrix=display_matrix(attached),
        hdr=hdr_of(attached),
        losses=tuple(losses(attached)),
        interlaced=bool(frame.interlaced_frame),
        duration=duration,
        estimated_frames=counted or None,
        still=file_format.endswith("_pipe") or file_format == "image2",
        others=tuple(_other(s) for s in container.streams if s.index != stream.index),
        chapters=len(container.chapters()),
        metadata=dict(container.metadata),
    )


def _duration(container: av.container.InputContainer, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    else:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _other(stream: Any) -> OtherStream:
    context = stream.codec_context
    if context is not None:
        codec = context.codec.canonical_name
    else:
        # FFmpeg decodes every kind of subtitle but WebVTT in Matroska, for which PyAV has no name.
        codec = "webvtt" if stream.type == "subtitle" else "none"
    return OtherStream(
        index=stream.index,
        kind=stream.type,
        codec=codec,
        language=stream.metadata.get("language", ""),
        title=stream.metadata.get("title", stream.metadata.get("name", "")),
        cover=_is_cover(stream),
    )


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _glob_of(name: str) -> str:
    head, _, rest = name.partition("%")
    _, _, tail = rest.partition("d")
    return f"{head}*{tail}"
