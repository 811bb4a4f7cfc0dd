"""YUV4MPEG2: frames read and written where they lie.

A header line, then for each frame a line (``FRAME``, with parameters seldom) and its planes, rows without
padding, samples of more than 8 bits in two bytes, little-endian. Nothing else, no times and no length.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from vidsr.errors import DecodeError, ProbeError
from vidsr.frame import Frame
from vidsr.hosts.standard import Input, Output
from vidsr.hosts.y4m_header import Y4mHeader, parse_header
from vidsr.video.raw import Raw, allocate_raw

__all__ = ["Y4mReader", "Y4mWriter"]

_FRAME = b"FRAME"
_LONGEST = 4096  # of a line: more is none
_DAMAGED = "the program that sends it has failed, or its frames are not of the size that it said"


class Y4mReader:
    """Iterate over the frames of a stream, each in a block of its own; `Frame.pts` is its number.

    Attributes:
        header: What the stream says.
        parameters: Of frames that have some, by their number; whoever uses them takes them out.
        rate: Frames a second; 25 where the stream does not say.
        color: Of the frames; whoever knows better may set it.
    """

    def __init__(self, source: Input) -> None:
        """Read the header.

        Raises:
            ProbeError: It is none, or ends early.
            UnsupportedFormatError: Its frames are not of integer planes of 8 to 16 bits.
        """
        self._source = source
        line = self._line(b"")
        if line is None:
            raise ProbeError("the Y4M header does not end")
        self.header = parse_header(line)
        self.parameters: dict[int, bytes] = {}
        self.color = self.header.color()
        self.rate = self.header.rate or Fraction(25)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's planes."""
        return self.header.pixel_format.frame_bytes(self.header.width, self.header.height)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames that are left.

        Raises:
            DecodeError: The stream ends within one, or goes on with something else.
        """
        number = 0
        while self._next(number):
            raw = allocate_raw(self.header.pixel_format, (self.header.width, self.header.height))
            got = self._source.fill(raw.block.data)
            if self._source.stopped:
                return
            if got < len(raw.block):
                raise DecodeError(
                    f"the stream ends within frame {number}, after {got} of its {len(raw.block)} bytes",
                    hint="the program that sends it has failed; all frames before are whole",
                )
            yield Frame(
                planes=raw.planes,
                pixel_format=self.header.pixel_format,
                color=self.color,
                pts=number,
                duration=1,
                time_base=1 / self.rate,
            )
            del raw
            number += 1

    def _next(self, number: int) -> bool:
        """Read a frame's line; return whether there is a frame."""
        start = bytearray(len(_FRAME) + 1)
        got = self._source.fill(memoryview(start))
        if not got or self._source.stopped:
            return False
        if start == _FRAME + b"\n":
            return True
        if start == _FRAME + b" " and (line := self._line(bytes(start))) is not None:
            self.parameters[number] = line[len(_FRAME) :]
            return True
        if _FRAME.startswith(start[:got]):
            raise DecodeError(f"the stream ends within the line before frame {number}", hint=_DAMAGED)
        text = f"instead of frame {number} the stream goes on with {bytes(start)!r}"
        raise DecodeError(text, hint=_DAMAGED)

    def _line(self, begun: bytes) -> bytes | None:
        """Return the rest of a line behind what is read of it; None: it does not end."""
        line, one = bytearray(begun), bytearray(1)
        while len(line) < _LONGEST and self._source.fill(memoryview(one)):
            if one == b"\n":
                return bytes(line)
            line += one
        return None


class Y4mWriter:
    """Writes a stream; the frames that it gives out are written from where they were filled."""

    def __init__(self, target: Output, header: Y4mHeader, parameters: dict[int, bytes] | None = None) -> None:
        """Prepare; the header is written with the first frame.

        Args:
            target: Where to.
            header: The stream's.
            parameters: Of frames, by number: see `Y4mReader`.
        """
        self._target, self._header = target, header
        self._parameters = {} if parameters is None else parameters
        self._begun = False

    def allocate(self) -> Raw:
        """Return a frame to fill."""
        return allocate_raw(self._header.pixel_format, (self._header.width, self._header.height))

    def write(self, out: Raw) -> None:
        """Write a frame.

        Raises:
            OSError: It cannot be written.
        """
        self.begin()
        line = _FRAME + self._parameters.pop(out.pts, b"") + b"\n"
        self._target.write_all([line, out.block.data])

    def begin(self) -> None:
        """Write the header, unless it is written."""
        if not self._begun:
            self._target.write_all([self._header.line()])
            self._begun = True

    def close(self) -> None:
        """Write what a stream without frames has too."""
        self.begin()
