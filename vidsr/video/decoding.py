"""Out of a file's packets: pictures, each with its time, and what could not be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import Any

import av

from vidsr.video.clock import RAGGED, UNORDERED, Clock
from vidsr.video.decoder import cropped, decoder_of

__all__ = ["Loss", "Picture", "decode"]

_HEAD = 256  # bytes in which a sequence header is looked for
_TRIES = 8  # to read on after an error, before the rest of the file is given up
# FFmpeg conceals damage in HEVC without telling. In H.264 and MPEG-2 it flags such pictures, and `explode`
# refuses there what plays well (streams that begin between two key frames).
# Of these each packet is a picture that is shown. Others have pictures that never are (VP8), or that only say
# "as before" (MPEG-4).
_ONE_EACH = frozenset("h264 hevc av1 vp9 mpeg2video prores ffv1 dnxhd mjpeg".split())
_STRICT = {"hevc": {"err_detect": "explode"}, "ffv1": {"err_detect": "explode"}}


@dataclass(slots=True)
class Picture:
    """A frame out of the decoder."""

    frame: av.VideoFrame
    pts: int | None
    """When it is shown, in ticks of its stream, on a clock that does not jump; None: not known."""
    shift: int
    """What was added to the file's own time, in ticks."""
    damaged: bool
    """Whether the decoder had to conceal something in it."""
    tail: bool = False
    """Whether it came with the last packet, or after it."""


@dataclass(slots=True)
class Loss:
    """Something that should have been a picture."""

    pts: int | None
    """When it would have been shown, where that is known."""
    why: str
    early: bool = False
    """Whether it lies before the first key frame, in the file or in time, as where a broadcast was joined."""
    tail: bool = False
    """Whether it was the last packet's."""


def decode(
    container: Any,
    stream: Any,
    clock: Clock,
    *,
    careful: bool,
    strict: bool = True,
    crop: tuple[int, int, int, int] | None = None,
    open_decoder: Callable[[Any], Any] = decoder_of,
) -> Iterator[Picture | Loss]:
    """Yield what comes out of a stream from where its file stands, in order of presentation.

    Args:
        container: The open file.
        stream: Its video, before anything was decoded.
        clock: Gives frames their times; a new one.
        careful: One frame at a time: slower, but each loss is told where it happens. With several frames
            at once FFmpeg hides some errors and loses good frames beside bad ones; then a first
            `Loss` only means that there is one about here.
        strict: Take as lost what FFmpeg would patch without telling (HEVC, FFV1).
        crop: What the container crops; see `container_crop`.
        open_decoder: Gives what decodes the stream's packets, once its options are set.

    Raises:
        av.FFmpegError, OSError: The file cannot be read any further.
    """
    stream.thread_type = "SLICE" if careful else "AUTO"
    context = stream.codec_context
    codec = context.codec.canonical_name
    if strict:
        context.options = {**context.options, **_STRICT.get(codec, {})}
    decoder = open_decoder(stream)
    outlet = _Outlet(clock, codec, container.format.name, crop, stream.time_base)
    end = None
    for packet, last in _with_last(_packets(container, stream)):
        if isinstance(packet, Loss):
            yield packet
        elif not packet.size:
            end = packet
        else:
            early = outlet.sent(packet)
            if packet.is_corrupt and not careful:
                yield Loss(None, "its container flags it as damaged", early, last)
            if outlet.resized(packet):
                yield from _rest(decoder, None, outlet, tail=False)
                decoder.flush_buffers()
            try:
                made = decoder.decode(packet)
            except av.FFmpegError as error:
                yield Loss(clock.lost(packet), error.strerror or str(error), early, last)
            else:
                yield from outlet.pictures(made, tail=last)
    yield from _rest(decoder, end, outlet, tail=True)
    yield from outlet.missing(tail=True)


