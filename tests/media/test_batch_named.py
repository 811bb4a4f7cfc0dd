"""A worker killed while it gives the result its name, at each step of that: the result counts once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip

import vidsr
from vidsr.batch.driver import Driver, DriverOptions
from vidsr.batch.rows import JobRow, NewJob
from vidsr.batch.store import Store
from vidsr.errors import OutputError
from vidsr.video.output import was_named

COMMON = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 12, "encoder_threads": 1}
Damage = Callable[[Path], None]


class DeadlyStore(Store):
    """Kills the worker that has joined, before that is noted; then changes what it has left, if asked to."""

    struck = 0
    damage: Damage = staticmethod(lambda output: None)

    def joined(self, task: int, worker: str, report: Any) -> None:
        if not self.struck:
            self.struck = 1
            self.damage(Path(self.jobs()[0].output or ""))
            os.kill(next(one.pid for one in self.workers() if one.id == worker), signal.SIGKILL)
            raise OutputError("a dead worker's call does not count")
        super().joined(task, worker, report)


def plan_left(output: Path) -> None:
    """As if killed before the first file of the work folder was deleted, behind which nothing is missing."""
    output.with_name(output.name + ".vidsr").mkdir()
    (output.with_name(output.name + ".vidsr") / "000003.mp4").write_bytes(b"a segment")


def result_gone(output: Path) -> None:
    output.unlink()


def driven(tmp_path: Path, name: str, damage: Damage) -> tuple[JobRow, bytes, Path]:
    source = make_clip(tmp_path / "in.mkv", times=30, options={"g": "12"})
    end = Path(name).suffix
    wanted = tmp_path / "wanted" / name
    wanted.parent.mkdir()
    options = COMMON | ({"frames": 1, "preset": None} if end == ".png" else {})
    vidsr.run(vidsr.Job(source=source, output=wanted, **options))
    job = vidsr.Job(source=source, output=tmp_path / "out" / name, **options)
    state = tmp_path / "state"
    with DeadlyStore.open(state, create=True) as store:
        assert isinstance(store, DeadlyStore)
        store.damage = damage  # type: ignore[method-assign]
        store.add([NewJob(key="one", name="one", job=job, fingerprint={})])
        with Driver(store, state, DriverOptions(threads=1)) as driver:
            driver.run()
        assert store.struck
        return store.jobs()[0], wanted.read_bytes(), tmp_path / "out" / name


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.png"])
@pytest.mark.parametrize("damage", [lambda output: None, plan_left], ids=["cleared", "half cleared"])
def test_a_result_that_was_not_noted_counts(tmp_path: Path, name: str, damage: Damage) -> None:
    row, wanted, output = driven(tmp_path, name, damage)
    assert (row.state, row.error, row.tries) == ("done", None, 1)
    assert row.report is not None
    assert row.report["frames"] == row.frames == (1 if name == "out.png" else 30)
    assert output.read_bytes() == wanted
    assert [p.name for p in output.parent.iterdir()] == [name]


@pytest.mark.slow
def test_without_a_result_it_does_not(tmp_path: Path) -> None:
    row, _, output = driven(tmp_path, "out.mp4", result_gone)
    assert row.state == "failed"
    assert "the work folder is gone" in (row.error or "")
    assert list(output.parent.iterdir()) == []


def test_a_result_of_before_is_not_taken_for_it(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"older")
    assert was_named(output, output.stat().st_mtime)
    with pytest.raises(OutputError, match="the work folder is gone"):
        was_named(output, output.stat().st_mtime + 1)
    work = tmp_path / "out.mp4.vidsr"
    work.mkdir()
    (work / "plan.json").write_text("{}")
    assert not was_named(output, output.stat().st_mtime)
    shutil.rmtree(work)
