"""Two processes on one batch, on a machine that is busy: no segment is made twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from command import ROOT
from synth import make_clip

import vidsr
from vidsr.batch.store import Store

COMMON = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 12, "encoder_threads": 1}
CLIPS, FRAMES = 3, 480
# The command with a plan that notes down who was given what.
_MAIN = """
import os, sys
from vidsr.batch.store import Store
from vidsr.cli import main
def noted(claim):
    def wrapped(self, *args, **kwargs):
        task = claim(self, *args, **kwargs)
        if task is not None:
            line = f"{task.key} {task.kind} {task.number} {os.getpid()}\\n"
            with open(os.environ["CLAIMS"], "a", encoding="utf-8") as file:
                file.write(line)
        return task
    return wrapped
Store.claim = noted(Store.claim)
Store.claim_next = noted(Store.claim_next)
sys.argv[0] = "vidsr"
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_processes_share_a_batch(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    wanted = {}
    for number in range(CLIPS):
        clip = make_clip(tmp_path / "in" / f"{number}.mkv", times=FRAMES, options={"g": "12", "bf": "2"})
        vidsr.run(vidsr.Job(source=clip, output=tmp_path / f"{number}.mp4", **COMMON))
        wanted[f"{number}_2x.mp4"] = (tmp_path / f"{number}.mp4").read_bytes()
    options = "--backend nearest --preset ultrafast --segment-frames 12 --encoder-threads 1 --workers 2"
    command = [sys.executable, "-c", _MAIN, "batch", "in", "--output-dir", "out", *options.split()]
    environment = {**os.environ, "CLAIMS": str(tmp_path / "claims"), "PYTHONPATH": str(ROOT)}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        drivers = [
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=environment,
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = [driver.communicate(timeout=300) for driver in drivers]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert [driver.returncode for driver in drivers] == [0, 0], said
    assert {n: (tmp_path / "out" / n).read_bytes() for n in wanted} == wanted
    claims = [line.split() for line in (tmp_path / "claims").read_text(encoding="utf-8").splitlines()]
    times = Counter(tuple(claim[:3]) for claim in claims)
    assert set(times.values()) == {1}, "something was given out twice"
    # plan, segments and join of each: every one, by both processes
    assert len(times) == CLIPS * (2 + FRAMES // 12)
    assert len({claim[3] for claim in claims}) == 2
    with Store.open(tmp_path / "out" / ".vidsr-batch", create=False) as store:
        assert [job.tries for job in store.jobs()] == [0] * CLIPS
        assert store.workers() == ()
