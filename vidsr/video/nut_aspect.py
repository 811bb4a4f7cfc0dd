"""The shape of pixels in a NUT header: FFmpeg writes it, but PyAV has no way to tell FFmpeg."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

__all__ = ["Shaped", "with_aspect"]

_STREAM = b"NS\x11\x40\x5b\xf2\xf9\xdb"  # startcode of a stream's header: NUT's specification
_CHECKSUM = 4
_POLYNOMIAL = 0x04C11DB7


def with_aspect(header: bytes, aspect: Fraction) -> bytes:
    """Return the header of a stream with one video, whose pixels are now `aspect` as wide as they are high.

    Args:
        header: As FFmpeg writes it: main header, one stream's header, and what follows.
        aspect: Not 0.

    Raises:
        ValueError: It is not such a header.
    """
    start = header.index(_STREAM) + len(_STREAM)
    length, begin = _read_number(header, start)
    body = header[begin : begin + length - _CHECKSUM]
    # The body ends with the shape, two numbers that are 0 where it is not known, and the kind of colour.
    if not body.endswith(b"\0\0\0") or header[begin + len(body) : begin + length] != _checksum(body):
        raise ValueError("this is no NUT header of FFmpeg's")
    body = body[:-3] + _number(aspect.numerator) + _number(aspect.denominator) + b"\0"
    size = _number(len(body) + _CHECKSUM)
    return header[:start] + size + body + _checksum(body) + header[begin + length :]


def _number(value: int) -> bytes:
    """Return a number as NUT writes it: seven bits a byte, the highest first."""
    data = bytes([value & 0x7F])
    while value := value >> 7:
        data = bytes([value & 0x7F | 0x80]) + data
    return data


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    while True:
        value = value << 7 | data[place] & 0x7F
        place += 1
        if data[place - 1] < 0x80:
            return value, place


def _checksum(data: bytes) -> bytes:
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_POLYNOMIAL if value & 1 << 31 else 0)) & 0xFFFFFFFF
    return value.to_bytes(4, "big")


class Shaped:
    """Hands bytes on, with the pixels' shape in the header, which comes first and at once."""

    def __init__(self, write: Callable[[bytes], int], aspect: Fraction) -> None:
        """Hand on to `write`; an aspect of 0 changes nothing."""
        self._write, self._aspect = write, aspect

    def write(self, data: bytes) -> int:
        """Take all of the data."""
        if self._aspect:
            self._write(with_aspect(bytes(data), self._aspect))
            self._aspect = Fraction(0)
        else:
            self._write(data)
        return len(data)
