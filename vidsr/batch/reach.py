"""How far a worker reads: into the segments behind its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vidsr.batch.rows import PlannedSegment
from vidsr.job import Job
from vidsr.planning import Plan
from vidsr.video.reader import ticks_at

__all__ = ["Reach", "span"]


class Reach:
    """How far a worker reads: to a segment's end, and on into the next if it gets that too."""

    def __init__(self, segment: PlannedSegment, more: Callable[[int], PlannedSegment | None]) -> None:
        """Begin with one segment; `more` gives the next, or None where that is another's."""
        self.last, self._more = segment, more

    def over(self, pts: int) -> bool:
        """Tell whether a frame is another's to make."""
        while self.last.end is not None and pts >= self.last.end:
            following = self._more(self.last.number + 1)
            if following is None:
                return True
            self.last = following
        return False


def span(job: Job, plan: Plan) -> Mapping[str, int | None]:
    """Return the first tick of the source that a job shows, and the first that it does not."""
    base, first = plan.info.time_base, plan.info.start_pts
    ticks = [None if seconds is None else first + ticks_at(seconds, base) for seconds in (job.start, job.end)]
    return {"begin": ticks[0], "end": ticks[1]}
