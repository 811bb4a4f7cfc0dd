"""Text subtitles on their way into another form: only where words, times and styles stay."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import av.stream

from vidsr.errors import DecodeError
from vidsr.frame import OtherStream, VideoInfo
from vidsr.video.cues import DEFAULT_ENTRY, PARSERS, WRITERS
from vidsr.video.opening import open_info, translate

__all__ = ["TextConverter", "add_text", "unconvertible"]

# What WebVTT in Matroska says beside the words: where the cue is shown.
_SETTINGS = ("webvtt_settings", "matroska_block_additional")


class TextConverter:
    """Turns packets of one codec into another's."""

    def __init__(self, stream: Any, source: str, target: str) -> None:
        """Take packets of `stream`, whose codec is `source`."""
        context = stream.codec_context
        self._entry = bytes(context.extradata or b"") if context is not None else b""
        self._parse, self._write = PARSERS[source], WRITERS[target]

    def convert(self, packet: Any) -> tuple[Any, frozenset[str]]:
        """Return a packet of the same times, None for one without words; and what was lost."""
        try:
            cue = self._parse(bytes(packet), self._entry)
        except UnicodeDecodeError:
            return None, frozenset({"words that are not UTF-8"})
        if not cue.text.strip():
            return None, frozenset()
        data, lost = self._write(cue)
        made = av.Packet(data)
        made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
        made.time_base = packet.time_base
        if any(packet.has_sidedata(name) for name in _SETTINGS):
            lost |= {"positions"}
        return made, lost | cue.lost


def unconvertible(info: VideoInfo, other: OtherStream, codec: str) -> str:
    """Return what a text subtitle of a source would lose as `codec`, in words; "": nothing.

    Reads all of its packets, and only these where the container has an index.

    Raises:
        DecodeError: The source cannot be read.
    """
    lost: set[str] = set()
    with open_info(info) as source:
        stream = source.streams[other.index]
        for rest in source.streams:
            if rest.index != other.index:
                rest.discard = av.stream.Discard.all
        converter = TextConverter(stream, other.codec, codec)
        try:
            for packet in source.demux(stream):
                if packet.size:
                    lost |= converter.convert(packet)[1]
        except (av.FFmpegError, OSError) as error:
            raise translate(error, info.path, DecodeError, "its subtitles cannot be read") from error
    return ", ".join(sorted(lost))


def add_text(out: Any, codec: str, time_base: Fraction) -> Any:
    """Add a stream of text subtitles to an output container."""
    if codec != "mov_text":
        return out.add_mux_stream(codec, time_base=time_base)
    # MP4 describes a default style before the first subtitle. PyAV sets it through a stream with a
    # decoder, so one is made for a template.
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as scratch:
        stream = scratch.add_mux_stream("mov_text", time_base=Fraction(1, 1000))
        packet = av.Packet(bytes(2))
        packet.pts = packet.dts = 0
        packet.duration, packet.time_base, packet.stream = 1, Fraction(1, 1000), stream
        scratch.mux(packet)
    memory.seek(0)
    with av.open(memory) as scratch:
        added = out.add_stream_from_template(scratch.streams.subtitles[0], opaque=True)
    added.codec_context.extradata = DEFAULT_ENTRY
    added.time_base = time_base
    return added
