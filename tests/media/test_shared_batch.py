"""Every third shared clip in one batch: the bytes of one job after another, and the same refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

import vidsr
from vidsr.batch.driver import Driver, DriverOptions
from vidsr.batch.entries import plan_batch
from vidsr.batch.inputs import gather
from vidsr.batch.preparing import prepare
from vidsr.batch.store import Store
from vidsr.errors import VidsrError

OPTIONS = {
    "backend": "nearest",
    "preset": "ultrafast",
    "end": 2.0,
    "segment_frames": 12,
    "encoder_threads": 2,
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_batch_makes_what_single_jobs_make(data: Path, tmp_path: Path) -> None:
    sources = gather([str(data / "video")], recursive=True).sources[::3]
    entries = plan_batch(sources, options=OPTIONS, output_dir=tmp_path / "batch")
    with Store.open(tmp_path / "state", create=True) as store:
        prepare(store, entries)
        options = DriverOptions(workers=2, threads=1, max_tries=1)
        with Driver(store, tmp_path / "state", options) as driver:
            driver.run()
        rows = {row.key: row for row in store.jobs()}
    done = 0
    for entry in entries:
        row = rows[entry.key]
        suffix = ".mp4" if row.output is None else Path(row.output).suffix
        single = tmp_path / "single" / f"{entry.key}{suffix}"
        single.parent.mkdir(exist_ok=True)
        try:
            vidsr.run(vidsr.Job(source=entry.job.source, output=single, **OPTIONS))
        except VidsrError:
            assert row.state == "failed", entry.name
            assert row.error, entry.name
            continue
        assert row.state == "done", (entry.name, row.error)
        assert row.output is not None
        assert Path(row.output).read_bytes() == single.read_bytes(), entry.name
        done += 1
    assert done > 30
