"""What was measured on this machine, kept in the user's folder for caches: all that vidsr keeps of its own.

The files hold digests, numbers and nothing that names a file; each may be deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from vidsr.atomic import write_atomically
from vidsr.caches import cache_file
from vidsr.errors import OutputError

__all__ = ["described", "key_of", "recall", "remember"]

CLEARLY = 1.03
"""What is not ahead of the rule by this is not taken: smaller differences are noise."""

T = TypeVar("T")

_KEPT = 200  # of the latest
_MOST_BYTES = 1 << 20


def described(name: str, what: str, maker: str) -> str:
    """Return where a file is and how large, in words.

    Args:
        name: The file's.
        what: What it holds.
        maker: What makes it.
    """
    path = cache_file(name)
    if path is None:
        return "nothing is kept: this user has no home"
    try:
        return f"{path}, {path.stat().st_size} bytes: {what}; it may be deleted"
    except OSError:
        return f"absent; {maker} makes {path}: {what}"


def key_of(facts: Mapping[str, Any]) -> str:
    """Return a digest of all that something was measured for."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def recall(path: Path, key: str) -> dict[str, float] | None:
    """Return the frames a second that each candidate made, in the order tried; None: that is not known."""
    entry = _entries(path).get(key)
    if not isinstance(entry, dict) or not entry:
        return None
    try:
        found = {name: float(fps) for name, fps in entry.items()}
    except (TypeError, ValueError):
        return None
    return found if all(0 < fps < 1e9 for fps in found.values()) else None


def remember(path: Path, key: str, found: Mapping[str, float]) -> None:
    """Keep what was measured. Where it cannot be kept, it is measured again next time."""
    entries = _entries(path)
    entries.pop(key, None)
    entries[key] = {name: round(fps, 3) for name, fps in found.items()}
    latest = dict(list(entries.items())[-_KEPT:])
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(latest, indent=1) + "\n")


def compared(candidates: Mapping[str, T], rate: Callable[[T], float | None]) -> dict[str, float] | None:
    """Return what each candidate makes; None: it cannot be told.

    What seems to be ahead of the first, which is the rule, is tried once more, and so is the rule: other work
    on the machine only makes them slower, so the faster of two counts.
    """
    found: dict[str, float] = {}
    for name, candidate in candidates.items():
        if (fps := rate(candidate)) is None:
            return None
        found[name] = fps
    rule, best = next(iter(found)), best_of(found)
    if best != rule:
        for name in (rule, best):
            found[name] = max(found[name], rate(candidates[name]) or 0.0)
    return found


def best_of(found: Mapping[str, float]) -> str:
    """Return the candidate to take: the first, which is the rule, unless another is clearly ahead."""
    rule = next(iter(found))
    fastest = max(found, key=lambda name: found[name])
    return fastest if found[fastest] > CLEARLY * found[rule] else rule


def cached(file: Path | None, key: str, candidates: list[str]) -> dict[str, float] | None:
    """Return what these candidates made when they were measured; None: they were not."""
    found = None if file is None else recall(file, key)
    return found if found is not None and list(found) == candidates else None


def _entries(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        found = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
