"""Ways in which a file's bytes go wrong."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["KINDS", "mutate"]

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(data: bytes, other: bytes, rnd: random.Random) -> tuple[str, bytes]:
    """Return the name of a mutation, drawn at random, and the bytes after it.

    Args:
        data: The file.
        other: Another file, for splices.
        rnd: Decides everything.
    """
    name = rnd.choice(sorted(KINDS))
    return name, bytes(KINDS[name](bytearray(data), other, rnd))


def _flip(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    for _ in range(rnd.choice((1, 3, 10, 50, 200))):
        data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
    return data


def _flip_head(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    for _ in range(rnd.choice((1, 2, 5, 20))):
        data[rnd.randrange(min(1000, len(data)))] ^= 1 << rnd.randrange(8)
    return data


def _flip_tail(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    for _ in range(rnd.choice((1, 2, 5, 20))):  # where MP4 has its tables
        data[-1 - rnd.randrange(min(2500, len(data)))] ^= 1 << rnd.randrange(8)
    return data


def _truncate(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    return data[: rnd.randrange(len(data))]


def _shuffle(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    size = rnd.choice((16, 188, 1024, 4096))
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    first = rnd.randrange(len(chunks))
    part = chunks[first : first + 8]
    rnd.shuffle(part)
    chunks[first : first + 8] = part
    return bytearray(b"".join(chunks))


def _splice(data: bytearray, other: bytes, rnd: random.Random) -> bytearray:
    """Another file's head before this one's rest."""
    return bytearray(other[: rnd.randrange(1, min(4096, len(other)))]) + data[rnd.randrange(len(data)) :]


def _insert(data: bytearray, other: bytes, rnd: random.Random) -> bytearray:
    place, begin = rnd.randrange(len(data)), rnd.randrange(len(other))
    return data[:place] + other[begin : begin + rnd.randrange(1, 4096)] + data[place:]


def _blank(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    place, size = rnd.randrange(len(data)), rnd.choice((4, 64, 1024, 8192))
    fill = rnd.choice((b"\0", b"\xff"))
    data[place : place + size] = fill * len(data[place : place + size])
    return data


def _extreme(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    """Numbers that lie: sizes, counts, rates, lengths."""
    for _ in range(rnd.choice((1, 2, 4))):
        size = rnd.choice((1, 2, 4))
        place = rnd.choice(
            (rnd.randrange(min(1500, len(data))), len(data) - 1 - rnd.randrange(min(2500, len(data))))
        )
        value = rnd.choice(_EXTREMES) & ((1 << (8 * size)) - 1)
        data[place : place + size] = value.to_bytes(size, rnd.choice(("big", "little")))
    return data


def _repeat(data: bytearray, _: bytes, rnd: random.Random) -> bytearray:
    place, size = rnd.randrange(len(data)), rnd.choice((188, 1024, 8192))
    return data[:place] + data[place : place + size] * rnd.choice((2, 3, 20)) + data[place + size :]


KINDS: dict[str, Callable[[bytearray, bytes, random.Random], bytearray]] = {
    "bit flips": _flip,
    "bit flips at the head": _flip_head,
    "bit flips at the tail": _flip_tail,
    "truncation": _truncate,
    "shuffled chunks": _shuffle,
    "spliced header": _splice,
    "inserted piece": _insert,
    "blanked piece": _blank,
    "lying numbers": _extreme,
    "repeated piece": _repeat,
}
"""By name; each takes the bytes, another file's bytes, and the dice."""
