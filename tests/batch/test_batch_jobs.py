"""Jobs in a batch's plan: added again, changed, tried again, forgotten, cancelled."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from plans import Clock, claim, must_claim, new, opened, parts, plan, states, work

from vidsr import records
from vidsr.batch.rows import Added, LeaseLostError, NewJob
from vidsr.errors import OptionsError
from vidsr.job import Job


def test_a_job_comes_back_as_it_went_in(tmp_path: Path) -> None:
    job = Job(
        source="http://a/b.mp4", output=Path("o.mkv"), scale=Fraction(3, 2), crf=20.5, drop=(1, "audio")
    )
    with opened(tmp_path) as store:
        store.add([NewJob(key="o.mkv", name="b.mp4", job=job, fingerprint={"z": [1, None], "a": "ü"})])
        (row,) = store.jobs()
        assert records.from_mapping(Job, row.job) == job
        assert (row.key, row.name, row.fingerprint) == ("o.mkv", "b.mp4", {"z": [1, None], "a": "ü"})
        assert (row.state, row.frames, row.output, row.report, row.began) == (
            "waiting",
            None,
            None,
            None,
            None,
        )


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    name = "caf\udce9\n.mp4"  # as os.fsdecode makes it of Latin-1
    with opened(tmp_path) as store:
        assert store.add([new(name)]).new == 1
        assert store.add([new(name)]).known == 1
        task = must_claim(store)
        assert (task.key, task.job["source"]) == (name, f"{name}.mp4")
        store.planned(task.id, "w", parts(1), frames=10, output=name, memory=0)
        store.failed(must_claim(store).id, "w", f"cannot read {name}", final=True, max_tries=3)
        row = store.jobs()[0]
        assert (row.key, row.output, row.error) == (name, name, f"cannot read {name}")
        assert store.retry([name]) == 1


def test_adding_counts_and_keeps_order(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.add([new("b"), new("a")]) == Added(new=2, known=0, changed=0, retried=0)
        assert store.add([new("c"), new("a")]) == Added(new=1, known=1, changed=0, retried=0)
        assert [(j.key, j.position) for j in store.jobs()] == [("b", 0), ("a", 1), ("c", 2)]


def test_what_is_done_stays_done_and_what_failed_waits_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("done")])
        work(store)
        store.add([new("failed"), new("cancelled")])
        store.failed(must_claim(store).id, "w", "broken", final=True, max_tries=3)
        store.cancel(["cancelled"])
        before = store.jobs()[0]
        again = [new("done"), new("failed", verify="full"), new("cancelled")]
        assert store.add(again) == Added(new=0, known=2, changed=0, retried=1)
        assert states(store) == {"done": "done", "failed": "waiting", "cancelled": "cancelled"}
        assert store.jobs()[0] == before
        failed = store.jobs()[1]
        assert (failed.error, failed.tries, failed.ended) == (None, 0, None)
        assert failed.job["verify"] == "full"  # not in the fingerprint: as it was asked for last
        assert must_claim(store).key == "failed"


def test_another_fingerprint_begins_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b")])
        plan(store)
        work(store)
        assert store.add([new("a", fingerprint=1), new("b")]) == Added(new=0, known=1, changed=1, retried=0)
        job = store.jobs()[0]
        assert (job.state, job.report, job.frames, job.segments) == ("waiting", None, None, 0)
        assert job.fingerprint == {"input": 1}
        assert must_claim(store).kind == "plan"


def test_a_job_in_work_does_not_change(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        store.add([new("a")])
        task = must_claim(store)
        with pytest.raises(OptionsError, match="a: its source, options or model have changed while worker w"):
            store.add([new("b"), new("a", fingerprint=1)])
        assert states(store) == {"a": "running"}  # all or none
        clock.now += 11  # the lease has run out
        assert store.add([new("a", fingerprint=1)]).changed == 1
        with pytest.raises(LeaseLostError):
            store.finished(task.id, "w", 1)
        again = must_claim(store)
        assert again.id != task.id  # or a worker that had hung would take the new task for its own


def test_two_jobs_with_one_output_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(OptionsError, match=r"o: 'o.mp4' and 'o.mp4' would have the same output"):
            store.add([new("p"), new("o"), new("o")])
        assert store.jobs() == ()


def test_forgetting_and_trying_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a"), new("b"), new("c")])
        work(store)
        assert store.forget("a")
        assert not store.forget("a")
        assert states(store) == {"a": "waiting", "b": "done", "c": "done"}
        store.failed(must_claim(store).id, "w", "broken", final=True, max_tries=3)
        store.add([new("d")])
        store.cancel(["d"])
        assert store.retry() == 1
        assert states(store)["d"] == "cancelled"
        assert store.retry(["d", "d", "b"]) == 1  # named; b is done and stays
        assert states(store) == {"a": "waiting", "b": "done", "c": "done", "d": "waiting"}
        for method in (store.forget, lambda key: store.retry([key]), lambda key: store.cancel([key])):
            with pytest.raises(OptionsError, match="x: no job of this batch makes this"):
                method("x")
        work(store)
        assert set(states(store).values()) == {"done"}


def test_cancelling(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("done")])
        work(store)
        store.add([new("a"), new("b")])
        plan(store, 2)
        store.finished(must_claim(store).id, "w", 10)
        task = must_claim(store)
        assert store.renew([task.id], "w", 5) == {task.id}
        assert store.cancel() == 2
        assert states(store) == {"done": "done", "a": "cancelled", "b": "cancelled"}
        assert store.renew([task.id], "w", 5) == frozenset()
        with pytest.raises(LeaseLostError):
            store.finished(task.id, "w", 10)
        assert claim(store) is None
        assert not store.open_tasks()
        assert store.next_due() is None
        assert store.jobs()[1].segments_done == 1
        assert store.cancel() == 0
