"""A worker: claims tasks of a batch and does them, one after another, until there is nothing left.

    python -m vidsr.batch.worker --calls 5 --threads 1 ...

It is a process of its own, started by `vidsr.batch.driver`, and ends when whoever started it does: its
standard input is a pipe that closes then.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from vidsr import records
from vidsr.batch.calls import remote_store
from vidsr.batch.memory import room_here
from vidsr.batch.nodes import told_by_node
from vidsr.batch.rows import LeaseLostError, PlannedSegment, Task
from vidsr.batch.steps import Steps
from vidsr.batch.store import Store
from vidsr.batch.templates import PendingName
from vidsr.errors import DecodeError, ModelError, OptionsError, UnsupportedFormatError, VidsrError, one_line
from vidsr.job import Job
from vidsr.report import Work

__all__ = ["Worker", "WorkerOptions", "main"]

_IDLE_SECONDS = 0.5  # between two looks for a task
_TOLD_SECONDS = 0.5  # between two notes of frames made
_RETRY_SECONDS = 2.0  # after a failure, doubled with each
_LAST_SECONDS = 10.0  # for cleaning up when the driver has gone
_FINAL = (OptionsError, ModelError, UnsupportedFormatError)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker works."""

    threads: int = 0
    """CPU threads of the network; 0: all cores."""
    lease_seconds: float = 60.0
    """After so long without a sign of life a worker counts as dead."""
    max_tries: int = 3
    """With how many failed tries of a task its job fails."""
    room: int | None = None
    """Bytes that all workers of this machine may need; None: what the machine has."""
    wait: bool = False
    """Whether to stay when nothing is left, because more may come."""
    node: str = ""
    """The cluster's node this is, for errors; "": there is no cluster."""


