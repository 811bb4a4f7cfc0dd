"""Which results would lie at one place, whether or not their ends are known yet."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from vidsr.batch.finding import real_place
from vidsr.batch.templates import PendingName
from vidsr.sources import Source

__all__ = ["Results", "ignores_case"]

_MOST_LOOKED_AT = 64  # names in a folder, to find one that has an upper and a lower case


def ignores_case(folder: Path) -> bool:
    """Return whether the file system takes ``A`` and ``a`` in a folder for one name; nothing is written.

    A folder that is not there yet will be like the nearest one that is; where nothing in it tells, its own
    name does, if it lies on the same file system. What cannot be told is taken for a file system that
    distinguishes.
    """
    folder = next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(_MOST_LOOKED_AT), entries, strict=False)]
        if not any(name.swapcase() != name for name in names):
            if folder.parent == folder or folder.stat().st_dev != folder.parent.stat().st_dev:
                return False
            folder, names = folder.parent, [folder.name]
        for name in names:
            other = name.swapcase()
            if other != name and other not in names:
                return os.path.lexists(folder / other) and os.path.samestat(
                    os.lstat(folder / name), os.lstat(folder / other)
                )
    except OSError:
        return False
    return False


class Results:
    """The places of results, each known by its index."""

    def __init__(self, results: Iterable[tuple[Path | None, PendingName | None]]) -> None:
        """Take the place of each result, without the suffix where it is pending; None: nothing is written."""
        self._cases: dict[Path, bool] = {}
        self._by_name: dict[str, list[tuple[int, frozenset[str]]]] = defaultdict(list)
        self._sizes: set[str] = set()
        self._all: list[tuple[int, str, frozenset[str]]] = []
        for index, (result, pending) in enumerate(results):
            if result is None:
                continue
            if pending is None:
                name, suffix = _split(self._place(result))
                suffixes = frozenset({suffix})
            else:
                name, suffixes = self._place(result), pending.suffixes
            self._by_name[name].append((index, suffixes))
            self._all.append((index, name, suffixes))
            if pending is not None and pending.size is not None:
                self._sizes.add(pending.size)

    def makers(self, source: Source) -> set[int]:
        """Return the results that are, or could become, the file `source`, or what it is a link to."""
        if isinstance(source, str):
            return set()
        found: set[int] = set()
        for path in {source, Path(os.path.realpath(source))}:
            name, suffix = _split(self._place(path))
            found |= self._at(name, frozenset({suffix}))
        return found

    def clashes(self) -> Iterator[tuple[int, int]]:
        """Yield each result with the first one that is, or could become, at the same place."""
        told: set[tuple[int, int]] = set()
        for index, name, suffixes in self._all:
            other = min(self._at(name, suffixes) - {index}, default=index)
            pair = (min(index, other), max(index, other))
            if other != index and pair not in told:
                told.add(pair)
                yield pair

    def _at(self, name: str, suffixes: frozenset[str]) -> set[int]:
        """Return the results that are, or could become, of this name with one of these suffixes."""
        return {
            index
            for known in self._as_asked(name)
            for index, its in self._by_name.get(known, ())
            if its & suffixes
        }

    def _as_asked(self, name: str) -> list[str]:
        """Return a name, and what it would be with a size as it was asked for: x1080 for 1920x1080."""
        names = [name]
        for size in self._sizes:
            digits = r"\d{1,5}"
            pattern = digits + re.escape(size) if size.startswith("x") else re.escape(size) + digits
            names += [
                name[: m.start()] + size + name[m.end() :] for m in re.finditer(pattern, name, re.ASCII)
            ]
        return names

    def _place(self, path: Path) -> str:
        place = real_place(path)
        if place.parent not in self._cases:
            self._cases[place.parent] = ignores_case(place.parent)
        return str(place).casefold() if self._cases[place.parent] else str(place)


def _split(place: str) -> tuple[str, str]:
    return os.path.splitext(place)  # noqa: PTH122 - of text
