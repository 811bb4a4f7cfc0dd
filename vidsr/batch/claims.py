"""Tasks given out, held, given back. Each function is part of a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

from vidsr.batch.encoding import plain
from vidsr.batch.jobs import fail_job
from vidsr.batch.rows import LeaseLostError, PlannedSegment, TaskKind

__all__ = [
    "claim",
    "claim_segment",
    "died",
    "expire",
    "give_back",
    "held",
    "leases",
    "of_kind",
    "plan",
    "seen",
    "try_failed",
]

# Joins first: they end jobs and free their segments' space. Then what this worker's model and source are open
# for, then the earliest job that was begun, and only then a new one: few jobs are unfinished at a time.
_NEXT = """
    SELECT tasks.id FROM tasks JOIN jobs ON jobs.id = tasks.job
    WHERE tasks.state = 'waiting' AND tasks.lease <= :now AND jobs.state IN ('waiting', 'running')
        AND (:room IS NULL OR jobs.memory <= :room)
        AND tasks.id NOT IN (SELECT value FROM json_each(:avoid))
        AND (tasks.kind != 'join' OR NOT EXISTS (
            SELECT 1 FROM tasks AS part
            WHERE part.job = tasks.job AND part.kind = 'segment' AND part.state != 'done'))
    ORDER BY
        CASE tasks.kind WHEN 'join' THEN 0 WHEN 'segment' THEN 1 ELSE 2 END,
        tasks.kind = 'segment' AND tasks.job IS (SELECT job FROM workers WHERE id = :worker) DESC,
        jobs.position, tasks.number
    LIMIT 1
"""

_WITH_JOB = """
    SELECT tasks.*, jobs.key, jobs.name, jobs.job AS asked, jobs.fingerprint, jobs.output
    FROM tasks JOIN jobs ON jobs.id = tasks.job WHERE tasks.id = ?
"""


def claim(
    db: sqlite3.Connection,
    worker: str,
    host: str,
    now: float,
    seconds: float,
    room: int | None,
    avoid: Collection[int] = (),
) -> sqlite3.Row | None:
    """Return the task that is now this worker's, with its job's columns; None: there is none for it."""
    if room is not None:
        count, used = db.execute(
            "SELECT count(*), coalesce(sum(jobs.memory), 0) FROM tasks JOIN jobs ON jobs.id = tasks.job"
            " WHERE tasks.state = 'leased' AND tasks.host = ? AND tasks.lease > ?",
            (host, now),
        ).fetchone()
        room = room - used if count else None  # alone on its host a task gets whatever it needs
    given = {"now": now, "room": room, "worker": worker, "avoid": json.dumps(list(avoid))}
    found = db.execute(_NEXT, given).fetchone()
    if found is None:
        return None
    row = _give(db, found["id"], worker, host, now + seconds)
    sql = "UPDATE jobs SET state = 'running', began = coalesce(began, ?) WHERE id = ?"
    db.execute(sql, (now, row["job"]))
    seen(db, worker, host, None, now)
    db.execute("UPDATE workers SET job = ? WHERE id = ?", (row["job"], worker))
    return row


def claim_segment(
    db: sqlite3.Connection, job: int, number: int, worker: str, host: str, now: float, seconds: float
) -> sqlite3.Row | None:
    """Return a segment's task, now this worker's, with its job's columns; None: it does not wait."""
    found = db.execute(
        "SELECT tasks.id FROM tasks JOIN jobs ON jobs.id = tasks.job WHERE tasks.job = ? AND tasks.number = ?"
        " AND tasks.kind = 'segment' AND tasks.state = 'waiting' AND tasks.lease <= ?"
        " AND jobs.state = 'running'",
        (job, number, now),
    ).fetchone()
    return None if found is None else _give(db, found["id"], worker, host, now + seconds)


def _give(db: sqlite3.Connection, task: int, worker: str, host: str, lease: float) -> sqlite3.Row:
    db.execute(
        "UPDATE tasks SET state = 'leased', worker = ?, host = ?, lease = ?, made = 0 WHERE id = ?",
        (worker, host, lease, task),
    )
    row: sqlite3.Row = db.execute(_WITH_JOB, (task,)).fetchone()
    return row


