"""Fragmented MP4 (ISO/IEC 14496-12) by the packet: FFmpeg's muxer holds each until the next comes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Sample", "box", "fragment", "length_prefixed"]

_SYNC, _NOT_SYNC = 0x02000000, 0x01010000  # 8.8.3.1: depends on no other sample; depends on others
_DEFAULT_BASE_IS_MOOF = 0x020000
_EACH = 0x701  # of a run: offset of the data; of each sample duration, size and flags


@dataclass(frozen=True, slots=True)
class Sample:
    """A coded picture or block of sound."""

    data: bytes
    duration: int
    """Ticks of the track."""
    key: bool = True


def box(kind: bytes, *content: bytes) -> bytes:
    """Return a box of that type."""
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def fragment(number: int, track: int, time: int, samples: Sequence[Sample]) -> bytes:
    """Return ``moof`` and ``mdat`` of consecutive samples of a track.

    Args:
        number: Of the fragment, from 1 on.
        track: Its id.
        time: When the first is decoded, in ticks of the track; shown at the same time.
        samples: At least one.
    """
    entries = b"".join(
        struct.pack(">III", s.duration, len(s.data), _SYNC if s.key else _NOT_SYNC) for s in samples
    )

    def moof(offset: int) -> bytes:
        run = box(b"trun", struct.pack(">IIi", _EACH, len(samples), offset), entries)
        head = box(b"tfhd", struct.pack(">II", _DEFAULT_BASE_IS_MOOF, track))
        begun = box(b"tfdt", struct.pack(">IQ", 1 << 24, time))
        return box(b"moof", box(b"mfhd", struct.pack(">II", 0, number)), box(b"traf", head, begun, run))

    return moof(len(moof(0)) + 8) + box(b"mdat", *(s.data for s in samples))


def length_prefixed(stream: bytes) -> bytes:
    """Return H.264's units, each after its length (ISO/IEC 14496-15), from those between start codes."""
    parts: list[bytes] = []
    begin = stream.find(b"\0\0\1") + 3
    while begin > 2:
        following = stream.find(b"\0\0\1", begin)
        # A unit never ends in a zero byte: those belong to the next start code.
        unit = stream[begin : following if following >= 0 else None].rstrip(b"\0")
        parts += (struct.pack(">I", len(unit)), unit)
        begin = following + 3
    return b"".join(parts)