class Worker:
    """Claims and does tasks. Not for two threads."""

    def __init__(self, store: Store, options: WorkerOptions, *, name: str | None = None) -> None:
        """Prepare; `name` must be nobody else's, ever."""
        self._store, self._options = store, options
        self._host = socket.gethostname()
        self.name = name or f"{self._host}-{os.getpid()}-{time.time_ns()}"
        self._room = options.room or room_here()
        self._held: dict[int, Task] = {}
        """By segment number; -1: a plan or a join."""
        self._lost = False
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def run(self) -> None:
        """Work until nothing is left.

        Raises:
            OutputError: The plan's file cannot be read or written.
            KeyboardInterrupt: Somebody wants it to end; what it held is given back.
        """
        self._store.beat(self.name, self._host, os.getpid())
        renewing = threading.Thread(target=self._renew, name="vidsr-lease", daemon=True)
        renewing.start()
        try:
            with Steps(threads=self._options.threads) as steps:
                while True:
                    task = self._store.claim(
                        self.name,
                        host=self._host,
                        seconds=self._options.lease_seconds,
                        room=self._room,
                        max_tries=self._options.max_tries,
                    )
                    if task is not None:
                        self._do(task, steps)
                    elif self._options.wait or self._store.open_tasks():
                        time.sleep(_IDLE_SECONDS)
                    else:
                        return
        finally:
            self._ended.set()
            renewing.join()
            self._store.leave(self.name)

    def _do(self, task: Task, steps: Steps) -> None:
        self._lost = False
        with self._lock:
            self._held = {task.number if task.kind == "segment" else -1: task}
        try:
            job = records.from_mapping(Job, task.job)
            if task.output is not None:
                job = replace(job, output=Path(task.output))
            if task.kind == "plan":
                self._plan(task, job, steps)
            elif task.kind == "segment":
                self._make(task, job, steps)
            else:
                self._join(task, job, steps)
        except LeaseLostError:
            pass  # another has it, or nobody wants it any more
        except Exception as error:  # noqa: BLE001 - one job's failure is not the others'
            if self._failed(error) and isinstance(error, DecodeError) and task.kind != "plan":
                self._keep(task, job, steps, error)
            steps.forget(task.key)
        finally:
            with self._lock:
                self._held = {}

    def _keep(self, task: Task, job: Job, steps: Steps, error: DecodeError) -> None:
        """Keep what was made of a job that has failed because its source breaks off."""
        with suppress(VidsrError):  # the job has failed, and its error says why
            kept = steps.keep(task.key, job, error)
            if kept is not error:
                self._store.explain(task.job_id, one_line(str(kept)))

    def _failed(self, error: Exception) -> bool:
        """Give back what is held, a try that failed; return whether the job has failed with it."""
        final = isinstance(error, _FINAL)
        text = str(error) if isinstance(error, VidsrError) else f"unexpected {type(error).__name__} ({error})"
        with self._lock:
            held = list(self._held.values())
        failed = False
        if self._options.node:
            text, final = told_by_node(self._options.node, error, text, final, held)
        for number, task in enumerate(sorted(held, key=lambda task: task.number)):
            try:
                if number:
                    self._store.released(task.id, self.name)  # it was only about to begin
                    continue
                failed = self._store.failed(
                    task.id,
                    self.name,
                    one_line(text),
                    final=final,
                    max_tries=self._options.max_tries,
                    delay=_RETRY_SECONDS * 2**task.tries,
                )
            except LeaseLostError:
                continue
        return failed

    def _plan(self, task: Task, job: Job, steps: Steps) -> None:
        pending = task.fingerprint.get("pending")
        found = steps.look(task.key, job, pending=None if pending is None else PendingName(**pending))
        self._store.planned(
            task.id,
            self.name,
            found.segments,
            frames=found.frames,
            output=str(found.output),
            memory=found.memory,
        )

    def _make(self, task: Task, job: Job, steps: Steps) -> None:
        looked = time.monotonic()
        whole = 0
        alone = task.begin is None and task.end is None

        def more(number: int) -> PlannedSegment | None:
            following = self._store.claim_next(
                task.job_id, number, self.name, host=self._host, seconds=self._options.lease_seconds
            )
            if following is None:
                return None
            with self._lock:
                self._held[number] = following
            return _segment(following)

        def recorded(number: int, frames: int) -> None:
            nonlocal whole
            whole += frames
            with self._lock:
                ended = self._held.get(number)
            if ended is not None and not alone:
                self._store.finished(ended.id, self.name, frames)
                with self._lock:
                    del self._held[number]

        def told(frames: int) -> None:
            nonlocal looked
            if self._lost:
                raise LeaseLostError("another worker has it")
            if time.monotonic() - looked >= _TOLD_SECONDS:
                looked = time.monotonic()
                with self._lock:
                    current = min(self._held.items(), default=None)
                if current is not None:
                    self._store.progress(current[1].id, self.name, frames if alone else frames - whole)

        work = steps.make(task.key, job, _segment(task), more=more, recorded=recorded, told=told)
        with self._lock:
            rest = list(self._held.values())
        for held in rest:  # a job done in order is one task, whatever it was cut into
            self._store.finished(held.id, self.name, max(whole, work.frames))
        self._store.note(task.job_id, records.to_mapping(work))

    def _join(self, task: Task, job: Job, steps: Steps) -> None:
        parts = [records.from_mapping(Work, note) for note in self._store.notes(task.job_id)]
        frames, since = self._store.made(task.job_id), self._store.began(task.job_id)
        report = steps.join(task.key, job, parts, frames=frames, since=since)
        self._store.joined(task.id, self.name, records.to_mapping(report, keep_none=True))

    def _renew(self) -> None:
        """Hold the leases while the main thread works."""
        while not self._ended.wait(self._options.lease_seconds / 4):
            with self._lock:
                held = {task.id for task in self._held.values()}
            try:
                kept = self._store.renew(held, self.name, self._options.lease_seconds)
            except VidsrError:
                continue  # the disk may come back before the lease is over
            with self._lock:
                still = {task.id for task in self._held.values()}
            if (held - kept) & still:
                self._lost = True


def _segment(task: Task) -> PlannedSegment:
    return PlannedSegment(number=task.number, begin=task.begin, end=task.end, frames=task.frames)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker; the exit code is 0 where all that it could do is done or failed."""
    parser = argparse.ArgumentParser(prog="python -m vidsr.batch.worker")
    parser.add_argument("--calls", type=int, required=True, help="the connection's file descriptor")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lease", type=float, default=60.0)
    parser.add_argument("--max-tries", type=int, default=3)
    parser.add_argument("--room", type=int, default=0)
    parser.add_argument("--name", default=None)
    parser.add_argument("--node", default="")
    parser.add_argument("--wait", action="store_true")
    given = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    options = WorkerOptions(
        threads=given.threads,
        lease_seconds=given.lease,
        max_tries=given.max_tries,
        room=given.room or None,
        wait=given.wait,
        node=given.node,
    )
    try:
        with Connection(given.calls) as connection:
            Worker(remote_store(connection), options, name=given.name).run()
    except KeyboardInterrupt:
        return 130
    except VidsrError as error:
        sys.stderr.write(f"vidsr: {error}\n")
        return error.exit_code
    return 0


def _stop(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # cleaning up is not left half done
    raise KeyboardInterrupt


def _end_with_driver() -> None:
    """End this process when the driver's end of the pipe is closed, however the driver ended."""
    while os.read(0, 1 << 10):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LAST_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
