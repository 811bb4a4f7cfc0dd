"""A batch as it goes: one bar over all jobs, or events for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

import typer

from vidsr.errors import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from vidsr.batch.meter import Standing
    from vidsr.batch.preparing import Prepared
    from vidsr.batch.rows import JobRow
    from vidsr.batch.run import BatchResult

__all__ = ["BatchBar", "JsonLines", "told_failures"]

_MOST_NAMES = 2  # of the files that are worked on, in the bar
_LONGEST_NAME = 24


class BatchBar:
    """One progress bar over all jobs on stderr; what ends is a line above it."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._bar: Any = None
        self._ended: set[int] | None = None

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def begin(self, state: Path, prepared: Prepared, workers: int, why: str) -> None:
        """Tell what is to be done."""
        self.__exit__()
        self._bar = None
        self._say(f"{prepared.told()}")
        self._say(f"plan in {state}")
        self._say(why if not workers or why.startswith(str(workers)) else f"{workers} workers: {why}")

    def warn(self, text: str) -> None:
        """Tell something that the user should know."""
        self._say(f"warning: {text}")

    def busy(self, text: str) -> None:
        """Tell what takes a moment."""
        self._say(f"{text} ...")

    def read(self, count: int) -> None:
        """Show how much was read to recognise the sources."""
        if self._hidden:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                desc="reading sources",
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
                mininterval=_interval(),
                leave=False,
            )
        self._bar.update(count)

    def show(self, standing: Standing) -> None:
        """Show how far the batch is."""
        ended = {job.id for job in standing.jobs if job.state in ("done", "failed", "cancelled")}
        if self._ended is not None:
            for job in standing.jobs:
                if job.id in ended - self._ended:
                    for line in _told(job):
                        self._say(line)
        self._ended = ended
        if not self._hidden:
            self._update(standing)

    def end(self, result: BatchResult) -> None:
        """Tell how it ended."""
        self.__exit__()
        self._bar = None
        counts = result.counts
        words = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
        jobs = "1 job" if len(result.jobs) == 1 else f"{len(result.jobs)} jobs"
        typer.echo(f"{jobs}: {words or 'nothing to do'}; {result.seconds:.1f} s")
        for line in told_failures(result.jobs):
            typer.echo(line)

    def _update(self, standing: Standing) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=standing.expected,
                initial=standing.frames,
                unit=" frames",
                bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames{postfix}",
                dynamic_ncols=True,
                mininterval=_interval(),
                leave=False,
            )
        bar, counts = self._bar, standing.counts
        bar.total = max(standing.expected or 0, standing.frames) or None
        ended = counts["done"]
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        bar.set_description_str(f"{ended}/{len(standing.jobs)} jobs{failed} ", refresh=False)
        about = "" if standing.exact else "about "
        eta = "" if standing.eta_seconds is None else f", {about}{_clock(standing.eta_seconds)} left"
        names = list(dict.fromkeys(one.name for one in standing.working))
        more = f" +{len(names) - _MOST_NAMES}" if len(names) > _MOST_NAMES else ""
        now = ", ".join(_short(name) for name in names[:_MOST_NAMES]) + more
        bar.set_postfix_str(f"{standing.fps:.1f} fps{eta}{': ' if now else ''}{now}", refresh=False)
        bar.update(standing.frames - bar.n)
        if sys.stderr.isatty():
            bar.refresh()

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()


class JsonLines:
    """Events on stdout, as `vidsr.batch.events` makes them."""

    def __init__(self) -> None:
        from vidsr.batch.events import Events

        self._events = Events()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def begin(self, state: Path, prepared: Prepared, workers: int, why: str) -> None:
        """Print the first event."""
        self._print(self._events.begin(str(state), prepared, workers, why))

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._print(self._events.warning(text))

    def busy(self, text: str) -> None:
        """Say nothing: the next event comes."""

    def read(self, count: int) -> None:
        """Say nothing: the next event comes."""

    def show(self, standing: Standing) -> None:
        """Print what has changed."""
        for event in self._events.changes(standing):
            self._print(event)

    def end(self, result: BatchResult) -> None:
        """Print the last event."""
        self._print(self._events.end(result.counts, result.seconds, result.exit_code))

    def _print(self, event: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()  # whoever reads a pipe waits for it


def _interval() -> float:
    return 0.2 if sys.stderr.isatty() else 10.0


def told_failures(jobs: tuple[JobRow, ...]) -> list[str]:
    """Return a line for each job that failed, with its reason."""
    return [one_line(f"failed: {job.name}: {job.error}") for job in jobs if job.state == "failed"]


def _told(job: JobRow) -> list[str]:
    """Return what became of a job, and each of its warnings."""
    if job.state == "done":
        warnings = (job.report or {}).get("warnings", ())
        return [
            f"done: {job.name}: {job.frames} frames, {job.output}",
            *(f"  warning: {text}" for text in warnings),
        ]
    return [f"{job.state}: {job.name}" + (f": {job.error}" if job.error else "")]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    days, rest = divmod(whole, 86400)
    text = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {text}" if days else text
