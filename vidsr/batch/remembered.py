"""What earlier batches found to be the best number of workers, in a file of `vidsr.remembered`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vidsr import remembered
from vidsr.caches import cache_file
from vidsr.remembered import key_of

__all__ = ["key_of", "recall", "remember", "workers_file"]


def workers_file() -> Path | None:
    """Return where it is; None: this user has no home."""
    return cache_file("workers.json")


def recall(path: Path, key: str, candidates: Sequence[int]) -> dict[int, float] | None:
    """Return the frames a second that each number of workers made; None: that is not known."""
    entry = remembered.recall(path, key)
    try:
        found = {int(workers): fps for workers, fps in (entry or {}).items()}
    except ValueError:
        return None
    return found if found and list(found) == list(candidates[: len(found)]) else None


def remember(path: Path, key: str, found: Mapping[int, float]) -> None:
    """Keep what was measured. Where it cannot be kept, it is measured again next time."""
    remembered.remember(path, key, {str(workers): fps for workers, fps in found.items()})
