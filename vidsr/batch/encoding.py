"""Values on their way into SQLite's columns and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from vidsr.batch.rows import JobRow, Task, TaskRow, WorkerRow

__all__ = ["job_row", "plain", "stored", "task", "task_row", "text", "worker_row"]


def stored(value: Mapping[str, Any]) -> str:
    """Return JSON that is the same for equal mappings, in ASCII, so that it holds any file name."""
    return json.dumps(value, sort_keys=True)


def plain(value: str) -> str | bytes:
    """Return text as SQLite takes it: what is not Unicode, as a file's name may be, goes in as bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="surrogatepass")
    return value


def text(value: str | bytes) -> str:
    """Return what `plain` was given."""
    return value.decode(errors="surrogatepass") if isinstance(value, bytes) else value


def _text(value: str | bytes | None) -> str | None:
    return None if value is None else text(value)


def task(row: sqlite3.Row) -> Task:
    """Return what a worker gets, of the row that `claims.claim` returns."""
    return Task(
        id=row["id"],
        job_id=row["job"],
        key=text(row["key"]),
        name=text(row["name"]),
        job=json.loads(row["asked"]),
        fingerprint=json.loads(row["fingerprint"]),
        kind=row["kind"],
        number=row["number"],
        begin=row["begin_pts"],
        end=row["end_pts"],
        frames=row["frames"],
        tries=row["tries"],
        output=_text(row["output"]),
    )


def task_row(row: sqlite3.Row) -> TaskRow:
    """Return a row of the table of tasks."""
    return TaskRow(
        id=row["id"],
        job_id=row["job"],
        kind=row["kind"],
        number=row["number"],
        begin=row["begin_pts"],
        end=row["end_pts"],
        frames=row["frames"],
        made=row["made"],
        state=row["state"],
        worker=row["worker"],
        host=row["host"],
        lease=row["lease"],
        tries=row["tries"],
        error=_text(row["error"]),
    )


def job_row(row: sqlite3.Row) -> JobRow:
    """Return a row of the table of jobs, with `made`, `segments` and `segments_done` counted."""
    return JobRow(
        id=row["id"],
        position=row["position"],
        key=text(row["key"]),
        name=text(row["name"]),
        job=json.loads(row["job"]),
        fingerprint=json.loads(row["fingerprint"]),
        state=row["state"],
        tries=row["tries"],
        error=_text(row["error"]),
        frames=row["frames"],
        made=row["made"],
        segments=row["segments"],
        segments_done=row["segments_done"],
        output=_text(row["output"]),
        memory=row["memory"],
        report=None if row["report"] is None else json.loads(row["report"]),
        began=row["began"],
        ended=row["ended"],
    )


def worker_row(row: sqlite3.Row) -> WorkerRow:
    """Return a row of the table of workers."""
    return WorkerRow(id=row["id"], host=row["host"], pid=row["pid"], begun=row["begun"], beat=row["beat"])
