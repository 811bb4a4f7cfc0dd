"""Batches on many machines, without any: who tries again what a node has failed at, and what errors say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from plans import LEASE_S, MAX_TRIES, must_claim, new, opened, parts

from vidsr.batch import nodes
from vidsr.batch.cluster import ClusterDriver
from vidsr.batch.driver import DriverOptions
from vidsr.batch.nodes import Tries, plan_of_node, told_by_node
from vidsr.batch.store import Store
from vidsr.errors import BackendUnavailableError, OptionsError, OutputError, SourceError

BOTH = frozenset({"a", "b"})
HOW = {"host": "here", "seconds": LEASE_S, "room": None, "max_tries": MAX_TRIES}


def two_segments(store: Store) -> None:
    store.add([new("job")])
    task = must_claim(store, "planner")
    store.planned(task.id, "planner", parts(2), frames=20, output="job", memory=1)


def test_what_a_node_has_failed_at_is_another_nodes_next(tmp_path: Path) -> None:
    living = BOTH
    with opened(tmp_path) as store:
        two_segments(store)
        tries = Tries()
        seen = {node: plan_of_node(store, node, tries, lambda: living) for node in "ab"}
        first = seen["a"].claim("worker-a", **HOW)
        assert first is not None
        seen["a"].failed(first.id, "worker-a", "no disk", final=False, max_tries=MAX_TRIES)
        other = seen["a"].claim("worker-a", **HOW)
        assert other is not None
        assert other.id != first.id
        assert seen["a"].claim("worker-a", **HOW) is None
        again = seen["b"].claim("worker-b", **HOW)
        assert again is not None
        assert again.id == first.id
        seen["b"].failed(first.id, "worker-b", "no disk", final=False, max_tries=MAX_TRIES)
        third = seen["a"].claim("worker-a", **HOW)  # all have failed at it
        assert third is not None
        assert third.id == first.id


def test_a_node_that_is_left_alone_tries_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        two_segments(store)
        seen = plan_of_node(store, "a", Tries(), lambda: frozenset("a"))
        first = seen.claim("worker-a", **HOW)
        assert first is not None
        seen.failed(first.id, "worker-a", "no disk", final=False, max_tries=MAX_TRIES)
        again = seen.claim("worker-a", **HOW)
        assert again is not None
        assert again.id == first.id


@pytest.mark.parametrize("there", [True, False])
def test_a_plan_that_the_driver_does_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(nodes, "_SEEN_SECONDS", 0.0)
    output = tmp_path / "out" / "job.mkv"
    output.parent.mkdir()
    (output.parent / "other.mkv.vidsr").mkdir()
    if there:
        output.with_name("job.mkv.vidsr").mkdir()
    with opened(tmp_path / "state") as store:
        store.add([new("job")])
        seen = plan_of_node(store, "a", Tries(), lambda: BOTH)
        task = must_claim(store)
        how = {"frames": 20, "output": str(output), "memory": 1}
        if there:
            seen.planned(task.id, "w", parts(2), **how)
        else:
            with pytest.raises(OutputError, match="all nodes mount under the same path"):
                seen.planned(task.id, "w", parts(2), **how)
        assert bool(store.jobs()[0].segments) == there


def test_errors_name_the_node_and_what_it_does_not_see(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("job")])
        planning = must_claim(store)
        absent = SourceError("no such file", path=tmp_path / "clip.mp4")
        text, final = told_by_node("n1 (10.0.0.5)", absent, str(absent), True, [planning])
        assert text.startswith(f"on node n1 (10.0.0.5): {tmp_path}/clip.mp4: no such file; ")
        assert "all nodes mount under the same path" in text
        assert not final
        present = SourceError("it is text", path=tmp_path)
        assert told_by_node("n1", present, str(present), True, [planning]) == (f"on node n1: {present}", True)
        store.planned(planning.id, "w", parts(2), frames=20, output="job", memory=1)
        segment = must_claim(store)
        odd = OptionsError("not here")
        assert told_by_node("n1", odd, "not here", True, [segment]) == ("on node n1: not here", False)


def test_absent_ray_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with opened(tmp_path) as store:
        driver = ClusterDriver(store, tmp_path, DriverOptions(), address="local")
        with pytest.raises(BackendUnavailableError, match=r"pip install 'vidsr\[ray\]'"), driver:
            pass
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"  # before Ray is imported


@pytest.mark.parametrize("gpus", [-0.5, 1.5, float("nan")])
def test_shares_of_gpus_that_ray_cannot_give(tmp_path: Path, gpus: float) -> None:
    with opened(tmp_path) as store, pytest.raises(OptionsError, match="GPUs"):
        ClusterDriver(store, tmp_path, DriverOptions(), address="local", gpus_per_worker=gpus)
