"""kill -9 at random moments of a batch: a worker, the driver, or all at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from command import ROOT
from synth import make_clip
from waiting import until

COMMON = "--backend nearest --preset ultrafast --encoder-threads 1 --segment-frames 10".split()
CLIPS, FRAMES = 3, 240
WORKERS = 2
KILLS = 30

# A run is long enough to be hit at any moment of it; workers get it by PYTHONPATH, as sitecustomize.
_SLOWER = """
import sys
if "vidsr.batch.worker" in sys.orig_argv:
    import time
    import vidsr.video.video_sink as sinks
    write = sinks.VideoSink.write
    def slow(self, out):
        time.sleep(0.008)
        write(self, out)
    sinks.VideoSink.write = slow
"""


def processes(group: int) -> dict[int, list[str]]:
    """Return the living processes of a session, with their command lines."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            words = (status.parent / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(fields[3]) == group and fields[0] != "Z":
            found[int(status.parent.name)] = words
    return found


@dataclass
class Batch:
    """``vidsr batch in --output-dir out`` in a folder, run again and again."""

    folder: Path
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Segments that are whole: inode and time of change."""
    kills: list[str] = field(default_factory=list)
    lost: int = 0
    """Segments that were begun and never recorded; their files go when the job is joined."""
    lost_at: int = 0
    """How many kills there were when they were counted last."""

    def start(self) -> subprocess.Popen[str]:
        slower = self.folder / "slower"
        slower.mkdir(exist_ok=True)
        (slower / "sitecustomize.py").write_text(_SLOWER)
        words = ["in", "--output-dir", "out", "--workers", str(WORKERS), "--max-tries", "100", *COMMON]
        return subprocess.Popen(
            [sys.executable, "-m", "vidsr", "batch", *words, "--no-progress"],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": f"{slower}{os.pathsep}{ROOT}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def strike(self, process: subprocess.Popen[str], rng: random.Random) -> bool:
        """Kill a worker, the driver or everything; return whether the driver is dead."""
        kind = rng.choice(["worker", "driver", "group"])
        there = processes(process.pid)
        workers = [pid for pid, words in there.items() if "vidsr.batch.worker" in words]
        if kind == "worker" and not workers:
            return False
        self.kills.append(kind)
        with suppress(ProcessLookupError):
            if kind == "worker":
                os.kill(rng.choice(workers), signal.SIGKILL)
            elif kind == "driver":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        return kind != "worker"

    def look(self) -> None:
        """Check that what was whole is still the same file, and how much is half done."""
        now: dict[str, tuple[int, int]] = {}
        ended = set()
        for clip in range(CLIPS):
            work = self.folder / "out" / f"{clip}_2x.mp4.vidsr"
            if (self.folder / "out" / f"{clip}_2x.mp4").exists():
                ended.add(work.name)
                continue
            records = {path.stem for path in work.glob("??????.json")}
            for path in work.glob("??????.mp4"):
                if path.stem in records:
                    about = path.stat()
                    now[f"{work.name}/{path.stem}"] = about.st_ino, about.st_mtime_ns
        for name, file in self.seen.items():
            if name.partition("/")[0] not in ended:
                assert now.get(name) == file, f"{name} was whole, and was made again"
        self.seen |= now

    def count_lost(self) -> None:
        """Check that no kill has cost more than the segment that each killed worker was at."""
        lost = len(list(self.folder.glob("out/*.vidsr/??????~*.mp4")))
        most = sum(1 if kind == "worker" else WORKERS for kind in self.kills[self.lost_at :])
        assert lost <= self.lost + most, "more than a segment for each killed worker is lost"
        self.lost, self.lost_at = lost, len(self.kills)


def gone(group: int) -> None:
    """Wait until no process of a killed driver is left."""
    until(lambda: not processes(group))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_thirty_times(tmp_path: Path) -> None:
    rng = random.Random(7)
    (tmp_path / "in").mkdir()
    wanted = []
    for number in range(CLIPS):
        options = {"g": "10", "bf": "2"}
        source = make_clip(tmp_path / f"in/{number}.mkv", times=FRAMES, options=options, sound=True)
        one = tmp_path / f"wanted{number}.mp4"
        words = [str(source), "-o", str(one), *COMMON, "--no-progress"]
        subprocess.run([sys.executable, "-m", "vidsr", "upscale", *words], check=True, stderr=subprocess.PIPE)
        wanted.append(one.read_bytes())
    batch = Batch(tmp_path)
    rounds = 0
    while len(batch.kills) < KILLS:
        rounds += 1
        assert rounds < 20, "it gets done before it is killed"
        done(batch, rng)
        results = [tmp_path / "out" / f"{number}_2x.mp4" for number in range(CLIPS)]
        assert [path.read_bytes() for path in results] == wanted
        left = {path.name for path in (tmp_path / "out").iterdir()}
        assert left == {".vidsr-batch", *(path.name for path in results)}
        state = {path.name for path in (tmp_path / "out/.vidsr-batch").iterdir()}
        assert state <= {"batch.sqlite3", "batch.sqlite3-wal", "batch.sqlite3-shm"}
        for path in results:
            path.unlink()
        batch.seen.clear()
        batch.lost = 0
    assert set(batch.kills) == {"worker", "driver", "group"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "in",
        "out",
        "slower",
        *(f"wanted{number}.mp4" for number in range(CLIPS)),
    }


def done(batch: Batch, rng: random.Random) -> None:
    """Run the batch to its end, killing something of it every few moments."""
    process = batch.start()
    while True:
        try:
            out, _ = process.communicate(timeout=rng.uniform(0.6, 2.2))
        except subprocess.TimeoutExpired:
            if len(batch.kills) < KILLS and batch.strike(process, rng):
                process.communicate()
                gone(process.pid)
                batch.look()
                batch.count_lost()
                process = batch.start()
            continue
        if batch.kills[-3:] == ["worker"] * 3 and "workers do not start: the last one was killed by" in out:
            # Three of them in a row before they had begun, where they take long to begin: so it must end.
            assert process.returncode == 1, out
            gone(process.pid)
            process = batch.start()
            continue
        assert process.returncode == 0, out
        gone(process.pid)
        return