class _Outlet:
    """The decoder's far end: frames get their times, and packets that gave none are found out."""

    def __init__(
        self,
        clock: Clock,
        codec: str,
        container: str,
        crop: tuple[int, int, int, int] | None,
        time_base: Fraction,
    ) -> None:
        self._clock, self._crop, self._time_base = clock, crop, time_base
        self._one_each = codec in _ONE_EACH and container not in UNORDERED
        self._ragged = container in RAGGED
        self._mpeg = codec in ("mpeg1video", "mpeg2video")
        self._size: bytes | None = None
        self._begun = False
        self._first: int | None = None
        self._early: set[int] = set()

    def sent(self, packet: Any) -> bool:
        """Note a packet that goes in; return whether it lies before the first key frame, in file or time."""
        pts = self._clock.sent(packet)
        if packet.is_keyframe and not self._begun:
            self._begun, self._first = True, pts
        early = self._ragged
        if self._begun:
            early = pts is not None and self._first is not None and pts < self._first
        if early and pts is not None:
            self._early.add(pts)
        return early

    def missing(self, before: int | None = None, *, tail: bool) -> Iterator[Loss]:
        """Yield what went in and was to be shown before a time, or at all, and can no longer come out."""
        if self._one_each:
            for gone in self._clock.passed(before):
                yield Loss(gone, "nothing comes out of the decoder for it", gone in self._early, tail)

    def resized(self, packet: Any) -> bool:
        """Tell whether the size changes here, where FFmpeg would lose the picture that waits for its turn."""
        if not (self._mpeg and packet.is_keyframe):
            return False
        head = bytes(packet)[:_HEAD]
        # ISO/IEC 13818-2, 6.2.2.1: behind this 12 bits of width and 12 of height.
        place = head.find(b"\0\0\1\xb3")
        before, self._size = self._size, head[place + 4 : place + 7] if place >= 0 else self._size
        return before is not None and before != self._size

    def pictures(self, frames: list[av.VideoFrame], *, tail: bool) -> Iterator[Picture | Loss]:
        """Yield what came out, and before it what did not."""
        for frame in frames:
            pts, shift = self._clock.of(frame)
            if pts is not None:
                yield from self.missing(pts, tail=tail)
            self._begun = self._begun or not frame.is_corrupt
            damaged = bool(frame.is_corrupt)
            shown = frame if self._crop is None else cropped(frame, self._crop, self._time_base)
            yield Picture(shown, pts, shift, damaged, tail)


def _with_last(packets: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    """Yield packets, and whether each is the last that is not empty."""
    current = next(packets, None)
    while current is not None:
        ahead = next(packets, None)
        yield current, ahead is None or (not isinstance(ahead, Loss) and not ahead.size)
        current = ahead


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield a stream's packets, and a `Loss` for what could not be read; then go on if possible."""
    failed = 0
    while failed < _TRIES:
        try:
            for packet in _in_time(container, stream):
                failed = 0
                # An empty packet without a time is PyAV's end of the file; there may be others.
                if packet.size or packet.dts is None:
                    yield packet
            return
        except (av.error.ExitError, TimeoutError):
            raise
        except (av.FFmpegError, OSError) as error:
            failed += 1
            yield Loss(None, f"it cannot be read here: {error.strerror or error}")


def _in_time(container: Any, stream: Any) -> Iterator[Any]:
    """Yield packets; of one that takes too long FFmpeg gives what it has so far, which is none."""
    packets = container.demux(stream)
    while True:
        began = perf_counter()
        packet = next(packets, None)
        if packet is None:
            return
        if container.read_timeout is not None and perf_counter() - began >= container.read_timeout:
            raise TimeoutError("nothing came for too long")
        yield packet


def _rest(decoder: Any, end: Any, outlet: _Outlet, *, tail: bool) -> Iterator[Picture | Loss]:
    """Yield what the decoder still holds; it takes nothing more then, unless it is flushed."""
    for _ in range(_TRIES):
        try:
            # Given PyAV's own last packet, these frames know their time base.
            made = decoder.decode(end)
        except av.error.EOFError:
            return
        except av.FFmpegError as error:
            yield Loss(None, error.strerror or str(error), tail=tail)
        else:
            yield from outlet.pictures(made, tail=tail)
            return
