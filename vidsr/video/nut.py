"""Raw video in NUT, as a stream: the frames, their times and their shape, read and written once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
import av.container

from vidsr.errors import DecodeError, OutputError, ProbeError, UnsupportedFormatError
from vidsr.frame import ColorInfo, Frame, PixelFormat
from vidsr.video.convert import to_planar
from vidsr.video.formats import color_of, nearest_planar, planes_of
from vidsr.video.nut_aspect import Shaped
from vidsr.video.opening import LENIENT
from vidsr.video.raw import Raw, allocate_raw

__all__ = ["MAGIC", "NutHeader", "NutReader", "NutWriter"]

MAGIC = b"nut/multimedia container\0"
_BUFFER = 1 << 20
_BETWEEN = 4096  # bytes between frames beyond which something was skipped: syncpoints take some dozens
_RAW = "ask for raw video alone: -f nut -c:v rawvideo -an -sn -dn"
_DAMAGED = "the program that sends it has failed"


class Source(Protocol):
    """What bytes are read from."""

    count: int
    """Read so far."""
    tail: bytes
    """The last 12 of them."""

    @property
    def stopped(self) -> bool:
        """Whether reading was ended from outside."""

    def read(self, most: int = -1, /) -> bytes:
        """Return so many bytes, fewer at the end."""


class Target(Protocol):
    """What bytes are written to."""

    closed_early: bool
    """Whether whoever read them has gone away."""

    def write(self, data: bytes, /) -> int:
        """Write all of it."""


@dataclass(frozen=True, slots=True)
class NutHeader:
    """What a stream says of itself."""

    width: int
    """Pixels."""
    height: int
    pixel_format: PixelFormat
    """What its frames become."""
    color: ColorInfo
    rate: Fraction | None
    """Frames a second, about; None: not known."""
    aspect: Fraction
    """Width of a pixel divided by its height; 0: not known."""
    time_base: Fraction
    """Seconds a tick."""


class NutReader:
    """Iterate over the frames of a stream, `Frame.pts` as it is there; close it in the thread that reads.

    Attributes:
        header: What the stream says.
        color: Of the frames; whoever knows better may set it.
        warnings: What was unusual, a sentence each.
    """

    def __init__(self, source: Source) -> None:
        """Read up to the first frame.

        Raises:
            ProbeError: It is no NUT, or there is no frame.
            UnsupportedFormatError: There is more in it than raw video, or in no layout that is known.
        """
        self.warnings: list[str] = []
        self._source = source
        try:
            # Nothing is looked for beyond the header: the frames are raw.
            self._container: Any = av.open(
                source,
                format="nut",
                buffer_size=_BUFFER,
                container_options={"probesize": "32", "analyzeduration": "0"},
                **LENIENT,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise ProbeError(f"the NUT stream cannot be opened ({_said(error)})", hint=_DAMAGED) from error
        try:
            self._open()
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> None:
        streams = self._container.streams
        kinds = [f"{s.type} ({s.codec_context.name if s.codec_context else 'unknown'})" for s in streams]
        if kinds != ["video (rawvideo)"]:
            raise UnsupportedFormatError(f"the NUT stream holds {', '.join(kinds) or 'nothing'}", hint=_RAW)
        self._stream = stream = streams.video[0]
        self._end = 0
        self._items = self._packets()
        self._first = next(self._items, None)
        if self._first is None:
            raise ProbeError("there is no frame in the NUT stream", hint=_DAMAGED)
        frame = self._decoded(self._first)
        pixels = nearest_planar(frame.format.name)
        self.color = color_of(frame, pixels, None)
        rate = stream.average_rate or stream.guessed_rate
        self.header = NutHeader(
            width=frame.width,
            height=frame.height,
            pixel_format=pixels,
            color=self.color,
            rate=Fraction(rate) if rate else None,
            aspect=Fraction(stream.sample_aspect_ratio or 0),
            time_base=Fraction(stream.time_base),
        )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's planes."""
        return self.header.pixel_format.frame_bytes(self.header.width, self.header.height)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            DecodeError: The stream is damaged, or ends early.
        """
        try:
            packet, self._first = self._first, None
            while packet is not None:
                yield self._frame(packet)
                packet = next(self._items, None)
        finally:
            self._container.close()

    def close(self) -> None:
        """Close it, where nothing iterates over it."""
        self._container.close()

    def _packets(self) -> Iterator[Any]:
        number, last, size = 0, -(1 << 63), 0
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size or self._source.stopped:
                    break
                if packet.is_corrupt or packet.pts is None:
                    raise DecodeError(f"the stream ends within frame {number}", hint=_DAMAGED)
                if packet.pos is not None and number and packet.pos - self._end > _BETWEEN:
                    lost = packet.pos - self._end
                    raise DecodeError(f"{lost} bytes before frame {number} are damaged", hint=_DAMAGED)
                if packet.pts <= last:
                    raise DecodeError(f"the time goes back before frame {number}", hint=_DAMAGED)
                size = size or packet.size
                if packet.size != size:
                    text = (
                        f"instead of frame {number} the stream goes on with {packet.size} bytes, not {size}"
                    )
                    raise DecodeError(text, hint=_DAMAGED)
                last = packet.pts
                self._end = (packet.pos or 0) + packet.size
                yield packet
                number += 1
        except (av.FFmpegError, OSError) as error:
            text = f"the stream breaks off after {number} frames ({_said(error)})"
            raise DecodeError(text, hint=_DAMAGED) from error
        if not self._source.stopped:
            self._look_at_the_end(number)

    def _look_at_the_end(self, number: int) -> None:
        """Tell a stream that was cut from a whole one, which ends with an index."""
        # Its last bytes are its own length and a checksum.
        length = int.from_bytes(self._source.tail[:8], "big") if len(self._source.tail) == 12 else 0
        rest = self._source.count - self._end
        index = length if length <= rest else 0
        if rest - index > _BETWEEN:
            lost = rest - index
            raise DecodeError(f"{lost} bytes after {number} frames are damaged, up to the end", hint=_DAMAGED)
        if not index:
            self.warnings.append("the stream ends without NUT's index: it may have been cut off")

    def _decoded(self, packet: Any) -> av.VideoFrame:
        try:
            (frame,) = self._stream.codec_context.decode(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            text = f"the stream goes on with {packet.size} bytes that are no whole frame ({_said(error)})"
            raise DecodeError(text, hint=_DAMAGED) from error
        return frame  # type: ignore[no-any-return]

    def _frame(self, packet: Any) -> Frame:
        head = self.header
        planar = to_planar(self._decoded(packet), head.pixel_format, head.width, head.height)
        return Frame(
            planes=planes_of(planar),
            pixel_format=head.pixel_format,
            color=self.color,
            pts=packet.pts,
            duration=packet.duration or 0,
            time_base=head.time_base,
            origin=planar,
        )


class NutWriter:
    """Writes a stream; the frames that it gives out are written from where they were filled."""

    def __init__(self, target: Target, header: NutHeader) -> None:
        """Write the header: frames in its size and layout, times in its time base.

        Raises:
            UnsupportedFormatError: NUT has no name for the layout.
            BrokenPipeError: Whoever read the stream has gone away.
            OutputError: It cannot be written.
        """
        self._target, self._header = target, header
        shaped = Shaped(target.write, header.aspect)
        self._container: Any = av.open(shaped, "w", format="nut", buffer_size=_BUFFER)
        try:
            stream: Any = self._container.add_stream("rawvideo", rate=header.rate or Fraction(25))
            stream.width, stream.height = header.width, header.height
            stream.pix_fmt = header.pixel_format.name
            stream.codec_context.time_base = stream.time_base = header.time_base
            self._container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            self._drop()
            raise UnsupportedFormatError(
                f"{header.width}x{header.height} {header.pixel_format.name} cannot be written as NUT"
                f" ({_said(error)})",
                hint="--to y4m may know it",
            ) from error
        self._stream = stream

    def allocate(self) -> Raw:
        """Return a frame to fill."""
        return allocate_raw(self._header.pixel_format, (self._header.width, self._header.height))

    def write(self, out: Raw) -> None:
        """Write a frame.

        Raises:
            BrokenPipeError: Whoever read the stream has gone away.
            OutputError: It cannot be written.
        """
        block: Any = out.block  # not copied
        packet: Any = av.Packet(block)
        packet.stream, packet.time_base = self._stream, self._header.time_base
        packet.pts = packet.dts = out.pts
        packet.duration = out.duration
        packet.is_keyframe = True
        try:
            self._container.mux(packet)
        except BrokenPipeError:
            raise
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"NUT cannot be written ({_said(error)})") from error

    def close(self) -> None:
        """Write what a whole stream ends with."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def drop(self) -> None:
        """Let go of it; nothing more is written that anybody would read."""
        self._target.closed_early = True
        self._drop()

    def _drop(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            with suppress(av.FFmpegError, OSError, ValueError):
                container.close()


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
