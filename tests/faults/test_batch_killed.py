"""`vidsr batch` killed thirty times, each time resumed: the same bytes, and next to nothing made twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synth import make_clip

import vidsr

KILLS = 30
SEED = 5
WORKERS = 2
COMMON = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 24, "encoder_threads": 1}
OPTIONS = (
    "--backend nearest --preset ultrafast --segment-frames 24 --encoder-threads 1 --workers 2 --no-progress"
)

Records = dict[Path, tuple[int, int]]


class Batch:
    """One command, started again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "vidsr", "batch", "in", "--output-dir", "out", *OPTIONS.split()]
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def workers(self) -> list[int]:
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in found.split()]

    def running(self) -> bool:
        assert self.process is not None
        return self.process.poll() is None

    def gone(self) -> None:
        """Wait until nobody of the session is left: workers end when their driver does."""
        assert self.process is not None
        self.process.wait(60)
        deadline = time.monotonic() + 30
        while in_session(self.process.pid):
            assert time.monotonic() < deadline, "a worker outlives its driver"
            time.sleep(0.02)

    def records(self) -> Records:
        """Return the records of whole segments, each with what changes when it is written anew."""
        found = {}
        for path in (self.folder / "out").glob("*.vidsr/[0-9]*.json"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found[path] = (status.st_ino, status.st_mtime_ns)
        return found


def in_session(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def kill(batch: Batch, what: str) -> bool:
    """Kill something at once; return whether there was anything to kill."""
    assert batch.process is not None
    try:
        if what == "group":
            os.killpg(batch.process.pid, signal.SIGKILL)
        elif what == "driver":
            os.kill(batch.process.pid, signal.SIGKILL)
        else:
            workers = batch.workers
            if not workers:
                return False
            os.kill(workers[0], signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True


def kept(before: Records, after: Records) -> int:
    """Check that no segment that was whole has been written again; return how many are still there."""
    for path in before.keys() & after.keys():
        assert before[path] == after[path], f"{path} was made twice"
    return len(before.keys() & after.keys())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "wanted").mkdir()
    wanted = {}
    for number, bframes in enumerate((0, 2, 3)):
        options = {"g": "24", "bf": str(bframes)}
        clip = make_clip(tmp_path / "in" / f"{number}.mkv", times=720, options=options, sound=True)
        wanted[f"{number}_2x.mp4"] = clip
    for name, clip in wanted.items():
        vidsr.run(vidsr.Job(source=clip, output=tmp_path / "wanted" / name, **COMMON))
    rng = random.Random(SEED)
    batch = Batch(tmp_path)
    kills = dict.fromkeys(("worker", "driver", "group"), 0)
    seen = 0
    while sum(kills.values()) < KILLS:
        for path in (tmp_path / "out").glob("*_2x.mp4") if (tmp_path / "out").exists() else ():
            path.unlink()  # a round is over: the plan notices, and makes them again
        before: Records = {}
        finished = False
        while not finished:
            batch.start()
            until = time.monotonic() + rng.uniform(0.8, 5.0)
            while time.monotonic() < until and batch.running():
                time.sleep(0.005)
            what = rng.choice(list(kills))
            if sum(kills.values()) < KILLS and kill(batch, what):
                kills[what] += 1
            if what == "worker":
                while batch.running():  # the batch goes on by itself
                    time.sleep(0.05)
            if sum(kills.values()) >= KILLS:
                while batch.running():
                    time.sleep(0.05)
            batch.gone()
            after = batch.records()
            seen += kept(before, after)
            before = after
            assert batch.process is not None
            finished = batch.process.returncode == 0
            assert batch.process.returncode in (0, -signal.SIGKILL), (tmp_path / "log").read_text()[-2000:]
        for name in wanted:
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "wanted" / name).read_bytes()
        left = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name not in wanted)
        assert left == [".vidsr-batch"]
        assert not list((tmp_path / "out" / ".vidsr-batch").glob("*.log"))
    assert all(kills.values()), kills
    assert seen > 0, "no kill came while there were whole segments"
