"""How far a worker's work reaches: into the next segments, and whether it is over already."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from vidsr.batch.rows import PlannedSegment
from vidsr.video.parts import folder_of

__all__ = ["Reach", "has_its_name"]


class Reach:
    """How far a worker reads: to a segment's end, and on into the next if it gets that too."""

    def __init__(self, segment: PlannedSegment, more: Callable[[int], PlannedSegment | None]) -> None:
        self.last, self._more = segment, more

    def over(self, pts: int) -> bool:
        """Tell whether a frame is another's to make."""
        while self.last.end is not None and pts >= self.last.end:
            following = self._more(self.last.number + 1)
            if following is None:
                return True
            self.last = following
        return False


def has_its_name(output: Path | None, since: float) -> bool:
    """Return whether a job's result has got its name, by a worker that was killed before it could say so.

    What that worker had not cleared up goes.

    Args:
        output: The result's name.
        since: When the job was begun, unix seconds; an older file is the one that is to be replaced.
    """
    if output is None:
        return False
    folder = folder_of(output)
    try:
        # Joining ends with the name; only then does the folder go, file by file.
        named = output.stat().st_mtime >= since and not (folder / f"joined{output.suffix}").exists()
    except OSError:
        return False
    if named:
        shutil.rmtree(folder, ignore_errors=True)
    return named
