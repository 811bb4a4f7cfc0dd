"""Whether a file is shorter than it says of itself: some end without an error where they were cut."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from vidsr.sources import Source

__all__ = ["missing_bytes"]

_MAX_BOXES = 10_000  # fragmented files have two for each second or so
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def missing_bytes(path: Source) -> int:
    """Return how many bytes lie beyond the end of a file by the word of its outermost structure.

    Known are MP4 and MOV (ISO/IEC 14496-12, 4.2), Matroska and WebM (RFC 8794, 4 to 6) and AVI's RIFF.
    0: none, another format, or no file.
    """
    if not isinstance(path, Path) or not path.is_file():
        return 0
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == _EBML.to_bytes(4, "big"):
            end = _end_of_segment(file)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            end = 8 + int.from_bytes(head[4:8], "little")
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            end = _end_of_boxes(file, size)
        else:
            end = 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Return where the last box ends that begins within the file."""
    place = 0
    for _ in range(_MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: it reaches to the end, wherever that is
            break
        place += length
        if place >= size:
            break
    return place


def _end_of_segment(file: BinaryIO) -> int:
    """Return where Matroska's one Segment ends; 0: it does not say."""
    file.seek(4)
    length = _number(file)
    if length is None:
        return 0
    file.seek(length, 1)
    if int.from_bytes(file.read(4), "big") != _SEGMENT:
        return 0
    length = _number(file)
    return 0 if length is None else file.tell() + length


def _number(file: BinaryIO) -> int | None:
    """Return an element's size; None: unknown, as in live streams, or no size at all."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    rest = file.read(more)
    if len(rest) < more:
        return None
    value = (first[0] & ((1 << (7 - more)) - 1)) << (8 * more) | int.from_bytes(rest, "big")
    return None if value == (1 << (7 * (more + 1))) - 1 else value
