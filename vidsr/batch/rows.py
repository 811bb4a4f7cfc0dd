"""What goes into a batch's plan and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vidsr.job import Job

__all__ = [
    "JOB_STATES",
    "Added",
    "JobRow",
    "JobState",
    "LeaseLostError",
    "NewJob",
    "PlannedSegment",
    "Summary",
    "Task",
    "TaskKind",
    "TaskRow",
    "TaskState",
    "WorkerRow",
]

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
"""waiting: its source was not looked at yet; running: it was begun, perhaps nobody works on it now."""

JOB_STATES: tuple[JobState, ...] = ("waiting", "running", "done", "failed", "cancelled")

TaskKind = Literal["plan", "segment", "join"]
"""plan: look at the source and find the cuts; segment: make one; join: all of them into the result."""

TaskState = Literal["waiting", "leased", "done"]


class LeaseLostError(Exception):
    """The task is no longer this worker's; its work is to be dropped. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job for the plan."""

    key: str
    """What the result is known by: its path. Two jobs of one batch never have the same."""
    name: str
    """What users see: the source's name."""
    job: Job
    fingerprint: Mapping[str, Any]
    """What decides the result's bytes (input, options, model, versions), for JSON. Another is another job."""
    anew: bool = False
    """Whether it begins anew, unless it is done, although it is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of the jobs that were added; each is in one of these numbers."""

    new: int
    known: int
    """They stay as they are."""
    changed: int
    """Known with another fingerprint: they begin anew."""
    retried: int
    """They had failed, and wait again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSegment:
    """A part of a job that one worker makes."""

    number: int
    """From 0, in order of time."""
    begin: int | None
    """Presentation time of its first frame, in ticks of the source; None: the source's beginning."""
    end: int | None
    """Presentation time of the first frame behind it; None: up to the source's end."""
    frames: int | None
    """How many it will have; None: not known."""
    done: bool = False
    """Whether an earlier run has made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker has claimed."""

    id: int
    job_id: int
    key: str
    name: str
    job: Mapping[str, Any]
    """For `vidsr.records.from_mapping(Job, ...)`."""
    fingerprint: Mapping[str, Any]
    kind: TaskKind
    number: int
    """A segment's; 0 for the others."""
    begin: int | None
    end: int | None
    """See `PlannedSegment`."""
    frames: int | None
    tries: int
    """How often it has failed before."""
    output: str | None
    """The job's final path, once planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task as it stands."""

    id: int
    job_id: int
    kind: TaskKind
    number: int
    begin: int | None
    end: int | None
    frames: int | None
    made: int
    """Frames made so far."""
    state: TaskState
    worker: str | None
    """Who has it, or had it when it was done."""
    host: str | None
    lease: float
    """Unix seconds: until when it is held; of one that waits: before when it is not given out."""
    tries: int
    error: str | None
    """Of its last try that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as it stands."""

    id: int
    position: int
    """Order in which jobs are begun."""
    key: str
    name: str
    job: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    state: JobState
    tries: int
    """Failed tries of all its tasks."""
    error: str | None
    """Why it failed."""
    frames: int | None
    """Expected; of a job that is done: made. None: not known."""
    made: int
    """Frames made so far."""
    segments: int
    segments_done: int
    output: str | None
    """The final path, once planned."""
    memory: int
    """Bytes a worker needs for it; 0: not known."""
    report: Mapping[str, Any] | None
    began: float | None
    ended: float | None
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker that has given a sign of life."""

    id: str
    host: str
    pid: int | None
    """None: it has claimed a task and never said."""
    begun: float
    beat: float
    """Unix seconds of its first and its last sign of life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How far a batch is."""

    counts: Mapping[JobState, int]
    """Jobs in each state; all states are there."""
    frames: int
    """Made so far, without those of failed and cancelled jobs."""
    expected: int | None
    """Of all jobs that have not failed and are not cancelled; None: not known of at least one."""
