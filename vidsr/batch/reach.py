"""How far a worker reads: into the segments behind its own."""

from __future__ import annotations

from collections.abc import Callable

from vidsr.batch.rows import PlannedSegment

__all__ = ["Reach"]


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
