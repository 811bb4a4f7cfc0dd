"""Looking at a source before any work: what it is, without decoding more than one frame."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import av.container

from vidsr.errors import DecodeError, OptionsError, UnsupportedFormatError
from vidsr.frame import VideoInfo
from vidsr.sources import Source
from vidsr.video.clock import Clock
from vidsr.video.decoder import alpha_decoder, container_crop
from vidsr.video.decoding import Loss, Picture, decode
from vidsr.video.formats import color_of, has_opaque_palette, nearest_planar
from vidsr.video.opening import open_source, translate
from vidsr.video.others import describe_other, disposition_names, is_cover
from vidsr.video.sidedata import display_matrix, hdr_of, losses, side_data
from vidsr.video.siting import chroma_location
from vidsr.video.weaving import as_frames, first_field

__all__ = ["READ_TIMEOUT", "open_source", "probe", "translate", "video_stream"]

_MAX_PIXELS = 16384 * 16384
READ_TIMEOUT = 60.0
"""Seconds of waiting for one packet, after which a job gives its source up."""
_MAX_LOSSES = 300  # packets without a picture before the first one that has one

_BARE = frozenset(("h264", "hevc", "vvc", "evc", "cavsvideo", "m4v", "mpegvideo"))
"""FFmpeg's names for files that are nothing but a coded stream."""


def video_stream(container: av.container.InputContainer, path: Source, index: int | None = None) -> Any:
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
    # Without it a stream's cropping at the left is done only as far as memory stays aligned.
    stream.codec_context.flags |= av.codec.context.Flags.unaligned
    stream.thread_type = "AUTO"
    return stream


def probe(
    path: Source,
    *,
    frame_rate: Fraction | None = None,
    timeout: float | None = READ_TIMEOUT,
    index: int | None = None,
    network: bool = False,
) -> VideoInfo:
    """Return what a source holds; decodes its first frame, whose word counts where the header differs.

    Args:
        path: The file, or a pattern.
        frame_rate: Of a sequence of pictures.
        timeout: As for `open_source`.
        index: Of the video stream; None: the first.
        network: As for `open_source`.

    Raises:
        ProbeError: The file cannot be opened.
        OptionsError: There is no video stream of that index; or it is an address, and `network` is false.
        UnsupportedFormatError: It has no video that can be decoded.
        DecodeError: No frame comes out of it.
    """
    with open_source(path, frame_rate=frame_rate, timeout=timeout, network=network) as container:
        stream = video_stream(container, path, index)
        crop = container_crop(container, stream)
        frame, pts = _first_picture(container, stream, path, crop)
        carrier = _carrier(path, stream, frame, network)
        info = _describe(path, container, stream, frame, carrier, pts)
        info = replace(info, network=network, crop=crop)
        return as_frames(info) if info.fields else info


def _first_picture(
    container: Any, stream: Any, path: Source, crop: tuple[int, int, int, int] | None
) -> tuple[av.VideoFrame, int]:
    """Return the first frame and its time; damage before it is the reader's to judge."""
    clock = Clock(container.format.name, stream.time_base or Fraction(1, 90000), None)
    losses: list[Loss] = []
    try:
        for item in decode(container, stream, clock, careful=True, crop=crop):
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


def _carrier(path: Source, stream: Any, frame: av.VideoFrame, network: bool) -> av.VideoFrame:
    """Return the frame that has the container's side data, which only the stream's own decoder attaches."""
    if alpha_decoder(stream) is None:
        return frame
    with open_source(path, network=network) as again, suppress(av.FFmpegError, OSError):
        own = video_stream(again, path, stream.index)
        own.codec_context.thread_count = 1  # no decoder's thread may speak while `listening`
        return next(again.decode(own), frame)
    return frame


def _describe(
    path: Source,
    container: av.container.InputContainer,
    stream: Any,
    frame: av.VideoFrame,
    carrier: av.VideoFrame,
    pts: int,
) -> VideoInfo:
    source_format = frame.format.name
    pixel_format = nearest_planar(source_format, opaque=has_opaque_palette(frame))
    attached = side_data(carrier)
    rate = _rate(container.format.name, stream)
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
        color=color_of(carrier, pixel_format, chroma_location(frame) if pixel_format.subsampled else None),
        frame_rate=rate,
        time_base=Fraction(time_base),
        start_pts=pts,
        start_time=Fraction(container.start_time or 0, 1_000_000),
        sample_aspect_ratio=Fraction(
            stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 0
        ),
        rotation=int(carrier.rotation),
        display_matrix=display_matrix(attached),
        hdr=hdr_of(attached),
        losses=tuple(losses(attached)),
        interlaced=bool(frame.interlaced_frame),
        fields=first_field(stream.codec_context.codec.canonical_name, frame),
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


def _rate(file_format: str, stream: Any) -> Fraction | None:
    """Return the frame rate that a file tells.

    A bare stream has no times: FFmpeg's average is then its own default of 25, whatever the stream says.
    """
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if file_format in _BARE:
        rates.append(rates.pop(0))
    return next((Fraction(rate) for rate in rates if rate), None)


def _duration(container: av.container.InputContainer, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    else:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
