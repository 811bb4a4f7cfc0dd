"""Looking at a source before any work: what it is, without decoding more than one frame."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import av.container

from vidsr.errors import DecodeError, UnsupportedFormatError
from vidsr.frame import OtherStream, VideoInfo
from vidsr.sources import Source
from vidsr.video.formats import color_of, nearest_planar
from vidsr.video.opening import open_source, translate

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["open_source", "probe", "translate", "video_stream"]

_MAX_PIXELS = 16384 * 16384


def video_stream(container: av.container.InputContainer, path: Source) -> Any:
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
    stream.thread_type = "AUTO"
    return stream


def probe(
    path: Source,
    *,
    frame_rate: Fraction | None = None,
    timeout: float | None = None,
    network: bool = False,
) -> VideoInfo:
    """Return what a source holds; decodes its first frame, whose word counts where the header differs.

    Raises:
        ProbeError: The file cannot be opened.
        UnsupportedFormatError: It has no video that can be decoded.
        DecodeError: No frame comes out of it.
        OptionsError: It is an address, and `network` is false; see `open_source`.
    """
    with open_source(path, frame_rate=frame_rate, timeout=timeout, network=network) as container:
        stream = video_stream(container, path)
        try:
            frame = next(container.decode(stream), None)
        except (av.FFmpegError, OSError) as error:
            raise translate(error, path, DecodeError, "its first frame cannot be decoded") from error
        if frame is None:
            raise DecodeError("no frame can be decoded from it", path=path)
        return replace(_describe(path, container, stream, frame), network=network)


def _describe(
    path: Source, container: av.container.InputContainer, stream: Any, frame: av.VideoFrame
) -> VideoInfo:
    source_format = frame.format.name
    pixel_format = nearest_planar(source_format)
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
        color=color_of(frame, pixel_format, source_format),
        frame_rate=Fraction(rate) if rate else None,
        time_base=Fraction(time_base),
        start_pts=frame.pts if frame.pts is not None else 0,
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


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18.1 gives up on side data newer than it; `rotation` still works
        return None
    return None if data is None else struct.unpack("<9i", bytes(cast("Buffer", data))[:36])


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
