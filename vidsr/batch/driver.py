"""The driver of a batch on one machine: starts workers, answers their calls, replaces those that die."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from vidsr.batch.calls import serve
from vidsr.batch.orphans import log_name, remove_logs, take_back, worker_name
from vidsr.batch.store import Store
from vidsr.cores import usable_cores
from vidsr.errors import BackendError

__all__ = ["Driver", "DriverOptions"]

_LOOK_SECONDS = 0.1  # between two looks at the workers
_SHOW_SECONDS = 0.5  # between two looks at the plan for whoever watches
_ORPHANS_SECONDS = 1.0  # between two looks for workers whose driver was killed
_PARTING_SECONDS = 30.0  # for workers to give back what they hold
_SHORT_SECONDS = 5.0  # a worker that ends sooner by itself, having done nothing, did not start
_SHORT_LIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOptions:
    """How a batch is worked on."""

    workers: int = 1
    threads: int = 0
    """CPU threads of each worker's network; 0: an equal share of the cores."""
    lease_seconds: float = 60.0
    """After so long without a sign of life a worker counts as dead."""
    max_tries: int = 3
    """With how many failed tries of a task its job fails."""
    room: int = 0
    """Bytes that all workers may need together; 0: what the machine has."""
    wait: bool = False
    """Whether to go on when nothing is left, because more may come."""


@dataclass(slots=True)
class _Hand:
    """A worker's process."""

    name: str
    process: subprocess.Popen[bytes]
    connection: Connection
    log: Path
    begun: float = field(default_factory=time.monotonic)


class Driver:
    """Drives the workers of a batch; use it in a ``with``."""

    def __init__(self, store: Store, folder: Path, options: DriverOptions) -> None:
        """Prepare; `folder` is the state's, where workers' last words go."""
        self._store, self._folder, self._options = store, folder, options
        self._hands: list[_Hand] = []
        self._number = self._short = 0

    def __enter__(self) -> Driver:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers; what they hold is given back."""
        self.close()

    def run(self, show: Callable[[], None] = lambda: None, more: Callable[[], bool] = lambda: False) -> None:
        """Work until nothing is left.

        Args:
            show: Called about twice a second.
            more: Called as often; may add jobs, and tells whether more may come.

        Raises:
            BackendError: Workers do not start.
            OutputError: The plan's file cannot be read or written.
        """
        shown = looked = 0.0
        remove_logs(self._folder)
        while True:
            waiting = more()
            self._bury()
            if time.monotonic() - looked >= _ORPHANS_SECONDS:
                looked = time.monotonic()
                take_back(self._store, [hand.name for hand in self._hands])
            missing = self._options.workers - len(self._hands)
            for _ in range(min(missing, self._wanted())):
                self._start()
            if not self._hands and not waiting and not self._store.open_tasks():
                show()
                return
            if time.monotonic() - shown >= _SHOW_SECONDS:
                shown = time.monotonic()
                show()
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """End the workers: ask, wait, then force them."""
        for hand in self._hands:
            if hand.process.poll() is None:
                hand.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _PARTING_SECONDS
        for hand in self._hands:
            try:
                hand.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                hand.process.kill()
                hand.process.wait()
            self._part(hand)
            self._store.leave(hand.name)
        self._hands = []

    def _wanted(self) -> int:
        """Return how many workers could be busy, at most."""
        return self._options.workers if self._store.open_tasks() else 0

    def _bury(self) -> None:
        """Take back what dead workers held."""
        for hand in [hand for hand in self._hands if hand.process.poll() is not None]:
            code = hand.process.returncode
            self._hands.remove(hand)
            words = self._part(hand)
            if code == 0:
                continue
            why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            began = code < 0 and hand.name in {one.id for one in self._store.workers()}
            taken = self._store.dead(hand.name, f"a worker {why}{words}", self._options.max_tries)
            lived = time.monotonic() - hand.begun
            idle = not taken and not began and lived < _SHORT_SECONDS
            self._short = self._short + 1 if idle else 0
            if self._short >= _SHORT_LIVES:
                raise BackendError(f"workers do not start: the last one {why}{words}")

    def _part(self, hand: _Hand) -> str:
        """Close what belongs to a worker that has ended; return its last words, if any."""
        hand.connection.close()
        if hand.process.stdin is not None:
            hand.process.stdin.close()
        try:
            lines = hand.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            hand.log.unlink()
        except OSError:
            return ""
        return f" ({lines[-1][:200]})" if lines else ""

    def _start(self) -> None:
        self._number += 1
        name = worker_name(time.time_ns(), self._number)
        log = self._folder / log_name(self._number)
        threads = self._options.threads or max(1, usable_cores() // self._options.workers)
        ours, theirs = Pipe()
        arguments = {
            "--calls": theirs.fileno(),
            "--threads": threads,
            "--lease": self._options.lease_seconds,
            "--max-tries": self._options.max_tries,
            "--room": self._options.room,
            "--name": name,
        }
        words = [str(word) for pair in arguments.items() for word in pair]
        words += ["--wait"] if self._options.wait else []
        try:
            with theirs, log.open("wb") as out:
                process = self._popen(words, out, theirs.fileno())
        except OSError as error:
            ours.close()
            raise BackendError(f"a worker cannot be started ({error.strerror})") from error
        serve(self._store, ours)
        self._hands.append(_Hand(name, process, ours, log))

    def _popen(self, words: list[str], log: IO[bytes], calls: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "vidsr.batch.worker", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=(calls,),
        )
