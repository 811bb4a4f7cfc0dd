"""``vidsr batch status``, ``retry`` and ``cancel``: on a batch that runs, or ran."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.errors import OptionsError, one_line

if TYPE_CHECKING:
    from vidsr.batch.rows import JobRow
    from vidsr.batch.store import Store

__all__ = ["cancel", "retry", "status"]

_State = Annotated[
    Path, typer.Option("--state", help="The batch's state folder, or the folder that it is in.")
]
_Names = Annotated[
    list[str] | None,
    typer.Argument(help="Jobs: by source, result, name or key, as 'status --json' lists them."),
]


def status(
    folder: Annotated[
        Path, typer.Argument(help="The batch's state folder, or the folder that it is in.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Tell how far a batch is: each job's state, and why it failed."""
    from vidsr.batch.events import job_record
    from vidsr.batch.meter import Meter

    with _opened(folder) as store:
        standing = Meter(store).look(now=True)
        workers = store.workers()
    assert standing is not None  # it was asked for now
    if as_json:
        record = {
            "jobs": [job_record(job, report=True) for job in standing.jobs],
            "counts": dict(standing.counts),
            "frames": standing.frames,
            "expected": standing.expected,
            "expected_exact": standing.exact,
            "workers": [{"name": w.id, "host": w.host, "pid": w.pid, "seen": w.beat} for w in workers],
        }
        typer.echo(json.dumps(record, indent=1))
        return
    width = max((len(job.name) for job in standing.jobs), default=0)
    for job in standing.jobs:
        frames = f"{job.made}/{job.frames}" if job.frames else ""
        parts = f"{job.segments_done}/{job.segments} segments" if job.segments > 1 else ""
        line = f"{job.state:9} {job.name:{min(width, 60)}} {frames:>13}  {parts}  {job.error or ''}"
        typer.echo(one_line(line.rstrip()))
    words = ", ".join(f"{n} {state}" for state, n in standing.counts.items() if n)
    busy = f"; {len(workers)} at work" if workers else ""
    typer.echo(f"{len(standing.jobs)} jobs: {words or 'none'}{busy}")


def retry(names: _Names = None, state: _State = Path()) -> None:
    """Let failed jobs (all, or those named) and cancelled ones that are named begin anew.

    A batch that runs takes them up; else the same 'vidsr batch' command does.
    """
    with _opened(state) as store:
        count = store.retry(_keys(store, names))
    typer.echo(f"{count} {'job waits' if count == 1 else 'jobs wait'} again")


def cancel(names: _Names = None, state: _State = Path()) -> None:
    """Cancel jobs that are not done (all, or those named); their finished segments stay.

    The same 'vidsr batch' command begins them again.
    """
    with _opened(state) as store:
        count = store.cancel(_keys(store, names))
    typer.echo(f"{count} {'job' if count == 1 else 'jobs'} cancelled")


def _opened(folder: Path) -> Store:
    from vidsr.batch.preparing import STATE_FOLDER
    from vidsr.batch.store import Store

    inside = folder / STATE_FOLDER
    return Store.open(inside if inside.is_dir() else folder, create=False)


def _keys(store: Store, names: list[str] | None) -> list[str] | None:
    """Return the keys of the jobs that are named; None: all."""
    if not names:
        return None
    jobs = store.jobs()
    keys = []
    for name in names:
        found = [job.key for job in jobs if name in _called(job) or os.path.abspath(name) in _called(job)]  # noqa: PTH100 - text, not a path
        if not found:
            raise OptionsError(f"no job of this batch is called '{name}'", hint="see 'vidsr batch status'")
        keys += found
    return keys


def _called(job: JobRow) -> set[str]:
    return {job.key, job.name, str(job.job["source"]), job.output or job.key}
