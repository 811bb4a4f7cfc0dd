"""What a container can hold, decided before the first frame is made."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av

from vidsr.errors import OptionsError
from vidsr.frame import OtherStream, VideoInfo
from vidsr.video.tags import lost_tags

__all__ = ["CONTAINERS", "CarryPlan", "Container", "default_suffix", "not_in_mp4", "plan_streams"]


@dataclass(frozen=True, slots=True)
class Container:
    """A file format that results are written in."""

    form: str
    """FFmpeg's name of the muxer."""
    default_codec: str
    audio: frozenset[str] | None
    """Codecs that it holds; None: all that its muxer knows."""
    subtitles: frozenset[str] | None
    attachments: bool
    exact_times: bool
    """Whether any time base is kept; otherwise times are rounded to 1 ms."""


_MP4_AUDIO = frozenset("aac mp3 mp2 ac3 eac3 alac opus flac dts truehd".split())
_MP4 = Container("mp4", "libx264", _MP4_AUDIO, frozenset({"mov_text", "subrip"}), False, True)
_MOV_AUDIO = _MP4_AUDIO | frozenset("pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_f32le".split())
_MOV = Container("mov", "libx264", _MOV_AUDIO - {"opus", "flac", "truehd"}, _MP4.subtitles, False, True)
_MKV = Container("matroska", "libx264", None, None, True, False)
_WEBM = Container("webm", "libvpx-vp9", frozenset({"opus", "vorbis"}), frozenset({"webvtt"}), False, False)

CONTAINERS = {".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": _WEBM}

# mov_text and SubRip carry the same words; a bit stream filter turns one into the other.
_TEXT_FILTERS = {("mov_text", "matroska"): ("subrip", "mov2textsub")}
_TEXT_FILTERS |= {("subrip", form): ("mov_text", "text2movsub") for form in ("mp4", "mov")}


@dataclass(frozen=True, slots=True)
class CarryPlan:
    """Which of the source's other streams go into the result, and how."""

    container: Container
    copied: tuple[int, ...] = ()
    """Stream indices whose packets are copied as they are."""
    converted: tuple[tuple[int, str, str], ...] = ()
    """(stream index, codec, bit stream filter) of text subtitles that change their wrapping."""
    notes: tuple[str, ...] = ()


def default_suffix(info: VideoInfo, *, drop: Collection[int] = ()) -> str:
    """Return .mp4 when it holds every stream of the source as it is, otherwise .mkv."""
    return ".mp4" if not_in_mp4(info, drop=drop) is None else ".mkv"


def not_in_mp4(info: VideoInfo, *, drop: Collection[int] = ()) -> OtherStream | None:
    """Return the first of the source's streams that .mp4 does not hold as it is; None: there is none."""
    for other in info.others:
        if other.index in drop:
            continue
        plain = other.kind in ("audio", "video") or other.codec == "mov_text"
        if other.kind != "data" and not (plain and _holds(_MP4, other)):
            return other
    return None


def plan_streams(info: VideoInfo, output: Path, *, drop: Collection[int] = ()) -> CarryPlan:
    """Decide for each of the source's other streams how it gets into `output`.

    Data streams are left out with a note: no container takes them all.

    Args:
        info: The source.
        output: The result; its suffix names the container.
        drop: Indices of streams to leave out.

    Raises:
        OptionsError: `output` names no container, or one that cannot hold a stream.
    """
    container = CONTAINERS.get(output.suffix.lower())
    if container is None:
        known = ", ".join(CONTAINERS)
        raise OptionsError(
            f"'{output.suffix}' is no container that vidsr writes", path=output, hint=f"use {known}"
        )
    indices = sorted(other.index for other in info.others)
    if unknown := sorted(set(drop) - set(indices)):
        there = f"there are {', '.join(map(str, indices))}" if indices else "the video is its only stream"
        raise OptionsError(
            f"--drop {unknown[0]}: no stream of that index to drop", path=info.path, hint=there
        )
    copied, converted, notes = [], [], []
    for other in info.others:
        if other.index in drop:
            continue
        if other.kind == "data" or (other.codec == "none" and other.kind != "attachment"):
            # MP4 keeps chapter titles in a data stream; chapters are copied as such.
            if not (info.chapters and other.codec in ("none", "bin_data")):
                notes.append(f"stream {other.index} ({other.kind}, {other.codec}) is left out")
        elif (other.codec, container.form) in _TEXT_FILTERS:
            converted.append((other.index, *_TEXT_FILTERS[other.codec, container.form]))
        elif _holds(container, other):
            copied.append(other.index)
        else:
            raise OptionsError(
                f"{output.suffix} cannot hold stream {other.index} ({other.kind}, {other.codec})",
                path=output,
                hint=("" if container is _MKV else "name the output .mkv, or ")
                + f"add --drop {other.index} to leave it out",
            )
    lost = lost_tags(info.metadata, container.form)
    if lost:
        notes.append(f"{output.suffix} has no place for the tags {', '.join(lost)}; .mkv has")
    return CarryPlan(container, tuple(copied), tuple(converted), tuple(notes))


def _holds(container: Container, other: OtherStream) -> bool:
    if other.kind == "audio":
        return other.codec in (container.audio or _known_to_muxer(container.form))
    if other.kind == "subtitle":
        return other.codec in (container.subtitles or _known_to_muxer(container.form))
    if other.kind == "attachment":
        return container.attachments
    if other.kind == "video":
        return container.form in ("mp4", "matroska") if other.cover else container.form == "matroska"
    return False


@cache
def _known_to_muxer(form: str) -> frozenset[str]:
    with av.open(io.BytesIO(), "w", format=form) as container:
        coders = container.supported_codecs
    return frozenset(_canonical(name) for name in coders)


def _canonical(coder: str) -> str:
    """Return the codec's name for a decoder's or encoder's: "dts" for "dca"."""
    for mode in ("r", "w"):
        try:
            return str(av.codec.Codec(coder, mode).canonical_name)
        except ValueError:
            continue
    return coder
