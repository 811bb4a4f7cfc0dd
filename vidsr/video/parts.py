"""Finished segments in a work folder: each has a record beside it, written when it is whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from vidsr.atomic import write_atomically

__all__ = [
    "Part",
    "folder_of",
    "read_cuts",
    "read_part",
    "read_parts",
    "write_cuts",
    "write_part",
]

_CUTS = "cuts.json"
_LONGEST_NAME = 255  # bytes of a file name, on most file systems


@dataclass(frozen=True, slots=True)
class Part:
    """A finished segment as the muxer needs it."""

    path: Path
    start: int
    """Pts of its first frame in the source, in ticks of the writer's time base."""
    pts: tuple[int, ...]
    """Times of its frames in presentation order, relative to `start`; none: nothing is shown in it, and
    there is no file."""
    reorder: int
    """See `SegmentWriter.reorder`."""
    shifts: tuple[int, ...] = (0,)
    """What its frames' times were moved by where the source's clock jumps, in order; ticks."""


def folder_of(output: Path) -> Path:
    """Return the work folder of an output."""
    name = output.name
    if len(os.fsencode(name)) + len(".vidsr") > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{os.fsencode(name)[:200].decode(errors='ignore')}~{digest}"
    return output.with_name(name + ".vidsr")


def write_part(folder: Path, number: int, part: Part) -> None:
    """Note that a segment is whole.

    Raises:
        OutputError: It cannot be noted.
    """
    entry = {
        "file": part.path.name,
        "bytes": part.path.stat().st_size if part.pts else 0,
        "start": part.start,
        "pts": part.pts,
        "reorder": part.reorder,
        "shifts": part.shifts,
    }
    write_atomically(folder / f"{number:06d}.json", json.dumps(entry))


def read_parts(folder: Path, *, named: bool) -> dict[int, Part]:
    """Return the segments that are whole, by number.

    Args:
        folder: The work folder.
        named: Whether files that are gone count as well: they have got their final names.

    Raises:
        OSError, ValueError, KeyError, TypeError: A record cannot be read.
    """
    parts: dict[int, Part] = {}
    for record in sorted(folder.glob("[0-9]" * 6 + ".json")):
        part = read_part(folder, int(record.stem), named=named)
        if part is not None:
            parts[int(record.stem)] = part
    return parts


def read_part(folder: Path, number: int, *, named: bool = False) -> Part | None:
    """Return a segment if it is whole; arguments and errors as for `read_parts`."""
    record = folder / f"{number:06d}.json"
    if not record.exists():
        return None
    entry = json.loads(record.read_text(encoding="utf-8"))
    path = folder / entry["file"]
    if entry["pts"] and path.exists():
        if path.stat().st_size != entry["bytes"]:
            return None
    elif entry["pts"] and not named:
        return None
    return Part(path, entry["start"], tuple(entry["pts"]), entry["reorder"], tuple(entry["shifts"]))


def read_cuts(folder: Path) -> tuple[int, ...]:
    """Return where a job's segments begin, in ticks of its source; (): each is cut as it is made.

    Raises:
        OSError, ValueError: They cannot be read.
    """
    file = folder / _CUTS
    return tuple(map(int, json.loads(file.read_text(encoding="utf-8")))) if file.exists() else ()


def write_cuts(folder: Path, cuts: tuple[int, ...]) -> None:
    """Note where a job's segments begin, so that they can be made in any order.

    Raises:
        OutputError: It cannot be noted.
    """
    write_atomically(folder / _CUTS, json.dumps(cuts))
