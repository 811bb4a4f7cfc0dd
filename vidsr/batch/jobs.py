"""Jobs in the plan: added, begun anew, tried again, cancelled. Each function is part of a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from vidsr import records
from vidsr.batch.encoding import plain, stored, text
from vidsr.batch.rows import Added, JobState, NewJob
from vidsr.errors import OptionsError

__all__ = ["add", "begin_anew", "drop_open_tasks", "fail_job", "select"]


def add(db: sqlite3.Connection, new: Sequence[NewJob], now: float) -> Added:
    """See `Store.add`."""
    _refuse_doubles(new)
    counts = dict.fromkeys(("new", "known", "changed", "retried"), 0)
    for item in new:
        counts[_add_one(db, item, now)] += 1
    return Added(**counts)


def _refuse_doubles(new: Sequence[NewJob]) -> None:
    seen: dict[str, NewJob] = {}
    for item in new:
        other = seen.setdefault(item.key, item)
        if other is not item:
            raise OptionsError(
                f"'{other.name}' and '{item.name}' would have the same output",
                path=item.key,
                hint="give each its own, such as by another template of the outputs' names",
            )


def _add_one(db: sqlite3.Connection, item: NewJob, now: float) -> str:
    fingerprint = stored(item.fingerprint)
    job = stored(records.to_mapping(item.job))
    row = db.execute("SELECT * FROM jobs WHERE key = ?", (plain(item.key),)).fetchone()
    if row is None:
        cursor = db.execute(
            "INSERT INTO jobs (position, key, name, job, fingerprint)"
            " SELECT coalesce(max(position), -1) + 1, ?, ?, ?, ? FROM jobs",
            (plain(item.key), plain(item.name), job, fingerprint),
        )
        db.execute("INSERT INTO tasks (job, kind) VALUES (?, 'plan')", (cursor.lastrowid,))
        return "new"
    changed = row["fingerprint"] != fingerprint or (item.anew and row["state"] != "done")
    if changed:
        _refuse_held(db, row, now)
    if changed or row["state"] != "done":
        # What is not in the fingerprint, such as how to verify, is as it was asked for last.
        sql = "UPDATE jobs SET name = ?, job = ?, fingerprint = ? WHERE id = ?"
        db.execute(sql, (plain(item.name), job, fingerprint, row["id"]))
    if changed or row["state"] == "failed":
        begin_anew(db, row["id"])
        return "changed" if changed else "retried"
    return "known"


def _refuse_held(db: sqlite3.Connection, job: sqlite3.Row, now: float) -> None:
    held = db.execute(
        "SELECT worker, lease FROM tasks WHERE job = ? AND state = 'leased' AND lease > ?"
        " ORDER BY lease DESC",
        (job["id"], now),
    ).fetchone()
    if held is not None:
        raise OptionsError(
            f"its source, options or model have changed while worker {held['worker']} works on it"
            f" (for {held['lease'] - now:.0f} s at least)",
            path=text(job["key"]),
            hint="stop that worker or cancel this job, and repeat",
        )


def begin_anew(db: sqlite3.Connection, job: int) -> None:
    """Forget everything that was done for a job, but not its place among the others; it waits."""
    db.execute("DELETE FROM tasks WHERE job = ?", (job,))
    db.execute("DELETE FROM notes WHERE job = ?", (job,))
    db.execute(
        "UPDATE jobs SET state = 'waiting', tries = 0, error = NULL, frames = NULL, output = NULL,"
        " memory = 0, report = NULL, began = NULL, ended = NULL WHERE id = ?",
        (job,),
    )
    db.execute("INSERT INTO tasks (job, kind) VALUES (?, 'plan')", (job,))


def drop_open_tasks(db: sqlite3.Connection, job: int) -> None:
    """Take from all workers what they do for a job. What is done stays, to be shown."""
    db.execute("DELETE FROM tasks WHERE job = ? AND state != 'done'", (job,))


def fail_job(db: sqlite3.Connection, job: int, error: str, now: float) -> None:
    """Give a job up."""
    drop_open_tasks(db, job)
    sql = "UPDATE jobs SET state = 'failed', error = ?, ended = ? WHERE id = ?"
    db.execute(sql, (plain(error), now, job))


def select(db: sqlite3.Connection, keys: Iterable[str] | None, states: Sequence[JobState]) -> list[int]:
    """Return the ids of the jobs that have one of `keys` (None: of all) and are in one of `states`.

    Raises:
        OptionsError: No job has one of the keys.
    """
    if keys is None:
        rows = db.execute("SELECT id, state FROM jobs ORDER BY position").fetchall()
    else:
        rows = []
        for key in dict.fromkeys(keys):
            row = db.execute("SELECT id, state FROM jobs WHERE key = ?", (plain(key),)).fetchone()
            if row is None:
                raise OptionsError("no job of this batch makes this", path=key)
            rows.append(row)
    return [row["id"] for row in rows if row["state"] in states]
