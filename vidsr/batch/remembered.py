"""What earlier batches found to be the best number of workers: the one file that vidsr keeps of its own.

It holds digests, numbers and nothing that names a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidsr.errors import OutputError
from vidsr.video.parts import write_atomically

__all__ = ["described", "key_of", "recall", "remember", "workers_file"]

_KEPT = 200  # of the latest
_MOST_BYTES = 1 << 20


def workers_file() -> Path | None:
    """Return where it is, by the XDG rules; None: this user has no home."""
    asked = os.environ.get("XDG_CACHE_HOME", "")
    if Path(asked).is_absolute():
        return Path(asked) / "vidsr" / "workers.json"
    try:
        return Path.home() / ".cache" / "vidsr" / "workers.json"
    except RuntimeError:
        return None


def described() -> str:
    """Return where the file is and how large, in words."""
    path = workers_file()
    if path is None:
        return "nothing is kept: this user has no home"
    what = "how many workers were the fastest; it may be deleted"
    try:
        return f"{path}, {path.stat().st_size} bytes: {what}"
    except OSError:
        return f"absent; a batch with --workers auto makes {path}: {what}"


def key_of(facts: Mapping[str, Any]) -> str:
    """Return a digest of all that a number of workers was found for."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def recall(path: Path, key: str, candidates: Sequence[int]) -> dict[int, float] | None:
    """Return the frames a second that each number of workers made; None: that is not known."""
    entry = _entries(path).get(key)
    if not isinstance(entry, dict):
        return None
    try:
        found = {int(workers): float(fps) for workers, fps in entry.items()}
    except (TypeError, ValueError):
        return None
    known = list(found) == list(candidates[: len(found)]) and all(0 < fps < 1e9 for fps in found.values())
    return found if found and known else None


def remember(path: Path, key: str, found: Mapping[int, float]) -> None:
    """Keep what was measured. Where it cannot be kept, it is measured again next time."""
    entries = _entries(path)
    entries.pop(key, None)
    entries[key] = {str(workers): round(fps, 3) for workers, fps in found.items()}
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
