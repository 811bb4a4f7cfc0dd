"""The source's other streams on their way into the result: added before the header, then packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av

from vidsr.frame import OtherStream, VideoInfo
from vidsr.video.carrying import CarryPlan
from vidsr.video.clock import SharedClock
from vidsr.video.copying import add_copy
from vidsr.video.latm import LatmConverter, add_aac
from vidsr.video.opening import open_info
from vidsr.video.subtitles import TextConverter, add_text
from vidsr.video.tags import stream_tags

if TYPE_CHECKING:
    from vidsr.video.muxer import Timeline

__all__ = ["Timed", "Tracks", "copy_stream_tags"]

Timed = tuple[float, int, Any]
"""Decoding time in seconds, stream index, packet."""

_MIME = {"mjpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "tiff": "image/tiff"}
_SUFFIXES = {"mjpeg": "jpg", "tiff": "tif"}


@dataclass(slots=True)
class _Track:
    """One stream of the result."""

    stream: Any
    converter: TextConverter | LatmConverter | None = None
    last: int | None = None
    """Decoding time of its last packet, in ticks of `stream`."""
    following: Fraction | None = None
    """Second of the source at which its next packet begins, as far as the last one's length tells."""
    begun: int | None = None
    """Decoding time of its last packet in the source, in the source's ticks."""


class Tracks:
    """All streams that go along."""

    def __init__(self, out: Any, source: Any, info: VideoInfo, plan: CarryPlan) -> None:
        """Take them from `source`, the open file that `info` is about, into `out`; nothing is added yet."""
        self._out, self._source, self._info, self._plan = out, source, info, plan
        self._tracks: dict[int, _Track] = {}

    def add(self, other: OtherStream) -> None:
        """Add a stream to the result, if it goes along; the header must not be written yet."""
        stream = self._source.streams[other.index]
        codec = dict(self._plan.converted).get(other.index)
        form = self._plan.container.form
        if codec == "aac":
            added, converter = add_aac(self._out, stream, self._info)
            self._tracks[other.index] = _Track(added, converter)
        elif codec is not None:
            added = add_text(self._out, codec, stream.time_base)
            self._tracks[other.index] = _Track(added, TextConverter(stream, other.codec, codec))
        elif other.index not in self._plan.copied:
            return
        elif other.cover and form == "matroska":
            self._attach(stream, other)
            return
        else:
            added = add_copy(self._out, stream, other.codec, bare=other.wave and form == "matroska")
            self._tracks[other.index] = _Track(added)
        copy_stream_tags(stream, added)

    def packets(self, timeline: Timeline) -> Iterator[Timed]:
        """Yield the packets of all streams with their times in the result."""
        moving = [self._source.streams[index] for index in self._tracks]
        if not moving:
            return
        latest, clock = 0.0, SharedClock(timeline.shifts)
        for packet in self._source.demux(moving):
            if packet.size == 0:
                continue
            _move(packet, clock)
            track = self._tracks[packet.stream.index]
            if packet.stream.disposition & av.stream.Disposition.attached_pic:
                packet.pts = packet.dts = 0  # the muxer keeps it until the end
            elif not self._placed(packet, track, timeline):
                continue
            if track.converter is not None:
                packet, _ = track.converter.convert(packet)  # what is lost was told before
                if packet is None:
                    continue
            packet.stream = track.stream
            _keep_order(packet, track)
            latest = max(latest, float(packet.dts * packet.time_base))
            yield latest, track.stream.index, packet

    def _attach(self, stream: Any, other: OtherStream) -> None:
        """Add cover art as Matroska holds it: as an attached file, whose name says what it is."""
        name = f"cover.{_SUFFIXES.get(other.codec, other.codec)}"
        tags = dict(stream.metadata)
        with open_info(self._info) as again:  # a search back to the start may lose sound before zero
            packets = again.demux(again.streams[other.index])
            picture = next((bytes(packet) for packet in packets if packet.size), b"")
        added = self._out.add_attachment(
            tags.get("filename", name), tags.get("mimetype", _MIME[other.codec]), picture
        )
        if "title" in tags:
            added.metadata["title"] = tags["title"]

    @staticmethod
    def _placed(packet: Any, track: _Track, timeline: Timeline) -> bool:
        """Give a packet its times in the result; False: it lies outside of the stretch that is shown."""
        unit, is_text = packet.time_base, packet.stream.type == "subtitle"
        if packet.dts is None and packet.pts is None:
            # Without any time: it follows the one before.
            start = timeline.origin if track.following is None else track.following
            packet.pts = packet.dts = round(start / unit)
        time = packet.pts if packet.pts is not None else packet.dts
        over = time + (packet.duration or 0)
        decoded = packet.dts if packet.dts is not None else time
        if not packet.duration and not is_text:
            # MP4 does not show a last packet without a length: it lasts as long as the one before.
            packet.duration = max(0, decoded - track.begun) if track.begun is not None else 0
            over = time + packet.duration
        track.begun = decoded
        track.following = (decoded + (packet.duration or 0)) * unit
        if timeline.end is not None and time * unit >= timeline.end:
            return False
        early = timeline.begin is not None and time * unit < timeline.begin
        if early and not (is_text and over * unit > timeline.begin):
            return False
        begin = round(timeline.origin / unit)
        # A subtitle that is already shown when the stretch begins is shown from its first frame.
        gone = max(0, begin - time) if early else 0
        packet.pts = time + gone - begin
        packet.duration = max(0, (packet.duration or 0) - gone)
        packet.dts = packet.pts if is_text else decoded - begin
        return True


def _move(packet: Any, clock: SharedClock) -> None:
    """Put a packet's times onto the clock that goes on where the source's jumps."""
    if packet.pts is None and packet.dts is None:
        return
    ticks = round(clock.shift(packet) / packet.time_base)
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def copy_stream_tags(source: Any, target: Any) -> None:
    """Copy tags and dispositions of a stream."""
    target.metadata.update(stream_tags(source.metadata))
    target.disposition = source.disposition


def _keep_order(packet: Any, track: _Track) -> None:
    """Move a decoding time that does not come after the one before, which no muxer would take."""
    unit = track.stream.time_base
    ticks = _nearest(packet.dts * packet.time_base / unit)
    # Subtitles and data may come together.
    least = None if track.last is None else track.last + (packet.stream.type in ("audio", "video"))
    if least is not None and ticks < least:
        shown = _nearest(packet.pts * packet.time_base / unit)
        length = _nearest((packet.duration or 0) * packet.time_base / unit)
        packet.time_base = unit
        packet.dts, packet.pts, packet.duration = least, max(least, shown), length
        ticks = least
    elif packet.pts < packet.dts:
        packet.pts = packet.dts
    track.last = ticks


def _nearest(value: Fraction) -> int:
    return int((value + Fraction(1, 2)) // 1)
