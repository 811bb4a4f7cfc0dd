"""Containers that results are written in, and what each of them can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vidsr.frame import OtherStream, VideoInfo
from vidsr.video.copying import COVERS

__all__ = ["CONTAINERS", "Container", "Fate", "fate_in"]


@dataclass(frozen=True, slots=True)
class Container:
    """A file format that results are written in."""

    form: str
    """FFmpeg's name of the muxer."""
    default_codec: str
    text: str
    """Codec that text subtitles of other codecs are converted to."""
    exact_times: bool
    """Whether any time base is kept; otherwise times are rounded to 1 ms."""


_MP4 = Container("mp4", "libx264", "mov_text", True)
_MOV = Container("mov", "libx264", "mov_text", True)
_MKV = Container("matroska", "libx264", "subrip", False)
_WEBM = Container("webm", "libvpx-vp9", "webvtt", False)

CONTAINERS = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM}
"""By the suffix of the result's name."""

_TEXT = ("subrip", "text", "mov_text", "webvtt")
# Data that FFmpeg's muxers write as it was read. QuickTime's takes any, and writes files that cannot be used.
_DATA = {"gpmd": ("mp4", "mov")}


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a stream in a container."""

    how: Literal["copied", "converted", "kept", "left out", "refused"]
    """kept: not as a stream, but what it says stays; left out: no container holds it; refused: another
    container may hold it, or it is something to see or hear."""
    detail: str = ""
    """The codec that it is converted to, or why."""


def fate_in(container: Container, info: VideoInfo, other: OtherStream) -> Fate:
    """Return what becomes of one of a source's streams in `container`."""
    if other.kind not in ("audio", "subtitle", "attachment", "video"):
        return _data(container, info, other)
    if other.kind == "attachment":
        return Fate("copied" if container is _MKV else "refused")
    if other.cover:
        return Fate("copied" if other.codec in COVERS.get(container.form, ()) else "refused")
    if container.form in other.fits:
        return Fate("copied")
    if other.codec == "aac_latm" and container is not _WEBM:
        return Fate("converted", "aac")
    if other.kind == "subtitle" and other.codec in _TEXT:
        return Fate("converted", container.text)
    return Fate("refused")


def _data(container: Container, info: VideoInfo, other: OtherStream) -> Fate:
    if other.tag == "text" and info.chapters:
        return Fate("kept", "MP4's own form of the chapters, which are kept")
    if other.tag == "tmcd" and any(key.lower() == "timecode" for key in other.tags):
        return Fate("kept", "the timecode, which is kept")
    forms = _DATA.get(other.tag, ())
    if container.form in forms and container.form in other.fits:
        return Fate("copied")
    if forms:
        return Fate("refused")
    return Fate("left out", "no container that vidsr writes takes it")
