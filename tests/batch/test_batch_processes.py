"""Many processes on one plan, also such that are killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from batch_worker import SEGMENTS, TASKS
from plans import Clock, new, opened

from vidsr.batch.database import FILE_NAME

_WORKER = Path(__file__).with_name("batch_worker.py")


def _start(
    folder: Path, worker: str, lease: float, *more: str, disk: str = "local"
) -> subprocess.Popen[bytes]:
    command = [sys.executable, _WORKER, folder, folder / "log", worker, str(lease), disk, *more]
    return subprocess.Popen(command)


def _expected(jobs: int) -> set[str]:
    numbers = [*(f"segment {n}" for n in range(SEGMENTS)), "plan 0", "join 0"]
    return {f"j{job} {number}" for job in range(jobs) for number in numbers}


def _check(folder: Path, jobs: int) -> None:
    """Find the file whole and every job done."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with opened(folder, create=False) as store:
        rows = store.jobs()
        assert [(r.key, r.state, r.made, r.segments_done) for r in rows] == [
            (f"j{n}", "done", 10 * SEGMENTS, SEGMENTS) for n in range(jobs)
        ]
        assert {t.state for t in store.tasks()} == {"done"}
        assert len(store.tasks()) == jobs * TASKS


def test_eight_processes_do_every_task_once(tmp_path: Path) -> None:
    jobs = 30
    with opened(tmp_path) as store:
        store.add([new(f"j{n}") for n in range(jobs)])
    running = [_start(tmp_path, f"w{n}", 120) for n in range(8)]
    while len(list(tmp_path.glob("ready.*"))) < 8:
        assert all(process.poll() is None for process in running)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.wait(200) for process in running] == [0] * 8
    lines = [line.rsplit(" ", 1) for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(task for task, _ in lines) == Counter(_expected(jobs))
    assert len({worker for _, worker in lines}) > 1
    _check(tmp_path, jobs)


def _is_at_work(folder: Path, worker: str) -> bool:
    log = folder / "log"
    return log.exists() and f" {worker}\n" in log.read_text()


def _killing(folder: Path, *, jobs: int, kills: int, seed: int) -> None:
    """Kill processes, half from outside half from within transactions, two at a time; then let all end."""
    rnd = random.Random(seed)
    (folder / "go").touch()
    with opened(folder) as store:
        store.add([new(f"j{n}") for n in range(jobs)])
    running: list[subprocess.Popen[bytes]] = []
    try:
        for turn in range(kills // 2):
            running.append(_start(folder, f"out{turn}", 2))
            running.append(_start(folder, f"in{turn}", 2, str(rnd.randrange(1, 90))))
            while not _is_at_work(folder, f"out{turn}"):
                assert running[-2].poll() is None
                time.sleep(0.01)
            time.sleep(rnd.uniform(0, 0.1))
            running[-2].kill()
            assert [process.wait(60) for process in running] == [-9, -9]
            running.clear()
        with opened(folder, Clock()) as store:
            assert any(job.state != "done" for job in store.jobs()), "too few jobs: nothing was left to kill"
        running += [_start(folder, f"end{n}", 60) for n in range(3)]
        assert [process.wait(200) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    lines = (folder / "log").read_text().splitlines()
    counts = Counter(line.rsplit(" ", 1)[0] for line in lines)
    lost = counts.pop("lost", 0)
    assert set(counts) == _expected(jobs)
    # A process has one task at most: no more were done again than were killed, or hung for too long.
    assert sum(counts.values()) - len(counts) <= kills + lost
    _check(folder, jobs)


def test_killed_processes_leave_nothing_broken(tmp_path: Path) -> None:
    _killing(tmp_path, jobs=40, kills=10, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_killed_processes_leave_nothing_broken(tmp_path: Path, seed: int) -> None:
    _killing(tmp_path, jobs=150, kills=40, seed=seed)


def test_one_driver_on_a_network_that_is_killed_again_and_again(tmp_path: Path) -> None:
    rnd = random.Random(7)
    (tmp_path / "go").touch()
    jobs, killed = 2, 0
    with opened(tmp_path, network=True) as store:
        store.add([new(f"j{n}") for n in range(jobs)])
    while True:
        more = [str(rnd.randrange(1, 60))] if killed < 12 else []
        code = _start(tmp_path, f"w{killed}", 0.02, *more, disk="network").wait(60)
        if code == 0:
            break
        assert code == -9
        killed += 1
        time.sleep(0.02)
    assert killed > 5
    lines = (tmp_path / "log").read_text().splitlines()
    assert {line.rsplit(" ", 1)[0] for line in lines} == _expected(jobs)
    _check(tmp_path, jobs)
