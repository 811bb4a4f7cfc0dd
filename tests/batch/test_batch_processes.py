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
    assert [process.wait(200) for process in running] == [0] * 8
    lines = [line.rsplit(" ", 1) for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(task for task, _ in lines) == Counter(_expected(jobs))
    assert len({worker for _, worker in lines}) > 1
    _check(tmp_path, jobs)


def _killing(folder: Path, *, jobs: int, kills: int, workers: int, seed: int) -> None:
    """Kill `kills` processes, half from outside and half from within transactions; then let all end."""
    rnd = random.Random(seed)
    with opened(folder) as store:
        store.add([new(f"j{n}") for n in range(jobs)])
    killed = started = within = 0
    running: list[subprocess.Popen[bytes]] = []
    try:
        while killed < kills:
            while len(running) < workers:
                more = [str(rnd.randrange(1, 90))] if started % 2 else []
                running.append(_start(folder, f"w{started}", 2, *more))
                started += 1
            time.sleep(rnd.uniform(0, 0.3))
            victim = rnd.choice(running)
            victim.kill()
            for process in [p for p in running if p is victim or p.poll() is not None]:
                code = process.wait(60)
                running.remove(process)
                assert code in (0, -9)
                killed += code == -9
                within += code == -9 and process is not victim
        with opened(folder, Clock()) as store:
            assert any(job.state != "done" for job in store.jobs()), "too few jobs: nothing was left to kill"
        running += [_start(folder, f"end{n}", 60) for n in range(2)]
        for process in running:
            code = process.wait(200)
            assert code in (0, -9)
            killed += code == -9
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert 0 < within < killed
    lines = (folder / "log").read_text().splitlines()
    counts = Counter(line.rsplit(" ", 1)[0] for line in lines)
    lost = counts.pop("lost", 0)
    assert set(counts) == _expected(jobs)
    # A process has one task at most: no more were done again than were killed, or hung for too long.
    assert sum(counts.values()) - len(counts) <= killed + lost
    _check(folder, jobs)


def test_killed_processes_leave_nothing_broken(tmp_path: Path) -> None:
    _killing(tmp_path, jobs=60, kills=8, workers=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_killed_processes_leave_nothing_broken(tmp_path: Path, seed: int) -> None:
    _killing(tmp_path, jobs=150, kills=40, workers=4, seed=seed)


def test_one_driver_on_a_network_that_is_killed_again_and_again(tmp_path: Path) -> None:
    rnd = random.Random(7)
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
