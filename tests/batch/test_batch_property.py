"""Whatever several workers do, in whatever order: no task has two holders, and a batch comes to its end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import HOST, Clock, new, opened, parts

from vidsr.batch.rows import LeaseLostError, Task
from vidsr.batch.store import Store
from vidsr.errors import OptionsError

_WORKERS = ("w0", "w1", "w2")
_LEASE_S = 10.0
_MAX_TRIES = 3
_STEP = st.tuples(
    st.sampled_from(
        "claim claim claim end end end end progress renew fail final release die leave pass expire "
        "retry cancel forget add change".split()
    ),
    st.sampled_from(_WORKERS),
    st.integers(0, 3),
)
# A disk in memory: the transactions are the same, and wait for no disk.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class _World:
    """What the workers believe: until when each holds what."""

    store: Store
    clock: Clock
    until: dict[tuple[str, int], float] = field(default_factory=dict)
    tasks: dict[tuple[str, int], Task] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    """Tasks that were taken from their workers because of their job."""

    def claim(self, worker: str, number: int) -> None:
        room = (None, 0, 1, 2)[number]
        task = self.store.claim(worker, host=HOST, seconds=_LEASE_S, room=room, max_tries=_MAX_TRIES)
        if task is None:
            return
        holders = [
            w
            for (w, held), until in self.until.items()
            if held == task.id and until > self.clock.now and held not in self.revoked
        ]
        assert not holders, f"{worker} got a task that {holders} hold"
        assert task.tries < _MAX_TRIES
        live = self.store.tasks(state="leased")
        memory = {job.id: job.memory for job in self.store.jobs()}
        if room is not None and len(live) > 1:
            assert sum(memory[t.job_id] for t in live) <= room
        self.until[worker, task.id] = self.clock.now + _LEASE_S
        self.tasks[worker, task.id] = task

    def end(self, worker: str, number: int) -> None:
        """End one of the tasks that a worker believes to hold."""
        mine = [task for (w, _), task in self.tasks.items() if w == worker]
        if not mine:
            return
        task = mine[number % len(mine)]
        truth = {row.id: row for row in self.store.tasks()}.get(task.id)
        is_mine = truth is not None and truth.state == "leased" and truth.worker == worker
        try:
            if task.kind == "plan":
                found = parts(number, frames=None, done=number // 2)
                self.store.planned(task.id, worker, found, frames=None, output="o", memory=number)
            elif task.kind == "segment":
                self.store.finished(task.id, worker, 1)
            else:
                self.store.joined(task.id, worker, {})
        except LeaseLostError:
            assert not is_mine
        else:
            assert is_mine
        self.drop(worker, task.id)

    def drop(self, worker: str, task: int) -> None:
        del self.until[worker, task], self.tasks[worker, task]

    def mine(self, worker: str) -> list[int]:
        return [task for w, task in self.until if w == worker]

    def renew(self, worker: str, _: int) -> None:
        mine = self.mine(worker)
        kept = self.store.renew(mine, worker, _LEASE_S)
        for task in mine:
            if task in kept:
                self.until[worker, task] = self.clock.now + _LEASE_S
            else:
                self.drop(worker, task)

    def give(self, worker: str, how: str) -> None:
        for task in self.mine(worker)[:1]:
            try:
                if how == "release":
                    self.store.released(task, worker)
                elif how == "progress":
                    self.store.progress(task, worker, 1)
                    return
                else:
                    final = how == "final"
                    self.store.failed(task, worker, how, final=final, max_tries=_MAX_TRIES, delay=3)
            except LeaseLostError:
                assert task not in self.store.renew([task], worker, _LEASE_S)
            self.drop(worker, task)

    def vanish(self, worker: str, how: str) -> None:
        if how == "die":
            self.store.dead(worker, "killed", _MAX_TRIES)
        else:
            self.store.leave(worker)
        for task in self.mine(worker):
            self.drop(worker, task)

    def jobs(self, how: str, number: int) -> None:
        key = f"j{number}"
        known = {job.key for job in self.store.jobs()}
        if how == "retry":
            self.store.retry()
        elif how == "cancel" and key in known:
            self.store.cancel([key])
        elif how == "forget" and key in known:
            self.store.forget(key)
        elif how == "add":
            prints = {job.key: job.fingerprint["input"] for job in self.store.jobs()}
            added = self.store.add([new(key, fingerprint=prints.get(key, 0))])
            assert not added.changed
        elif how == "change":
            try:
                self.store.add([new(key, fingerprint=int(self.clock.now))])
            except OptionsError:
                assert key in {job.key for job in self.store.jobs() if job.state == "running"}
        self.check()

    def step(self, how: str, worker: str, number: int) -> None:
        if how in ("claim", "end", "renew"):
            getattr(self, how)(worker, number)
        elif how in ("release", "fail", "final", "progress"):
            self.give(worker, how)
        elif how in ("die", "leave"):
            self.vanish(worker, how)
        elif how in ("pass", "expire"):
            self.clock.now += 4 if how == "pass" else _LEASE_S + 1
        else:
            self.jobs(how, number)
        self.check()

    def check(self) -> None:
        """Compare the plan with itself and with what the workers believe."""
        rows = {row.id: row for row in self.store.tasks()}
        self.revoked |= {task for _, task in self.until if task not in rows}
        for row in rows.values():
            assert (row.state == "leased") <= (row.worker is not None)
        for job in self.store.jobs():
            own = [row for row in rows.values() if row.job_id == job.id]
            left = {row.kind for row in own if row.state != "done"}
            if job.state in ("failed", "cancelled", "done"):
                assert not left
            elif job.state == "waiting":
                assert [(row.kind, row.state) for row in own] == [("plan", "waiting")]
            else:
                assert left == {"plan"} or "join" in left
        for (worker, task), until in self.until.items():
            if until > self.clock.now and task in rows:  # a lease that has not run out is never given away
                assert (rows[task].state, rows[task].worker) == ("leased", worker)


@settings(max_examples=150, deadline=None)
@given(st.lists(_STEP, min_size=10, max_size=80))
def test_any_order_of_events(steps: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder, opened(Path(folder), clock) as store:
        world = _World(store, clock)
        store.add([new(f"j{n}") for n in range(3)])
        for step in steps:
            world.step(*step)
        # From now on everybody works, and the dead stay dead.
        clock.now += _LEASE_S + 1
        world.until.clear()
        world.tasks.clear()
        for turn in range(500):
            if not store.open_tasks():
                break
            worker = _WORKERS[turn % 3]
            world.claim(worker, turn % 4)
            world.end(worker, turn % 4)
            clock.now += min(1.0, store.next_due() or 0.0)
        else:
            pytest.fail("the batch does not come to its end")
        assert {job.state for job in store.jobs()} <= {"done", "failed", "cancelled"}
