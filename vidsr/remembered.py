"""What was measured on this machine, kept in the user's folder for caches: all that vidsr keeps of its own.

The files hold digests, numbers and nothing that names a file; each may be deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidsr.atomic import write_atomically
from vidsr.caches import cache_file
from vidsr.errors import OutputError

__all__ = ["described", "key_of", "recall", "remember"]

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


def _entries(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        found = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
