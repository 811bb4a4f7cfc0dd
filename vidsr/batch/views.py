"""A batch's plan as it stands, for whoever shows it or waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from vidsr.batch import encoding
from vidsr.batch.database import Database
from vidsr.batch.rows import JOB_STATES, JobRow, JobState, Summary, TaskRow, TaskState, WorkerRow

__all__ = ["View"]

_OPEN = "FROM tasks JOIN jobs ON jobs.id = tasks.job WHERE jobs.state IN ('waiting', 'running')"


class View:
    """What can be read of an open plan; `vidsr.batch.store.Store` can do this too.

    All methods raise `OutputError` where the file cannot be read.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Read from an open database; `Store.open` is for everyone else."""
        self._database = database
        self._clock = clock

    def jobs(self) -> tuple[JobRow, ...]:
        """Return all jobs in their order."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT jobs.*, coalesce(sum(parts.made), 0) AS made, count(parts.id) AS segments,"
                " coalesce(sum(parts.state = 'done'), 0) AS segments_done"
                " FROM jobs LEFT JOIN tasks AS parts ON parts.job = jobs.id AND parts.kind = 'segment'"
                " GROUP BY jobs.id ORDER BY jobs.position"
            ).fetchall()
        return tuple(encoding.job_row(row) for row in rows)

    def tasks(self, *, job_id: int | None = None, state: TaskState | None = None) -> tuple[TaskRow, ...]:
        """Return the tasks of a job (None: of all) that are in a state (None: any), in order."""
        order = "CASE kind WHEN 'plan' THEN 0 WHEN 'segment' THEN 1 ELSE 2 END"
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT tasks.* FROM tasks JOIN jobs ON jobs.id = tasks.job"
                " WHERE (:job IS NULL OR tasks.job = :job) AND (:state IS NULL OR tasks.state = :state)"
                f" ORDER BY jobs.position, {order}, number",
                {"job": job_id, "state": state},
            ).fetchall()
        return tuple(encoding.task_row(row) for row in rows)

    def workers(self) -> tuple[WorkerRow, ...]:
        """Return the workers that have given a sign of life, and were not called dead, in order of age."""
        with self._database.reading() as db:
            rows = db.execute("SELECT * FROM workers ORDER BY begun, id").fetchall()
        return tuple(encoding.worker_row(row) for row in rows)

    def summary(self) -> Summary:
        """Return how far the batch is."""
        with self._database.reading() as db:
            counted = db.execute("SELECT state, count(*) AS jobs FROM jobs GROUP BY state").fetchall()
            made = db.execute(
                "SELECT coalesce(sum(tasks.made), 0) FROM tasks JOIN jobs ON jobs.id = tasks.job"
                " WHERE tasks.kind = 'segment' AND jobs.state NOT IN ('failed', 'cancelled')"
            ).fetchone()[0]
            unknown, expected = db.execute(
                "SELECT coalesce(sum(frames IS NULL), 0), coalesce(sum(frames), 0) FROM jobs"
                " WHERE state NOT IN ('failed', 'cancelled')"
            ).fetchone()
        counts: dict[JobState, int] = dict.fromkeys(JOB_STATES, 0)
        counts.update({row["state"]: row["jobs"] for row in counted})
        return Summary(counts=counts, frames=made, expected=None if unknown else expected)

    def notes(self, job: int) -> tuple[Mapping[str, Any], ...]:
        """Return what workers have told of a job, in order."""
        with self._database.reading() as db:
            rows = db.execute("SELECT note FROM notes WHERE job = ? ORDER BY id", (job,)).fetchall()
        return tuple(json.loads(row["note"]) for row in rows)

    def made(self, job: int) -> int:
        """Return how many frames of a job are made."""
        with self._database.reading() as db:
            sql = "SELECT coalesce(sum(made), 0) FROM tasks WHERE job = ? AND kind = 'segment'"
            return int(db.execute(sql, (job,)).fetchone()[0])

    def began(self, job: int) -> float:
        """Return when a job was begun, in unix seconds; 0: it was not."""
        with self._database.reading() as db:
            row = db.execute("SELECT began FROM jobs WHERE id = ?", (job,)).fetchone()
        return 0.0 if row is None else float(row["began"] or 0)

    def open_tasks(self) -> bool:
        """Return whether anything is still to be done, or being done."""
        with self._database.reading() as db:
            found = db.execute(f"SELECT EXISTS (SELECT 1 {_OPEN} AND tasks.state != 'done')").fetchone()[0]
        return bool(found)

    def next_due(self) -> float | None:
        """Return in how many seconds the next lease runs out or delay ends (0: now); None: none does.

        Besides these, a task becomes free only by what some worker does.
        """
        with self._database.reading() as db:
            now = self._clock()
            due = db.execute(
                f"SELECT min(tasks.lease) {_OPEN}"
                " AND (tasks.state = 'leased' OR tasks.state = 'waiting' AND tasks.lease > ?)",
                (now,),
            ).fetchone()[0]
        return None if due is None else max(0.0, due - now)