def seen(db: sqlite3.Connection, worker: str, host: str, pid: int | None, now: float) -> None:
    """Note a sign of life."""
    db.execute(
        "INSERT INTO workers (id, host, pid, begun, beat) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = coalesce(excluded.pid, pid),"
        " beat = excluded.beat",
        (worker, host, pid, now, now),
    )


def leases(db: sqlite3.Connection, worker: str) -> list[int]:
    """Return the ids of all tasks that a worker has."""
    sql = "SELECT id FROM tasks WHERE state = 'leased' AND worker = ? ORDER BY id"
    return [row["id"] for row in db.execute(sql, (worker,)).fetchall()]


def held(db: sqlite3.Connection, task: int, worker: str) -> sqlite3.Row:
    """Return a task that is this worker's. A lease that has run out counts until somebody has noticed.

    Raises:
        LeaseLostError: It is not.
    """
    sql = "SELECT * FROM tasks WHERE id = ? AND state = 'leased' AND worker = ?"
    row: sqlite3.Row | None = db.execute(sql, (task, worker)).fetchone()
    if row is None:
        raise LeaseLostError(f"task {task} is no longer worker {worker}'s")
    return row


def of_kind(row: sqlite3.Row, kind: TaskKind) -> sqlite3.Row:
    """Return a task that is of the kind it should be; ValueError: it is not."""
    if row["kind"] != kind:
        raise ValueError(f"task {row['id']} is a {row['kind']}, not a {kind}")
    return row


def _place(row: sqlite3.Row) -> str:
    """Return where in a job a task is, for an error: "segment 3"."""
    return f"segment {row['number']}" if row["kind"] == "segment" else f"the {row['kind']}"


def give_back(db: sqlite3.Connection, row: sqlite3.Row, *, due: float = 0.0) -> None:
    """Let a task wait again, until `due` (unix seconds) at least."""
    db.execute(
        "UPDATE tasks SET state = 'waiting', worker = NULL, host = NULL, lease = ?, made = 0 WHERE id = ?",
        (due, row["id"]),
    )
    if row["kind"] == "plan":
        db.execute("UPDATE jobs SET state = 'waiting' WHERE id = ?", (row["job"],))


def try_failed(
    db: sqlite3.Connection, row: sqlite3.Row, error: str, now: float, *, final: bool, due: float = 0.0
) -> None:
    """Count a try of a task that failed: its job fails where this was `final`, else it waits again."""
    db.execute(
        "UPDATE tasks SET tries = tries + 1, error = ? WHERE id = ?",
        (plain(error), row["id"]),
    )
    db.execute("UPDATE jobs SET tries = tries + 1 WHERE id = ?", (row["job"],))
    if final:
        fail_job(db, row["job"], error, now)
    else:
        give_back(db, row, due=due)


def expire(db: sqlite3.Connection, now: float, max_tries: int) -> None:
    """Take back all tasks whose lease has run out; each counts one try."""
    sql = "SELECT * FROM tasks WHERE state = 'leased' AND lease <= ? ORDER BY id"
    for row in db.execute(sql, (now,)).fetchall():
        died(db, row, f"worker {row['worker']} died or hung", now, max_tries)


def died(db: sqlite3.Connection, row: sqlite3.Row, error: str, now: float, max_tries: int) -> None:
    """Take a task from a worker that does not work on it any more; that counts one try."""
    if db.execute("SELECT 1 FROM tasks WHERE id = ?", (row["id"],)).fetchone() is None:
        return  # its job has just failed by another task
    tries = row["tries"] + 1
    told = f"{error} at {_place(row)}, try {tries} of {max_tries}"
    try_failed(db, row, told, now, final=tries >= max_tries)


def plan(db: sqlite3.Connection, row: sqlite3.Row, segments: Sequence[PlannedSegment]) -> None:
    """Note what a job's plan task has found: its segments, and one join behind them."""
    db.execute("UPDATE tasks SET state = 'done' WHERE id = ?", (row["id"],))
    db.executemany(
        "INSERT INTO tasks (job, kind, number, begin_pts, end_pts, frames, made, state)"
        " VALUES (?, 'segment', ?, ?, ?, ?, ?, ?)",
        [
            (
                row["job"],
                s.number,
                s.begin,
                s.end,
                s.frames,
                (s.frames or 0) if s.done else 0,
                "done" if s.done else "waiting",
            )
            for s in segments
        ],
    )
    db.execute("INSERT INTO tasks (job, kind) VALUES (?, 'join')", (row["job"],))
