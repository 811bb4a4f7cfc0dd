"""A batch from its words to its end: gather, plan, drive workers, tell what happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vidsr import records
from vidsr.batch.cluster import ClusterDriver
from vidsr.batch.driver import Driver, DriverOptions
from vidsr.batch.entries import BatchEntry, plan_batch
from vidsr.batch.finding import absolute
from vidsr.batch.incoming import Incoming
from vidsr.batch.inputs import Inputs, gather
from vidsr.batch.meter import Meter, Standing
from vidsr.batch.preparing import STATE_FOLDER, Prepared, prepare, state_folder
from vidsr.batch.rows import JOB_STATES, JobRow, JobState
from vidsr.batch.store import Store
from vidsr.batch.templates import check_template
from vidsr.batch.tuning import choose_workers
from vidsr.errors import OptionsError
from vidsr.job import Job

__all__ = ["BatchOptions", "BatchResult", "Viewer", "run_batch"]

DEFAULT_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What is asked of a batch."""

    words: tuple[str, ...]
    """Files, folders, globs, manifests, ``-``; see `vidsr.batch.inputs`."""
    recursive: bool = False
    job: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Job` that were named; they win over a manifest's."""
    output: str | None = None
    """A template, see `vidsr.batch.templates`."""
    output_dir: Path | None = None
    state: Path | None = None
    """Where the plan lies; None: beside the results."""
    workers: int | None = None
    """None: what a manifest says, or what is measured to be best."""
    max_tries: int | None = None
    """With how many failed tries of a task its job fails; None: what a manifest says, or 3."""
    full_hash: bool = False
    """Whether sources are recognised by all of their bytes."""
    cluster: str | None = None
    """A Ray cluster's address, see `vidsr.batch.cluster`; None: this machine alone."""
    gpus: float = 0.0
    """Each worker's share of GPUs, on a cluster."""
    watch: bool = False
    """Whether words are folders that go on being looked at."""
    poll: bool = False
    """Whether to look instead of being told, when watching."""
    settle_seconds: float = 5.0
    """How long a file that comes in must not have changed."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How a batch ended."""

    jobs: tuple[JobRow, ...]
    """Those of this run, in order."""
    counts: Mapping[JobState, int]
    """How many are in each state; all states are there."""
    seconds: float

    @property
    def exit_code(self) -> int:
        """0: all done; 3: some failed or were cancelled."""
        return 0 if self.counts["done"] == len(self.jobs) else 3


class Viewer(Protocol):
    """Who is told of a batch as it goes."""

    def begin(self, state: Path, prepared: Prepared, workers: int, why: str) -> None:
        """The plan is made."""

    def warn(self, text: str) -> None:
        """Tell something that the user should know."""

    def busy(self, text: str) -> None:
        """Tell what takes a moment before there is anything to show."""

    def read(self, count: int) -> None:
        """So many more bytes of sources were read, to recognise them."""

    def show(self, standing: Standing) -> None:
        """This is how far it is."""


def run_batch(options: BatchOptions, viewer: Viewer) -> BatchResult:
    """Do all jobs of a batch that are not done.

    Args:
        options: What to do.
        viewer: Told what happens, in this thread.

    Raises:
        OptionsError: Before any work: the words or options are wrong, or nothing is meant by them.
        BackendError: Workers do not start.
        OutputError: The plan cannot be read or written.
        KeyboardInterrupt: Workers have been ended; what is finished stays.
    """
    began = time.monotonic()
    notes: list[str] = []
    if options.watch:
        folders = _folders(options)
        entries: tuple[BatchEntry, ...] = ()
        inputs = Inputs(sources=())
        place = options.state or (options.output_dir or folders[0]) / STATE_FOLDER
    else:
        stdin = sys.stdin.buffer if "-" in options.words else None
        inputs = gather(options.words, recursive=options.recursive, stdin=stdin)
        entries = plan_batch(
            inputs.sources,
            options=options.job,
            output=options.output,
            output_dir=options.output_dir,
            notes=notes,
        )
        place = options.state or state_folder(entries)
    place = absolute(place)
    for note in [*inputs.notes, *notes]:
        viewer.warn(note)
    with Store.open(place, create=True) as store:
        prepared = prepare(store, entries, full_hash=options.full_hash, progress=viewer.read)
        for text in prepared.warnings():
            viewer.warn(text)
        workers, why = _workers(options, inputs, store, prepared, viewer)
        viewer.begin(place, prepared, workers, why)
        how = DriverOptions(
            workers=workers,
            max_tries=options.max_tries or inputs.max_tries or DEFAULT_TRIES,
            wait=options.watch,
        )
        meter = Meter(store)
        show = _shower(meter, viewer)
        with _driver(options, store, place, how) as driver:
            if options.watch:
                with Incoming(folders, options, store, viewer, prepared.keys) as incoming:
                    driver.run(show, incoming.take)
            else:
                driver.run(show)
        standing = meter.look(now=True)
        assert standing is not None  # it was asked for now
        viewer.show(standing)
    mine = set(prepared.keys)
    jobs = tuple(job for job in standing.jobs if job.key in mine)
    counts: dict[JobState, int] = dict.fromkeys(JOB_STATES, 0)
    for job in jobs:
        counts[job.state] += 1
    return BatchResult(jobs, counts, time.monotonic() - began)


def _shower(meter: Meter, viewer: Viewer) -> Callable[[], None]:
    def show() -> None:
        standing = meter.look()
        if standing is not None:
            viewer.show(standing)

    return show


def _driver(options: BatchOptions, store: Store, place: Path, how: DriverOptions) -> Driver | ClusterDriver:
    if options.cluster is None:
        return Driver(store, place, how)
    return ClusterDriver(store, place, how, address=options.cluster, gpus_per_worker=options.gpus)


def _workers(
    options: BatchOptions, inputs: Inputs, store: Store, prepared: Prepared, viewer: Viewer
) -> tuple[int, str]:
    """Return how many workers there shall be, and why."""
    if options.workers is not None:
        return options.workers, "as was asked for"
    if inputs.workers is not None:
        return inputs.workers, "as the manifest says"
    if options.cluster is not None:
        return 0, "one worker on each node of the cluster"
    mine = set(prepared.keys)
    rows = [row for row in store.jobs() if row.state in ("waiting", "running")]
    left = [records.from_mapping(Job, row.job) for row in rows if row.key in mine or not mine]
    if not left:
        return 1, "nothing to measure with"
    return choose_workers(left, trying=lambda: viewer.busy("trying how many workers are the fastest"))


def _folders(options: BatchOptions) -> Sequence[Path]:
    if options.output is not None:
        check_template(options.output)
    folders = [absolute(Path(word)) for word in options.words]
    for folder in folders:
        if not folder.is_dir():
            raise OptionsError(
                "only folders can be watched", path=folder, hint="name folders, or leave --watch out"
            )
    return folders
