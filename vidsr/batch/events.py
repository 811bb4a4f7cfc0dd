"""What happens in a batch, as records for programs: one JSON object a line, see docs/batch.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from vidsr.batch.meter import Standing
from vidsr.batch.preparing import Prepared
from vidsr.batch.rows import JobRow, JobState
from vidsr.sources import without_password

__all__ = ["VERSION", "Events", "job_record"]

VERSION = 1
"""Of the records; a new field does not change it."""

_PROGRESS_SECONDS = 1.0


def job_record(job: JobRow, *, report: bool = False) -> dict[str, Any]:
    """Return what is known of a job, for JSON; with its `report`, where it is done."""
    return {
        "key": job.key,
        "name": job.name,
        "source": without_password(str(job.job["source"])),
        "output": job.output,
        "state": job.state,
        "frames": job.made,
        "expected": job.frames,
        "segments": job.segments,
        "segments_done": job.segments_done,
        "failed_tries": job.tries,
        "error": job.error,
        **({"report": job.report} if report else {}),
    }


class Events:
    """Turns how a batch stands, look by look, into events."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with nothing known."""
        self._clock = clock
        self._states: dict[int, JobState] = {}
        self._shown = 0.0

    def begin(self, state: str, prepared: Prepared, workers: int, why: str) -> dict[str, Any]:
        """Return the first event."""
        return self._event(
            "begin",
            version=VERSION,
            state=state,
            jobs=len(prepared.keys),
            new=prepared.new,
            going_on=prepared.going_on,
            done=prepared.done,
            retried=prepared.retried,
            changed=prepared.changed,
            lost=prepared.lost,
            workers=workers,
            workers_reason=why,
        )

    def warning(self, text: str) -> dict[str, Any]:
        """Return an event that tells something."""
        return self._event("warning", text=text)

    def changes(self, standing: Standing) -> Iterator[dict[str, Any]]:
        """Yield an event for each job whose state is another than at the last look, and at times progress."""
        for job in standing.jobs:
            before = self._states.get(job.id)
            if before != job.state:
                self._states[job.id] = job.state
                if before is not None or job.state in ("running", "failed", "cancelled"):
                    yield self._event("job", **job_record(job, report=job.state == "done"))
        if self._clock() >= self._shown + _PROGRESS_SECONDS:
            self._shown = self._clock()
            yield self.progress(standing)

    def progress(self, standing: Standing) -> dict[str, Any]:
        """Return how far the batch is."""
        return self._event(
            "progress",
            jobs=dict(standing.counts),
            frames=standing.frames,
            expected=standing.expected,
            expected_exact=standing.exact,
            fps=round(standing.fps, 3),
            eta_seconds=None if standing.eta_seconds is None else round(standing.eta_seconds, 1),
            working=[asdict(one) for one in standing.working],
        )

    def end(self, counts: Mapping[JobState, int], seconds: float, code: int) -> dict[str, Any]:
        """Return the last event: this run's jobs by state, and the exit code."""
        return self._event("end", jobs=dict(counts), seconds=round(seconds, 3), exit_code=code)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"event": kind, "time": round(self._clock(), 3), **fields}
