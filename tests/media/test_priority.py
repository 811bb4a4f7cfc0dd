"""Encoders leave the process and its threads the priority that it had."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from synth import make_clip

from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.video import writer


def real_time() -> set[int]:
    """Return the threads that are scheduled before all ordinary ones."""
    found = set()
    for path in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(int(path.name)) != os.SCHED_OTHER:
                found.add(int(path.name))
    return found


@pytest.mark.media
@pytest.mark.parametrize("codec", ["libsvtav1", "libx264", "libx265"])
def test_no_thread_becomes_a_real_time_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    """As root SVT-AV1 makes all of its threads, and the one that opens it, SCHED_FIFO."""
    clip = make_clip(tmp_path / "in.mp4", times=12, size=(160, 120))
    seen: list[set[int]] = []
    write = writer.SegmentWriter.write

    def looked(self: writer.SegmentWriter, out: writer.OutputFrame) -> None:
        write(self, out)
        seen.append(real_time())

    monkeypatch.setattr(writer.SegmentWriter, "write", looked)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    before = real_time()  # of encoders that other tests have opened by themselves
    run(Job(source=clip, output=tmp_path / "out.mkv", codec=codec, backend="nearest"))
    assert len(seen) >= 10
    assert set().union(*seen) <= before
    assert real_time() <= before
