"""Tasks of a batch: in which order they are given out, how they end, what a lease is worth."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import LEASE_S, Clock, claim, must_claim, new, opened, parts, plan, states, work

from vidsr.batch.rows import LeaseLostError, Summary
from vidsr.batch.store import Store


def test_a_job_from_beginning_to_end(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("a")])
        assert store.open_tasks()
        task = must_claim(store)
        assert (task.kind, task.number, task.tries, task.output) == ("plan", 0, 0, None)
        assert (task.key, task.name, task.fingerprint) == ("a", "a.mp4", {"input": 0})
        assert states(store) == {"a": "running"}
        store.planned(task.id, "w", parts(3, done=1), frames=30, output="a.mkv", memory=7)
        segments = [must_claim(store), must_claim(store)]
        assert [(t.number, t.begin, t.end, t.frames) for t in segments] == [
            (1, 100, 200, 10),
            (2, 200, None, 10),
        ]
        assert segments[0].output == "a.mkv"
        clock.now += 1
        store.finished(segments[1].id, "w", 11)
        assert claim(store) is None  # the join waits for the other segment
        assert store.open_tasks()
        store.finished(segments[0].id, "w", 10)
        join = must_claim(store)
        assert join.kind == "join"
        assert claim(store) is None
        store.joined(join.id, "w", {"frames": 31, "name": "\udce9"})
        (job,) = store.jobs()
        assert (job.state, job.frames, job.made, job.segments, job.segments_done) == ("done", 31, 31, 3, 3)
        assert (job.output, job.memory, job.began, job.ended) == ("a.mkv", 7, 1000, 1001)
        assert job.report == {"frames": 31, "name": "\udce9"}
        assert not store.open_tasks()


def test_order(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b"), new("c"), new("d")])
        plans = [must_claim(store, w) for w in ("w1", "w2", "w3")]
        for task, worker, count in zip(plans, ("w1", "w2", "w3"), (2, 3, 1), strict=True):
            store.planned(task.id, worker, parts(count), frames=None, output=task.key, memory=0)
        # its own job, though another is earlier; then the earliest; a new worker gets the earliest
        taken = [must_claim(store, "w2") for _ in range(3)]
        assert [(t.key, t.number) for t in taken] == [("b", 0), ("b", 1), ("b", 2)]
        assert [(t.key, t.number) for t in (must_claim(store, "w9"), must_claim(store, "w2"))] == [
            ("a", 0),
            ("a", 1),
        ]
        last = must_claim(store, "w3")
        assert last.key == "c"
        store.finished(last.id, "w3", 10)
        store.add([new("z")])
        joined = must_claim(store, "w1")
        assert (joined.key, joined.kind) == ("c", "join")
        assert [(t.key, t.kind) for t in (must_claim(store, "w1"), must_claim(store, "w1"))] == [
            ("d", "plan"),
            ("z", "plan"),
        ]
        assert claim(store) is None


def test_a_task_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("big"), new("small")])
        first, second = must_claim(store), must_claim(store)
        store.planned(first.id, "w", parts(3), frames=30, output="big", memory=100)
        store.planned(second.id, "w", parts(3), frames=30, output="small", memory=30)
        assert must_claim(store, "x", room=50).key == "big"  # alone on its host
        assert claim(store, "y", room=120) is None
        assert must_claim(store, "y", room=130).key == "small"
        assert must_claim(store, "z", room=50, host="there").key == "big"  # another host's memory
        clock.now += LEASE_S  # what is no longer held needs nothing
        assert must_claim(store, "y", room=50).key == "small"  # it worked on that last
        assert claim(store, "x", room=60) is not None
        assert claim(store, "x", room=60) is None


def test_failures_count(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("a")])
        plan(store, 2)
        other = must_claim(store, "other")
        for tries in (0, 1):
            task = must_claim(store)
            assert (task.number, task.tries) == (1, tries)
            store.progress(task.id, "w", 4)
            assert not store.failed(task.id, "w", f"no {tries}", final=False, max_tries=3, delay=5)
            assert claim(store) is None
            assert store.next_due() == pytest.approx(5)
            row = store.tasks(job_id=task.job_id)[2]
            assert (row.state, row.made, row.tries, row.error) == ("waiting", 0, tries + 1, f"no {tries}")
            clock.now += 5
            store.renew([other.id], "other", LEASE_S)
        assert store.failed(must_claim(store).id, "w", "enough", final=False, max_tries=3)
        (job,) = store.jobs()
        assert (job.state, job.error, job.tries, job.ended) == ("failed", "enough", 3, clock.now)
        with pytest.raises(LeaseLostError):
            store.finished(other.id, "other", 10)
        assert not store.open_tasks()


def test_a_final_failure_fails_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b")])
        assert store.failed(must_claim(store).id, "w", "no video", final=True, max_tries=9)
        assert states(store) == {"a": "failed", "b": "waiting"}
        assert must_claim(store).key == "b"


def test_given_back_is_no_try(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a")])
        for _ in range(5):
            task = must_claim(store)
            assert task.tries == 0
            store.released(task.id, "w")
            assert states(store) == {"a": "waiting"}
        work(store)
        assert states(store) == {"a": "done"}


def test_an_expired_lease_is_a_try(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("a"), new("b")])
        plan(store, 1)
        for tries in range(3):
            task = must_claim(store, f"w{tries}")
            assert (task.kind, task.tries) == ("segment", tries)
            assert store.next_due() == LEASE_S
            clock.now += LEASE_S
            assert store.next_due() == 0
        assert must_claim(store, "w9").key == "b"
        assert store.jobs()[0].state == "failed"
        assert store.jobs()[0].error == "worker w2 died or hung at segment 0, try 3 of 3"


def test_a_lease_is_kept_by_renewing_and_until_somebody_takes_it(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("a")])
        plan(store, 1)
        task = must_claim(store)
        for _ in range(5):
            clock.now += LEASE_S - 1
            assert store.renew([task.id, 999], "w", LEASE_S) == {task.id}
            assert claim(store, "other") is None
        assert store.renew([task.id], "other", LEASE_S) == frozenset()
        clock.now += LEASE_S + 1
        assert store.renew([task.id], "w", LEASE_S) == {task.id}
        clock.now += LEASE_S + 1
        assert must_claim(store, "other").id == task.id
        assert store.renew([task.id], "w", LEASE_S) == frozenset()


@pytest.mark.parametrize("how", ["finished", "progress", "failed", "released", "planned", "joined"])
def test_a_lost_lease_changes_nothing(tmp_path: Path, how: str) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("a")])
        if how != "planned":
            plan(store, 1, done=int(how == "joined"))
        task = must_claim(store)
        clock.now += LEASE_S
        assert must_claim(store, "other").id == task.id
        before = (store.jobs(), store.tasks())
        with pytest.raises(LeaseLostError, match=f"task {task.id} is no longer worker w's"):
            _end(store, how, task.id, "w")
        assert (store.jobs(), store.tasks()) == before
        _end(store, how, task.id, "other")
        assert (store.jobs(), store.tasks()) != before


def _end(store: Store, how: str, task: int, worker: str) -> None:
    match how:
        case "failed":
            store.failed(task, worker, "e", final=False, max_tries=9)
        case "released":
            store.released(task, worker)
        case "planned":
            store.planned(task, worker, parts(2), frames=20, output="o", memory=1)
        case "joined":
            store.joined(task, worker, {})
        case _:
            getattr(store, how)(task, worker, 5)


def test_the_wrong_end_of_a_task_is_a_mistake(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a")])
        task = must_claim(store)
        with pytest.raises(ValueError, match="is a plan, not a segment"):
            store.finished(task.id, "w", 1)
        assert states(store) == {"a": "running"}


def test_summary(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b"), new("c")])
        plan(store, 2)
        store.finished(must_claim(store).id, "w", 9)
        store.progress(must_claim(store).id, "w", 4)
        counts = {"waiting": 2, "running": 1, "done": 0, "failed": 0, "cancelled": 0}
        assert store.summary() == Summary(counts=counts, frames=13, expected=None)
        store.cancel(["b"])
        store.failed(must_claim(store).id, "w", "e", final=True, max_tries=3)
        counts = {"waiting": 0, "running": 1, "done": 0, "failed": 1, "cancelled": 1}
        assert store.summary() == Summary(counts=counts, frames=13, expected=20)
