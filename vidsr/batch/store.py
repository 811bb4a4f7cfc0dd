"""The durable plan of a batch: which jobs there are, which tasks they consist of, who works on what.

It lives in ``batch.sqlite3`` in the batch's state folder. Every process that works on the batch opens its own
`Store`; on a network file system only one process can. Each method is one transaction, so a process may be
killed at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidsr.batch import claims, encoding
from vidsr.batch.database import Database
from vidsr.batch.jobs import add, begin_anew, drop_open_tasks, select
from vidsr.batch.rows import Added, JobState, NewJob, PlannedSegment, Task
from vidsr.batch.views import View

__all__ = ["Store"]


class Store(View):
    """An open plan. Threads of one process may share it; a fork may not.

    A worker is named by text that no other process has ever had, such as host, process id and time of start.
    It holds a task for a time (a lease) and renews that while it works. Where it does not, another worker
    gets the task. So it must write under a name of its own, and give a segment its final name only while it
    holds the task.

    Where a method takes a task and its worker, it raises `LeaseLostError` if the task is no longer this
    worker's, and changes nothing. All methods raise `OutputError` where the file cannot be read or written.
    """

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        create: bool,
        network: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Store:
        """Open the plan in a state folder.

        Args:
            folder: The batch's state folder.
            create: Whether to make it and an empty plan where there is none.
            network: Whether the folder is on a network file system; None: look.
            clock: Unix seconds. The processes of one batch must agree on them.

        Raises:
            OptionsError: There is no batch, or a newer vidsr's, or something else; or it is on a network file
                system and another process has it.
            OutputError: It cannot be opened or written.
        """
        return cls(Database(folder, create=create, network=network), clock)

    def close(self) -> None:
        """Close the plan; again is allowed. What the process's workers hold, they hold."""
        self._database.close()

    def __enter__(self) -> Store:
        """Return the open plan."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the plan."""
        self.close()

    @property
    def network(self) -> bool:
        """Whether this process is the only one that can have the plan open."""
        return self._database.network

    # Jobs

    def add(self, jobs: Sequence[NewJob]) -> Added:
        """Add jobs behind those that are there, all or none.

        One that is known with the same fingerprint stays as it is, but where it has failed it waits again.
        With another fingerprint it begins anew, whatever state it is in.

        Raises:
            OptionsError: Two have one key, or one has changed while a worker holds a task of it.
        """
        with self._database.writing() as db:
            return add(db, jobs, self._clock())

    def forget(self, key: str) -> bool:
        """Let a job that is done begin anew, because its output has vanished; return whether it was done.

        Raises:
            OptionsError: No job has this key.
        """
        return self._anew([key], ("done",)) == 1

    def retry(self, keys: Collection[str] | None = None) -> int:
        """Let failed jobs (None: all), and cancelled ones that are named, begin anew; return how many.

        Raises:
            OptionsError: No job has one of the keys.
        """
        return self._anew(keys, ("failed",) if keys is None else ("failed", "cancelled"))

    def _anew(self, keys: Collection[str] | None, states: Sequence[JobState]) -> int:
        with self._database.writing() as db:
            found = select(db, keys, states)
            for job in found:
                begin_anew(db, job)
            return len(found)

    def cancel(self, keys: Collection[str] | None = None) -> int:
        """Cancel waiting and running jobs (None: all); return how many. Workers see it when they renew.

        Raises:
            OptionsError: No job has one of the keys.
        """
        with self._database.writing() as db:
            found = select(db, keys, ("waiting", "running"))
            for job in found:
                drop_open_tasks(db, job)
                sql = "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ?"
                db.execute(sql, (self._clock(), job))
            return len(found)

    # Tasks

    def claim(
        self,
        worker: str,
        *,
        host: str,
        seconds: float,
        room: int | None,
        max_tries: int,
        avoid: Collection[int] = (),
    ) -> Task | None:
        """Return a task that is this worker's from now on; None: there is none for it now.

        Joins come first, then segments of the job that this worker had last, then those of the earliest job,
        then the earliest job's plan. Leases that have run out are taken back before, each as one try.

        Args:
            worker: Who asks.
            host: The machine on which it runs.
            seconds: How long it holds the task unless it renews.
            room: Bytes that all tasks held on this host may need; what needs more than is left is passed over
                for what does not. Where none is held the first task is given whatever it needs. None: any.
            max_tries: With how many failed tries of one task a job fails.
            avoid: Tasks that others shall have.
        """
        with self._database.writing() as db:
            now = self._clock()
            claims.expire(db, now, max_tries)
            row = claims.claim(db, worker, host, now, seconds, room, avoid)
            return None if row is None else encoding.task(row)

    def claim_next(self, job: int, number: int, worker: str, *, host: str, seconds: float) -> Task | None:
        """Return a certain segment's task if it waits: it is this worker's then. Otherwise None.

        For a worker that has just read to that segment's beginning. It needs no more memory than before.
        """
        with self._database.writing() as db:
            row = claims.claim_segment(db, job, number, worker, host, self._clock(), seconds)
            return None if row is None else encoding.task(row)

    def renew(self, tasks: Iterable[int], worker: str, seconds: float) -> frozenset[int]:
        """Hold tasks for `seconds` from now; return which still are this worker's. It drops the others."""
        with self._database.writing() as db:
            kept = frozenset(claims.leases(db, worker)).intersection(tasks)
            now = self._clock()
            for task in kept:
                db.execute("UPDATE tasks SET lease = ? WHERE id = ?", (now + seconds, task))
            db.execute("UPDATE workers SET beat = ? WHERE id = ?", (now, worker))
            return kept

    def progress(self, task: int, worker: str, frames: int) -> None:
        """Note how many frames of a task are made. Cheap; a power cut may lose it."""
        with self._database.writing(durable=False) as db:
            claims.held(db, task, worker)
            db.execute("UPDATE tasks SET made = ? WHERE id = ?", (frames, task))

    def planned(
        self,
        task: int,
        worker: str,
        segments: Sequence[PlannedSegment],
        *,
        frames: int | None,
        output: str,
        memory: int,
    ) -> None:
        """End a plan task: the job has these segments, and a join that can be claimed once all are done.

        Args:
            task: The plan task.
            worker: Who has it.
            segments: Those that an earlier run has made say so.
            frames: How many the result will have; None: not known.
            output: Its final path.
            memory: Bytes that a worker needs for the job; 0: not known.
        """
        with self._database.writing() as db:
            row = claims.of_kind(claims.held(db, task, worker), "plan")
            claims.plan(db, row, segments)
            # What was to be discarded is: tried again, the job goes on with what it has made.
            sql = (
                "UPDATE jobs SET frames = ?, output = ?, memory = ?,"
                " job = json_set(job, '$.discard', json('false')) WHERE id = ?"
            )
            db.execute(sql, (frames, encoding.plain(output), memory, row["job"]))

    def finished(self, task: int, worker: str, frames: int) -> None:
        """End a segment's task, which has made so many frames."""
        with self._database.writing() as db:
            claims.of_kind(claims.held(db, task, worker), "segment")
            db.execute("UPDATE tasks SET state = 'done', made = ? WHERE id = ?", (frames, task))

    def note(self, job: int, note: Mapping[str, Any]) -> None:
        """Add what a worker has to tell of a job to its report; `note` is for JSON."""
        with self._database.writing() as db:
            db.execute("INSERT INTO notes (job, note) VALUES (?, ?)", (job, encoding.stored(note)))

    def joined(self, task: int, worker: str, report: Mapping[str, Any]) -> None:
        """End a join task, and with it the job; `report` is for JSON."""
        with self._database.writing() as db:
            job = claims.of_kind(claims.held(db, task, worker), "join")["job"]
            db.execute("UPDATE tasks SET state = 'done' WHERE id = ?", (task,))
            db.execute(
                "UPDATE jobs SET state = 'done', report = ?, ended = ?, frames = coalesce(?,"
                " (SELECT coalesce(sum(made), 0) FROM tasks WHERE job = jobs.id AND kind = 'segment'))"
                " WHERE id = ?",
                (encoding.stored(report), self._clock(), report.get("frames"), job),
            )

    def failed(
        self, task: int, worker: str, error: str, *, final: bool, max_tries: int, delay: float = 0.0
    ) -> bool:
        """Count a try that failed; return whether the job has failed with it.

        Args:
            task: The task.
            worker: Who has it.
            error: Why, one line.
            final: Whether trying again is of no use.
            max_tries: With how many failed tries of one task a job fails.
            delay: Seconds for which the task waits before it is given out again.
        """
        with self._database.writing() as db:
            row = claims.held(db, task, worker)
            now = self._clock()
            final = final or row["tries"] + 1 >= max_tries
            claims.try_failed(db, row, error, now, final=final, due=now + delay)
            return final

    def explain(self, job: int, error: str) -> None:
        """Say better why a job has failed; nothing happens to one that has not, or not any more."""
        with self._database.writing() as db:
            said = encoding.plain(error)
            db.execute("UPDATE jobs SET error = ? WHERE id = ? AND state = 'failed'", (said, job))

    def released(self, task: int, worker: str) -> None:
        """Give a task back without counting a try."""
        with self._database.writing() as db:
            claims.give_back(db, claims.held(db, task, worker))

    # Workers

    def beat(self, worker: str, host: str, pid: int) -> None:
        """Note a sign of life; the first one says that a worker is there."""
        with self._database.writing(durable=False) as db:
            claims.seen(db, worker, host, pid, self._clock())

    def dead(self, worker: str, error: str, max_tries: int) -> int:
        """Take back all tasks of a worker that is known to be dead, each as one try; return how many.

        Args:
            worker: It is forgotten.
            error: How it died, such as "worker 3 was killed by signal 9"; the place is added.
            max_tries: With how many failed tries of one task a job fails.
        """
        with self._database.writing() as db:
            tasks = claims.leases(db, worker)
            for row in [claims.held(db, task, worker) for task in tasks]:
                claims.died(db, row, error, self._clock(), max_tries)
            db.execute("DELETE FROM workers WHERE id = ?", (worker,))
            return len(tasks)

    def leave(self, worker: str) -> int:
        """Forget a worker that ends, and give back what it holds without counting a try; return how many."""
        with self._database.writing() as db:
            tasks = claims.leases(db, worker)
            for task in tasks:
                claims.give_back(db, claims.held(db, task, worker))
            db.execute("DELETE FROM workers WHERE id = ?", (worker,))
            return len(tasks)
