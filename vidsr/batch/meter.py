"""How far a batch is, how fast, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vidsr.batch.rows import JOB_STATES, JobRow, JobState, TaskRow
from vidsr.batch.views import View

__all__ = ["Meter", "Standing", "Working"]

_WINDOW_SECONDS = 30.0
_SHARE = 0.1  # of the time, at most, for reading a plan of very many jobs
_OPEN: tuple[JobState, ...] = ("waiting", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """A task that a worker does now."""

    key: str
    name: str
    """Of the job."""
    task: str
    """plan, segment or join."""
    segment: int
    """Its number from 0; 0 for the others."""
    frames: int
    """Made of it so far."""
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a batch is."""

    jobs: tuple[JobRow, ...]
    counts: Mapping[JobState, int]
    """Jobs in each state; all states are there."""
    frames: int
    """Made so far, by earlier runs too, without those of failed and cancelled jobs."""
    expected: int | None
    """In all; None: nothing is known yet."""
    exact: bool
    """Whether `expected` is counted; else sources that nobody has looked at yet are taken to have as many
    frames for their bytes as the others."""
    fps: float
    """Frames a second in the last half minute of this run; 0: none."""
    eta_seconds: float | None
    """None: not known."""
    working: tuple[Working, ...]


class Meter:
    """Reads a plan now and then; `look` is cheap to call often."""

    def __init__(self, plan: View, clock: Callable[[], float] = time.monotonic) -> None:
        """Watch a plan."""
        self._plan, self._clock = plan, clock
        self._made: deque[tuple[float, int]] = deque()
        self._next = 0.0

    def look(self, *, now: bool = False) -> Standing | None:
        """Return how far the batch is; None: it is too early to read it again, unless it must be `now`."""
        began = self._clock()
        if began < self._next and not now:
            return None
        jobs = self._plan.jobs()
        standing = self._standing(jobs, self._plan.tasks(state="leased"), began)
        self._next = began + (self._clock() - began) / _SHARE
        return standing

    def _standing(self, jobs: tuple[JobRow, ...], tasks: tuple[TaskRow, ...], now: float) -> Standing:
        counts: dict[JobState, int] = dict.fromkeys(JOB_STATES, 0)
        for job in jobs:
            counts[job.state] += 1
        counted = [job for job in jobs if job.state not in ("failed", "cancelled")]
        frames = sum(job.made for job in counted)
        expected, exact = _expected(counted)
        fps = self._fps(now, sum(job.made for job in jobs))
        left = None if expected is None else max(0, expected - frames)
        over = not counts["waiting"] and not counts["running"]
        eta = 0.0 if over else left / fps if left is not None and fps else None
        by_id = {job.id: job for job in jobs}
        working = tuple(
            Working(
                key=by_id[task.job_id].key,
                name=by_id[task.job_id].name,
                task=task.kind,
                segment=task.number,
                frames=task.made,
                host=task.host or "",
            )
            for task in tasks
            if task.job_id in by_id
        )
        return Standing(
            jobs=jobs,
            counts=counts,
            frames=frames,
            expected=expected,
            exact=exact,
            fps=fps,
            eta_seconds=eta,
            working=working,
        )

    def _fps(self, now: float, made: int) -> float:
        if self._made and made < self._made[-1][1]:
            self._made.clear()  # a worker died, or jobs began anew
        self._made.append((now, made))
        while len(self._made) > 2 and now - self._made[0][0] > _WINDOW_SECONDS:
            self._made.popleft()
        (since, before), (until, after) = self._made[0], self._made[-1]
        return (after - before) / (until - since) if until > since else 0.0


def _expected(jobs: list[JobRow]) -> tuple[int | None, bool]:
    """Return how many frames jobs have, and whether all of them tell."""
    known = [(job.frames, _bytes(job)) for job in jobs if job.frames is not None]
    unknown = [_bytes(job) for job in jobs if job.frames is None]
    frames = sum(number for number, _ in known)
    if not unknown:
        return frames, True
    if not known:
        return None, False
    size = sum(size for _, size in known)
    each = frames / size if size else 0.0
    return round(frames + each * sum(unknown)), False


def _bytes(job: JobRow) -> int:
    source = job.fingerprint.get("source", {})
    return int(source.get("bytes", 0))
