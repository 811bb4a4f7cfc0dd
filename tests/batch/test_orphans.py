"""Which workers are taken for dead, and what they held is given to others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidsr.batch.orphans import log_name, remove_logs, take_back, worker_name
from vidsr.batch.rows import NewJob
from vidsr.batch.store import Store
from vidsr.job import Job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path, create=True) as store:
        store.add([NewJob(key="one", name="one", job=Job(source="in.mp4"), fingerprint={})])
        yield store


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def holds(store: Store, name: str, pid: int | None) -> None:
    if pid is not None:
        store.beat(name, socket.gethostname(), pid)
    assert store.claim(name, host=socket.gethostname(), seconds=600, room=None, max_tries=3) is not None


def named(driver: int) -> str:
    return f"{socket.gethostname()}-{driver}-17-1"


def test_of_a_dead_driver(store: Store, dead: int) -> None:
    holds(store, named(dead), dead)
    assert take_back(store, []) == 1
    assert store.workers() == ()
    (task,) = store.tasks()
    assert (task.state, task.tries) == ("waiting", 0)


def test_one_that_still_works_is_left(store: Store, dead: int) -> None:
    name = named(dead)
    with subprocess.Popen([sys.executable, "-c", "input()", name], stdin=subprocess.PIPE) as process:
        holds(store, name, process.pid)
        assert take_back(store, []) == 0
        process.kill()
        process.wait()
    assert take_back(store, []) == 1


def test_another_process_with_its_number_is_not_it(store: Store, dead: int) -> None:
    holds(store, named(dead), os.getpid())
    assert take_back(store, []) == 1


@pytest.mark.parametrize("pid", [None, 1])
def test_this_drivers_own(store: Store, dead: int, pid: int | None) -> None:
    name = worker_name(17, 1)
    holds(store, name, pid and dead)
    assert take_back(store, [name]) == 0
    assert take_back(store, []) == 1, "it is no more among the workers, but was given a task"


def test_of_others_it_is_their_business(store: Store, dead: int) -> None:
    holds(store, named(os.getppid()), dead)
    assert take_back(store, []) == 0


@pytest.mark.parametrize("name", ["elsewhere-1-17-1", "worker", f"{socket.gethostname()}-17"])
def test_of_others_names(store: Store, dead: int, name: str) -> None:
    holds(store, name, dead)
    assert take_back(store, []) == 0


def test_logs(tmp_path: Path, dead: int) -> None:
    kept = [f"worker-{os.getppid()}-1.log", "worker.log", "batch.sqlite3"]
    for name in [*kept, log_name(3), f"worker-{dead}-2.log"]:
        (tmp_path / name).touch()
    remove_logs(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
