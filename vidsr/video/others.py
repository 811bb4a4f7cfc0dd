"""What a file holds beside the video that is enlarged: sound, subtitles, pictures, attachments, data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import av.stream
from av.bitstream import BitStreamFilterContext

from vidsr.frame import OtherStream
from vidsr.video.copying import fitting_forms

__all__ = ["codec_name", "describe_other", "disposition_names", "is_cover"]

_HEAD_BYTES = 1 << 20
_WAVE_FORMATS = ("avi", "asf", "matroska,webm")


def describe_other(container: Any, stream: Any) -> OtherStream:
    """Return what is known of one of an open file's streams."""
    tags: dict[str, str] = dict(stream.metadata)
    codec = codec_name(container, stream)
    wave = stream.type == "audio" and _described_as_wave(container, stream)
    return OtherStream(
        index=stream.index,
        kind=stream.type,
        codec=codec,
        language=tags.get("language", ""),
        title=tags.get("title", tags.get("name", "")),
        cover=is_cover(stream),
        tag=_tag(stream) if stream.type == "data" else "",
        wave=wave,
        fits=fitting_forms(stream, codec, wave=wave),
        dispositions=disposition_names(stream),
        tags=tags,
    )


def codec_name(container: Any, stream: Any) -> str:
    """Return FFmpeg's name of a stream's codec, whether or not there is a decoder; "none": unknown to it."""
    if stream.codec_context is not None:
        return str(stream.codec_context.codec.canonical_name)
    if stream.type == "attachment":
        return "none"
    name = _name_without_decoder(stream)
    if name == "none" and stream.type == "subtitle" and _holds_vtt(container):
        return "webvtt"
    return name


def disposition_names(stream: Any) -> tuple[str, ...]:
    """Return the names of a stream's dispositions: default, forced, comment, ..."""
    return tuple(str(flag.name) for flag in av.stream.Disposition if flag & stream.disposition)


def is_cover(stream: Any) -> bool:
    """Return whether a stream is an attached picture."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _name_without_decoder(stream: Any) -> str:
    # PyAV names the codec of data streams alone: the parameters are copied into one.
    with av.open(io.BytesIO(), "w", format="matroska") as scratch:
        copy = scratch.add_data_stream()
        BitStreamFilterContext("null", stream, copy)
        return copy.name or "none"


def _tag(stream: Any) -> str:
    # PyAV tells the four-character code only where there is a decoder; "flac" stands for any.
    with av.open(io.BytesIO(), "w", format="matroska") as scratch:
        copy: Any = scratch.add_stream("flac")
        BitStreamFilterContext("null", stream, copy)
        return _readable(copy.codec_context)


def _readable(context: Any) -> str:
    try:
        return str(context.codec_tag).strip("\0 ")
    except UnicodeDecodeError:
        return ""


def _described_as_wave(container: Any, stream: Any) -> bool:
    """Return whether the codec's tag is one of WAVE's numbers, which are below 65536."""
    if stream.codec_context is None or container.format.name not in _WAVE_FORMATS:
        return False
    try:
        tag = int.from_bytes(stream.codec_context.codec_tag.encode("ascii"), "little")
    except UnicodeError:  # each byte of a PyAV tag must be ASCII
        return False
    return 0 < tag < 1 << 16


def _holds_vtt(container: Any) -> bool:
    """Return whether a Matroska file names the codec that FFmpeg 8 does not know: S_TEXT/WEBVTT."""
    if container.format.name != "matroska,webm":
        return False
    try:
        with Path(container.name.removeprefix("file:")).open("rb") as file:
            return b"S_TEXT/WEBVTT" in file.read(_HEAD_BYTES)
    except OSError:  # not opened by its name
        return False
