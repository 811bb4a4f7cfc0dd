"""Workers of a batch that come, die and leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import HOST, Clock, must_claim, new, opened, plan, states

from vidsr.batch.rows import LeaseLostError, WorkerRow


def test_signs_of_life(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.beat("w1", HOST, 11)
        clock.now += 1
        store.add([new("a")])
        task = must_claim(store, "w2")
        clock.now += 1
        store.beat("w1", HOST, 11)
        store.renew([task.id], "w2", 5)
        assert store.workers() == (
            WorkerRow(id="w1", host=HOST, pid=11, begun=1000, beat=1002),
            WorkerRow(id="w2", host=HOST, pid=None, begun=1001, beat=1002),
        )
        store.beat("w2", HOST, 12)
        store.cancel()
        store.add([new("b")])
        must_claim(store, "w2")
        assert store.workers()[1].pid == 12  # a claim does not forget it


def test_a_dead_workers_tasks_go_back_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b")])
        plan(store, 2)
        tasks = [must_claim(store), must_claim(store), must_claim(store)]
        assert [t.kind for t in tasks] == ["segment", "segment", "plan"]
        assert store.dead("w", "worker w was killed by signal 9", 3) == 3
        assert states(store) == {"a": "running", "b": "waiting"}
        assert store.workers() == ()
        assert store.renew([t.id for t in tasks], "w", 5) == frozenset()
        again = must_claim(store, "v")
        assert (again.id, again.tries) == (tasks[0].id, 1)
        row = store.tasks(job_id=again.job_id)[1]
        assert row.error == "worker w was killed by signal 9 at segment 0, try 1 of 3"
        assert store.dead("w", "again", 3) == 0


def test_a_task_that_kills_its_workers_fails_its_job(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b")])
        plan(store, 2)
        for n in range(3):
            must_claim(store, f"w{n}")
            must_claim(store, f"w{n}")
            assert store.dead(f"w{n}", f"worker w{n} was killed", 3) == 2
        assert states(store) == {"a": "failed", "b": "waiting"}
        assert store.jobs()[0].error == "worker w2 was killed at segment 0, try 3 of 3"
        assert must_claim(store).key == "b"


def test_leaving_counts_no_try(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a")])
        plan(store, 2)
        held, other = must_claim(store, "w"), must_claim(store, "v")
        assert store.leave("w") == 1
        assert [w.id for w in store.workers()] == ["v"]
        with pytest.raises(LeaseLostError):
            store.progress(held.id, "w", 1)
        store.progress(other.id, "v", 1)
        again = must_claim(store, "v")
        assert (again.id, again.tries) == (held.id, 0)
