"""From the words of ``vidsr batch`` to jobs in the plan: what is new, what is done, what has changed.

Nothing of a medium is opened here: workers look at sources. So thousands of files are planned in a moment.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vidsr import records
from vidsr.batch.entries import BatchEntry
from vidsr.batch.identity import differences, fingerprint
from vidsr.batch.rows import JobRow, NewJob
from vidsr.batch.store import Store
from vidsr.choice import AUTO_NETWORK
from vidsr.cores import usable_cores
from vidsr.errors import OptionsError, SourceError
from vidsr.identity import file_sha256
from vidsr.job import AUTO, Job
from vidsr.models.lookup import list_models
from vidsr.video.parts import folder_of

__all__ = ["STATE_FOLDER", "Prepared", "prepare", "state_folder"]

STATE_FOLDER = ".vidsr-batch"
"""Name of a batch's state folder, beside the results."""

_RUNTIME = ("vidsr", "libraries")
"""Of a fingerprint: what made a result is no reason to make it again."""


@dataclass(slots=True)
class Prepared:
    """What became of the entries; each is in one of the numbers."""

    keys: list[str] = field(default_factory=list)
    new: int = 0
    done: int = 0
    """By an earlier run; they are skipped."""
    going_on: int = 0
    """Begun, or waiting, by an earlier run."""
    retried: int = 0
    """They had failed, and are tried again."""
    changed: list[str] = field(default_factory=list)
    """Those that begin anew, each with why."""
    lost: list[str] = field(default_factory=list)
    """Those whose results, or finished segments, have vanished: they begin anew, too."""

    def told(self) -> str:
        """Return the numbers in words."""
        words = {
            "new": self.new,
            "to go on with": self.going_on,
            "done before": self.done,
            "to try again": self.retried,
            "changed": len(self.changed),
            "to make again": len(self.lost),
        }
        jobs = "1 job" if len(self.keys) == 1 else f"{len(self.keys)} jobs"
        return f"{jobs}: " + ", ".join(f"{n} {what}" for what, n in words.items() if n)

    def warnings(self) -> list[str]:
        """Return which jobs begin anew, and why."""
        changed = [f"begins anew, because it is another job now: {text}" for text in self.changed]
        return changed + [
            f"begins anew, because what was made of it has vanished: {name}" for name in self.lost
        ]


def state_folder(entries: Sequence[BatchEntry]) -> Path:
    """Return the state folder of a batch that names none: in the folder that all results are below.

    Raises:
        OptionsError: They have none in common but the root of the file system.
    """
    places = [entry.anchor for entry in entries if entry.result is not None]
    common = Path(os.path.commonpath(places)) if places else Path.cwd()
    if common == Path(common.anchor):
        raise OptionsError("the results have no folder in common", hint="name a folder with --state")
    return common / STATE_FOLDER


def prepare(
    store: Store,
    entries: Iterable[BatchEntry],
    *,
    full_hash: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Put entries into the plan and say what they are to it.

    A job that is known stays as it is unless its source, options or model have changed. One that is
    done stays done under another version of vidsr; one that is unfinished begins anew.

    Args:
        store: The plan.
        entries: Of `vidsr.batch.entries.plan_batch`.
        full_hash: Whether all of a source is read to recognise it.
        progress: Called with the number of bytes read.

    Raises:
        OptionsError: A job has changed while a worker has it.
    """
    known = {row.key: row for row in store.jobs()}
    found = Prepared()
    jobs = []
    models = _Models()
    for entry in entries:
        row = known.get(entry.key)
        job = _settled(entry.job, row)
        print_ = _print(entry, job, models, full_hash=full_hash, progress=progress)
        if print_ is None:  # a worker will say so as well, if there is anything left to do
            print_ = {"source": {}, "options": {}} if row is None else dict(row.fingerprint)
        found.keys.append(entry.key)
        job, kept = _compared(store, found, row, job, print_, entry.name)
        jobs.append(NewJob(key=entry.key, name=entry.name, job=job, fingerprint=kept, anew=job.discard))
    store.add(jobs)
    return found


def _print(
    entry: BatchEntry,
    job: Job,
    models: _Models,
    *,
    full_hash: bool,
    progress: Callable[[int], None] | None,
) -> dict[str, Any] | None:
    """Return what an entry is known by, as it comes out of JSON; None: its source cannot be read."""
    try:
        found = fingerprint(job, job.source, full_hash=full_hash, progress=progress)
    except SourceError:
        return None
    found |= {"model": models.digest(job.model), "libraries": _versions()}
    if entry.pending is not None:
        found["pending"] = {k: v for k, v in asdict(entry.pending).items() if k != "suffixes"}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _compared(
    store: Store, found: Prepared, row: JobRow | None, job: Job, print_: dict[str, Any], name: str
) -> tuple[Job, Mapping[str, Any]]:
    """Count an entry; return its job and what it is known by from now on."""
    if row is None:
        found.new += 1
        return job, print_
    now = print_
    if row.state == "done":
        now = now | {key: row.fingerprint[key] for key in _RUNTIME if key in row.fingerprint}
    why = differences(row.fingerprint, now)
    if why:
        found.changed.append(f"{name}: {why}")
        return replace(job, discard=True), now
    if row.output is not None and not os.path.lexists(row.output):
        if row.state == "done":
            store.forget(row.key)
            found.lost.append(name)
            return job, row.fingerprint
        if row.state == "running" and row.segments_done and not folder_of(Path(row.output)).is_dir():
            found.lost.append(name)  # by vidsr clean, or by hand
            return replace(job, discard=True), row.fingerprint
    if row.state == "done":
        found.done += 1
    elif row.state == "failed":
        found.retried += 1
    elif row.state == "cancelled":
        store.retry([row.key])
        found.retried += 1
    else:
        found.going_on += 1
    return job, row.fingerprint  # as it was: a file that was only moved or touched may spell it otherwise


def _settled(job: Job, row: JobRow | None) -> Job:
    """Fix what decides the encoder's bytes when a job is first planned, whichever machine goes on with it."""
    if job.encoder_threads:
        return job
    earlier = None if row is None else records.from_mapping(Job, row.job).encoder_threads
    return replace(job, encoder_threads=earlier or usable_cores())


class _Models:
    """Digests of what ``--model`` can come to."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def digest(self, name: str) -> str:
        """Return a digest of all models that a name can mean; "" of a name that means none."""
        if name not in self._digests:
            self._digests[name] = self._of(name)
        return self._digests[name]

    def _of(self, name: str) -> str:
        if name.lower().endswith(".onnx"):
            try:
                return file_sha256(Path(name))
            except SourceError:
                return ""
        family = AUTO_NETWORK if name == AUTO else name
        meant = {
            m.spec.id: [file.sha256 for _, file in sorted(m.spec.files.items())]
            for m in list_models()
            if family in (m.spec.network, m.spec.id, m.spec.id.partition("x-")[2])
        }
        return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest() if meant else ""


def _versions() -> dict[str, str]:
    found = {}
    for package in ("av", "openvino"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
