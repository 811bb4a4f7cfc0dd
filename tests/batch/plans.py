"""Plans for tests, their jobs, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vidsr.batch.rows import NewJob, PlannedSegment, Task
from vidsr.batch.store import Store
from vidsr.job import Job

HOST = "here"
LEASE_S = 10.0
MAX_TRIES = 3


class Clock:
    """Unix seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def opened(folder: Path, clock: Clock | None = None, **options: Any) -> Iterator[Store]:
    """Open a plan on what counts as a local disk."""
    options = {"create": True, "network": False, "clock": clock or Clock()} | options
    with Store.open(folder, **options) as store:
        yield store


def new(key: str, *, fingerprint: int = 0, **options: Any) -> NewJob:
    job = Job(source=f"{key}.mp4", output=Path(key), **options)
    return NewJob(key=key, name=f"{key}.mp4", job=job, fingerprint={"input": fingerprint})


def claim(store: Store, worker: str = "w", *, room: int | None = None, host: str = HOST) -> Task | None:
    return store.claim(worker, host=host, seconds=LEASE_S, room=room, max_tries=MAX_TRIES)


def must_claim(store: Store, worker: str = "w", *, room: int | None = None, host: str = HOST) -> Task:
    task = claim(store, worker, room=room, host=host)
    assert task is not None
    return task


def parts(count: int, frames: int | None = 10, done: int = 0) -> list[PlannedSegment]:
    """Return `count` segments, of which the first `done` are made."""
    return [
        PlannedSegment(
            number=k,
            begin=k * 100 if k else None,
            end=(k + 1) * 100 if k + 1 < count else None,
            frames=frames,
            done=k < done,
        )
        for k in range(count)
    ]


def plan(store: Store, count: int = 2, worker: str = "w", *, memory: int = 0, done: int = 0) -> Task:
    """Claim a plan task and find `count` segments of 10 frames."""
    task = must_claim(store, worker)
    assert task.kind == "plan"
    store.planned(task.id, worker, parts(count, done=done), frames=10 * count, output=task.key, memory=memory)
    return task


def work(store: Store, worker: str = "w") -> None:
    """Do whatever there is, without a failure."""
    while (task := claim(store, worker)) is not None:
        if task.kind == "plan":
            store.planned(task.id, worker, parts(2), frames=20, output=task.key, memory=0)
        elif task.kind == "segment":
            store.finished(task.id, worker, 10)
        else:
            store.joined(task.id, worker, {"frames": 20})


def states(store: Store) -> dict[str, str]:
    return {job.key: job.state for job in store.jobs()}
