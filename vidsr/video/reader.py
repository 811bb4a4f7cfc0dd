"""Frames out of a file: in order, each once, with its own time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.container

from vidsr.errors import DecodeError
from vidsr.frame import Frame, VideoInfo
from vidsr.job import OnError
from vidsr.sources import parse_source
from vidsr.video.clock import UNORDERED, Clock
from vidsr.video.decoder import decoder_of
from vidsr.video.decoding import decode
from vidsr.video.deinterlace import Decoded, Deinterlacer, Deinterlacing
from vidsr.video.framing import changes, made_frame
from vidsr.video.hardware import Decoding, FellBackError, HardwareDecoder
from vidsr.video.opening import open_info, translate
from vidsr.video.probe import READ_TIMEOUT, video_stream
from vidsr.video.repairs import LookCloserError, Repairs
from vidsr.video.surface import is_surface
from vidsr.video.truncation import missing_bytes
from vidsr.video.weaving import Weaver

__all__ = ["Reader", "Span", "ticks_at"]

_SEEK_MARGIN_S = 1  # MPEG-TS lands too late without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which frames of a source are wanted; times are seconds from the first frame."""

    start: float | None = None
    end: float | None = None
    frames: int | None = None
    """At most so many."""


class Reader:
    """Iterate over the frames of a source once; use it in a ``with``.

    Frames come in presentation order with strictly increasing pts. A missing or repeated time stamp
    gets the smallest step that keeps this, and `warnings` says so.
    """

    def __init__(
        self,
        info: VideoInfo,
        span: Span | None = None,
        *,
        after: int | None = None,
        until: Callable[[int], bool] = lambda _: False,
        deinterlace: Deinterlacing | None = None,
        on_error: OnError = "stop",
        sequential: bool = False,
        decoding: Decoding | None = None,
    ) -> None:
        """Prepare to read.

        Args:
            info: What `probe` said of the source, `in_fields` where each field becomes a frame.
            span: Which frames; all by default.
            after: Skip the frames up to and including the one with this pts; `Span.frames` still
                counts from the span's first frame, so give what is left of it.
            until: Asked with each frame's pts, in order; true ends the reading before that frame.
            deinterlace: What becomes of interlaced frames; None: nothing.
            on_error: What becomes of damage; see `Job.on_error`.
            sequential: Read from the file's beginning even where only a later part is wanted, because its
                clock jumps.
            decoding: What decodes; None: the CPU.
        """
        self._warnings: list[str] = []
        self._clock: Clock | None = None
        self._info = info
        deinterlace = deinterlace or Deinterlacing()
        # Frames out of one decoded frame, and ticks of `info` in one of the file's.
        self._each = 2 if deinterlace.mode == "field" else 1
        self._rate = None if info.frame_rate is None else info.frame_rate / self._each
        # Of the decoder's pictures, two of which may be a frame.
        self._pictures = 2 if info.fields else 1
        self._picture_rate = None if self._rate is None else self._rate * self._pictures
        self._deinterlacer = Deinterlacer(deinterlace, info.pixel_format, self._rate, self._warn)
        self._span = span or Span()
        self._after, self._until = after, until
        self._sequential = sequential or info.container in UNORDERED
        self._careful = False
        self._decoding = decoding or Decoding(info.codec)
        self._decoders: dict[str, None] = {}
        self._strict = on_error != "conceal"
        self._repairs = Repairs(info, on_error, self._warn, each=self._each, rate=self._picture_rate)
        self._frames = self._read()

    @property
    def warnings(self) -> list[str]:
        """What was unusual so far, one sentence each, each once."""
        base = self._info.time_base * self._each
        first = self._info.start_pts * self._info.time_base
        jumps = [
            f"the file's clock jumps by {float(jump.by * base):+.3f} s"
            f" at {float(jump.pts * base - first):.3f} s: times go on from there"
            for jump in (self._clock.jumps if self._clock else ())
        ]
        wrong = self._clock.impossible if self._clock else 0
        told = [f"{wrong} presentation times are impossible: the decoding times decide"] if wrong else []
        return [*self._warnings, *jumps, *told, *self._repairs.sentences]

    @property
    def deinterlaced(self) -> str:
        """What became of interlaced frames so far, in words."""
        woven = "fields woven in pairs; " if self._info.fields else ""
        return woven + self._deinterlacer.sentence

    @property
    def decoder(self) -> str:
        """What decoded so far, in words."""
        return "; then ".join(self._decoders) or self._decoding.sentence

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's planes."""
        return self._info.pixel_format.frame_bytes(self._info.width, self._info.height)

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames."""
        return self._frames

    def __enter__(self) -> Reader:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file. While another thread is iterating, close that thread's work first."""
        self._frames.close()  # type: ignore[attr-defined]

    def _read(self) -> Iterator[Frame]:
        info, span = self._info, self._span
        first = info.start_pts
        begin = first if span.start is None else first + ticks_at(span.start, info.time_base)
        stop = None if span.end is None else first + ticks_at(span.end, info.time_base)
        begin = begin if self._after is None else max(begin, self._after + 1)
        count = 0
        for decoded in self._deinterlacer.frames(map(self._looked_at, self._whole(begin))):
            if decoded.pts < begin:
                continue
            if (stop is not None and decoded.pts >= stop) or count == span.frames:
                return
            if self._until(decoded.pts):
                return
            count += 1
            self._deinterlacer.count(decoded)
            yield made_frame(decoded, self._info, self._warn)

    def _whole(self, begin: int) -> Iterator[Decoded]:
        """Yield the file's frames, woven where each of its pictures is a field."""
        pictures = self._decode(begin)
        if not self._info.fields:
            return pictures
        ticks = round(1 / (self._rate or 25) / self._info.time_base)
        return Weaver(self._info, ticks, self._warn).frames(pictures, begin)

    def _decode(self, begin: int) -> Iterator[Decoded]:
        """Yield the file's pictures from at least one frame before the frame that shows `begin` on."""
        try:
            yield from self._decode_from(begin, sequential=self._sequential)
        except FellBackError as error:
            # Before its first frame, so nothing was handed out.
            self._on_the_cpu(str(error))
            yield from self._decode(begin)
        except LookCloserError:
            self._careful = True
            # Where a GPU stumbled, the CPU may find no damage at all.
            self._on_the_cpu("something is damaged, or the GPU failed")
            last = self._repairs.last
            begin = begin if last is None else max(begin, last + 1)
            # From the beginning: what a search in a damaged file finds is not to be relied on.
            again = self._decode_from(begin, sequential=True)
            yield from (decoded for decoded in again if last is None or decoded.pts > last)

    def _on_the_cpu(self, why: str) -> None:
        """Leave the GPU, where there was one."""
        if self._decoding.gpu:
            self._decoding = Decoding(self._info.codec, why=why)
            self._warn(f"decoded on the CPU: {why}")

    def _open_decoder(self, stream: Any) -> Any:
        """Return what decodes the stream's packets."""
        if not self._decoding.gpu:
            return decoder_of(stream)
        return HardwareDecoder(stream, self._info, resident=self._decoding.resident)

    def _decode_from(self, begin: int, *, sequential: bool) -> Iterator[Decoded]:
        info = self._info
        rate = self._rate if info.still else None
        with open_info(info, frame_rate=rate, timeout=READ_TIMEOUT) as container:
            stream = video_stream(container, info.path, info.stream_index)
            sought = False
            if begin > info.start_pts and not info.still and not sequential:
                margin = int(_SEEK_MARGIN_S / info.time_base)
                sought = self._seek(container, stream, max(info.start_pts, begin - margin) // self._each)
                if not sought:
                    # A failed search leaves the file anywhere: it is opened anew.
                    yield from self._decode_from(begin, sequential=True)
                    return
            decoded = self._decoded(container, stream, sought)
            if sought:
                # Of fields, the first may be the second half of a frame.
                needed = self._each + (2 if info.fields else 0)
                lead = list(islice(decoded, needed))
                if len(lead) < needed or lead[-1].pts >= begin:
                    # It landed too late, behind a key frame that is needed.
                    yield from self._decode_from(begin, sequential=True)
                    return
                yield from lead
            yield from decoded

    def _decoded(self, container: Any, stream: Any, sought: bool) -> Iterator[Decoded]:
        """Yield what comes out of the decoder from here on, each frame with its time."""
        info = self._info
        clock = Clock(info.container, stream.time_base or Fraction(1, 90000), self._picture_rate)
        self._clock = clock
        self._repairs.begin_anew()
        items = decode(
            container,
            stream,
            clock,
            careful=self._careful,
            strict=self._strict,
            crop=info.crop,
            open_decoder=self._open_decoder,
        )
        try:
            yield from self._repairs.frames(items, careful=self._careful, sought=sought)
            self._repairs.ended(missing_bytes(parse_source(info.path)))
        except (av.FFmpegError, OSError) as error:
            last = self._repairs.last
            done = "the first frame" if last is None else f"{float(last * info.time_base):.3f} s"
            raise translate(error, info.path, DecodeError, f"decoding failed after {done}") from error

    def _seek(self, container: Any, stream: Any, pts: int) -> bool:
        try:
            container.seek(pts, stream=stream)
        except (av.FFmpegError, OSError):
            self._warn("the source cannot be searched: it is decoded from its beginning")
            return False
        return True

    def _looked_at(self, decoded: Decoded) -> Decoded:
        """Note what decoded a frame, and warn where it is not as the first one."""
        stays = is_surface(decoded.frame)
        self._decoders[(self._decoding if stays else self._decoding.staying(None)).sentence] = None
        for text in changes(decoded.frame, self._info):
            self._warn(text)
        return decoded

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)


def ticks_at(seconds: float, time_base: Fraction) -> int:
    """Return the first tick at or after `seconds`."""
    return -int(-Fraction(seconds).limit_denominator(10**6) // time_base)
