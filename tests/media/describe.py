"""What a media file holds, as plain values that two files can be compared by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidsr.video.formats import planes_of
from vidsr.video.opening import LENIENT


@dataclass
class Description:
    """A file's contents."""

    size: tuple[int, int] = (0, 0)
    times: list[Fraction] = field(default_factory=list)
    """Of decoded frames, in seconds; 0 where a frame has none."""
    sound: list[list[str]] = field(default_factory=list)
    """A hash of every packet, a list for each stream."""
    sound_times: list[list[Fraction]] = field(default_factory=list)
    """Of packets, in seconds; the codec's priming before zero left out: Matroska rounds it away."""
    subtitles: list[list[tuple[bytes, Fraction]]] = field(default_factory=list)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    """(type, codec) of each stream."""
    colors: tuple[int, ...] = ()
    """Range, matrix, primaries, transfer."""
    aspect: Fraction = Fraction(0)
    rotation: int = 0
    pixel_format: str = ""
    chapters: list[tuple[Fraction, Fraction, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    languages: list[str] = field(default_factory=list)


def describe(path: Path) -> Description:
    """Read a whole file."""
    found = Description()
    with av.open(str(path), **LENIENT) as file:
        covers = av.stream.Disposition.attached_pic
        video = next(s for s in file.streams.video if not s.disposition & covers)
        video.thread_type = "AUTO"
        for frame in _decoded(file, video):
            if not found.times:
                found.size = (frame.width, frame.height)
                found.colors = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
                found.rotation = frame.rotation
                found.pixel_format = frame.format.name
            found.times.append((frame.pts or 0) * (frame.time_base or Fraction(0)))
        found.aspect = Fraction(video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio or 0)
        found.tags = dict(file.metadata)
        for chapter in file.chapters():
            unit = chapter["time_base"]
            title = chapter["metadata"].get("title", "")
            found.chapters.append((chapter["start"] * unit, chapter["end"] * unit, title))
    with av.open(str(path), **LENIENT) as file:
        for stream in file.streams:
            context = stream.codec_context
            found.kinds.append((stream.type, context.codec.canonical_name if context else "none"))
            found.languages.append(stream.metadata.get("language", ""))
        packets: dict[int, list[tuple[bytes, Fraction]]] = {}
        for packet in file.demux():
            if packet.size and packet.stream.type in ("audio", "subtitle") and packet.pts is not None:
                entry = (bytes(packet), packet.pts * packet.time_base)
                packets.setdefault(packet.stream.index, []).append(entry)
        for stream in file.streams:
            own = packets.get(stream.index, [])
            if stream.type == "audio":
                found.sound.append([hashlib.sha256(data).hexdigest() for data, _ in own])
                found.sound_times.append([time for _, time in own])
            elif stream.type == "subtitle":
                found.subtitles.append(own)
    return found


def _decoded(file: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Yield the frames that can be decoded."""
    for packet in file.demux(stream):
        with suppress(av.FFmpegError):
            yield from packet.decode()


def decode(path: Path) -> list[tuple[np.ndarray, ...]]:
    """Return copies of all frames' planes."""
    with av.open(str(path)) as file:
        return [tuple(p.copy() for p in planes_of(frame)) for frame in file.decode(video=0)]
