"""Workers of a real batch: results as vidsr upscale makes them, also when workers are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from describe import describe
from synth import make_clip

import vidsr
from vidsr.batch.driver import Driver, DriverOptions
from vidsr.batch.rows import NewJob, Task
from vidsr.batch.store import Store

COMMON = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 12, "encoder_threads": 1}


class DeadlyStore(Store):
    """Kills the first worker that gets a segment, which it holds then."""

    struck = False

    def claim(self, worker: str, **how: Any) -> Task | None:
        task = super().claim(worker, **how)
        if task is not None and task.kind == "segment" and not self.struck:
            self.struck = True
            os.kill(next(one.pid for one in self.workers() if one.id == worker), signal.SIGKILL)
        return task


@pytest.mark.parametrize("killed", [False, True])
def test_same_bytes_as_one_run(tmp_path: Path, killed: bool) -> None:
    jobs, wanted = [], []
    for number in range(2):
        source = make_clip(tmp_path / f"{number}.mkv", times=60, options={"g": "12", "bf": "2"}, sound=True)
        vidsr.run(vidsr.Job(source=source, output=tmp_path / f"wanted{number}.mkv", **COMMON))
        wanted.append((tmp_path / f"wanted{number}.mkv").read_bytes())
        job = vidsr.Job(source=source, output=tmp_path / "out" / f"{number}.mkv", **COMMON)
        jobs.append(NewJob(key=str(job.output), name=source.name, job=job, fingerprint={}))
    state = tmp_path / "state"
    with (DeadlyStore if killed else Store).open(state, create=True) as store:
        store.add(jobs)
        with Driver(store, state, DriverOptions(workers=2, threads=1)) as driver:
            driver.run()
        rows = store.jobs()
        assert [(row.state, row.error) for row in rows] == [("done", None)] * 2
        assert [row.frames for row in rows] == [60, 60]
        assert sum(row.tries for row in rows) == killed
        assert store.workers() == ()
    assert [(tmp_path / "out" / f"{n}.mkv").read_bytes() for n in range(2)] == wanted
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.mkv", "1.mkv"]
    assert not list(state.glob("*.log"))


def test_one_jobs_failure_is_not_the_others(tmp_path: Path) -> None:
    good = make_clip(tmp_path / "good.mkv", times=12)
    (tmp_path / "bad.mkv").write_bytes(b"no video at all" * 100)
    with Store.open(tmp_path / "state", create=True) as store:
        for name in ("bad", "good"):
            job = vidsr.Job(source=tmp_path / f"{name}.mkv", output=tmp_path / f"{name}_2x.mkv", **COMMON)
            store.add([NewJob(key=name, name=name, job=job, fingerprint={})])
        with Driver(store, tmp_path / "state", DriverOptions(max_tries=1)) as driver:
            driver.run()
        bad, fine = store.jobs()
        assert (bad.state, fine.state) == ("failed", "done")
        assert "bad.mkv" in (bad.error or "")
    assert good.exists()
    assert (tmp_path / "good_2x.mkv").exists()
    assert not (tmp_path / "bad_2x.mkv").exists()


def test_what_was_made_before_a_source_breaks_off_is_kept(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "whole.mkv", times=60, options={"g": "12"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    job = vidsr.Job(source=cut, output=tmp_path / "cut_2x.mkv", **COMMON)
    with Store.open(tmp_path / "state", create=True) as store:
        store.add([NewJob(key="cut", name="cut", job=job, fingerprint={})])
        with Driver(store, tmp_path / "state", DriverOptions(workers=2, threads=1, max_tries=1)) as driver:
            driver.run()
        (row,) = store.jobs()
    kept = tmp_path / "cut_2x.partial.mkv"
    assert row.state == "failed"
    assert str(kept) in (row.error or "")
    assert not job.output or not job.output.exists()
    assert 12 <= len(describe(kept).times) < 60
