"""The driver of a batch on many machines: workers are actors of a Ray cluster, the plan stays here.

An actor (`vidsr.batch.seat`) is asked for its worker's next call with the answer to the last one, so all
connections lead from the driver to the cluster, as Ray makes them: it works in the cluster, through
``ray://``, and behind firewalls.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidsr.batch.calls import serve
from vidsr.batch.driver import DriverOptions
from vidsr.batch.nodes import Tries, plan_of_node
from vidsr.batch.orphans import take_back, worker_name
from vidsr.batch.session import Session, first_line
from vidsr.batch.store import Store
from vidsr.errors import BackendError, OptionsError
from vidsr.identity import own_version

__all__ = ["ClusterDriver"]

_LOOK_SECONDS = 0.1  # between two looks at the workers
_SHOW_SECONDS = 0.5  # between two looks at the plan for whoever watches
_PARTING_SECONDS = 30.0  # for workers to give back what they hold
_ROOM_SECONDS = 120.0  # for the cluster to find room for a worker while there is none at all
_SHORT_SECONDS = 5.0  # a worker that ends sooner, having done nothing, did not start
_SHORT_LIVES = 3


class _Line:
    """Leads to a worker, for `serve`."""

    def __init__(self, seat: Any) -> None:
        self._seat = seat
        self._reply: bytes | None = None
        self.end: tuple[int | None, str] | None = None
        """How the worker ended: exit code (None: with its node, or killed) and last words."""

    def recv(self) -> Any:
        import ray

        try:
            got = ray.get(self._seat.exchange.remote(self._reply))
        except Exception as error:
            # Of Ray's many errors each means the same: nothing will be heard of this worker any more.
            self.end = None, type(error).__name__
            raise EOFError from error
        if isinstance(got, tuple):
            self.end = got
            raise EOFError
        return pickle.loads(got)

    def send(self, obj: Any, /) -> None:
        self._reply = pickle.dumps(obj)


@dataclass(slots=True)
class _Hand:
    """A worker somewhere in the cluster."""

    name: str
    seat: Any
    beginning: Any
    """What `Seat.begin` will return; the cluster finds room for the actor before that."""
    asked: float = field(default_factory=time.monotonic)
    begun: float = 0.0
    node: str = ""
    """Its id; "": there is none yet."""
    place: str = ""
    line: _Line | None = None
    desk: threading.Thread | None = None


class ClusterDriver:
    """Drives a batch's workers on a Ray cluster, as `Driver` does on one machine; use it in a ``with``."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        options: DriverOptions,
        *,
        address: str,
        gpus_per_worker: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            store: The plan; it stays on this machine.
            folder: The state's.
            options: As for `Driver`; 0 workers: one on each node.
            address: ``local`` starts Ray on this machine, ``auto`` finds the cluster it belongs to,
                ``ray://host:10001`` connects to one from outside.
            gpus_per_worker: Each worker's share of GPUs; 0.5: two on one GPU.

        Raises:
            OptionsError: The share is none.
        """
        whole = gpus_per_worker == int(gpus_per_worker) if gpus_per_worker >= 1 else True
        if not (gpus_per_worker >= 0 and whole):
            raise OptionsError(
                f"a worker cannot have {gpus_per_worker} GPUs", hint="give a part of one, or a whole number"
            )
        self._store, self._folder, self._options = store, folder, options
        self._session, self._gpus = Session(address), gpus_per_worker
        self._hands: list[_Hand] = []
        self._tries = Tries()
        self._number = self._short = self._workers = 0
        self._words: list[str] = []
        self._actor: Any = None

    def __enter__(self) -> ClusterDriver:
        """Connect to the cluster, or start one; give out what a killed driver's workers held; return self.

        Raises:
            BackendUnavailableError: Ray is not installed, or no cluster answers.
        """
        try:
            self._session.open()
            self._measure()
            take_back(self._store, ())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers; what they hold is given back."""
        self.close()

    @property
    def places(self) -> dict[str, str]:
        """The ids of the nodes on which workers are, by the workers' names."""
        return {hand.name: hand.node for hand in tuple(self._hands) if hand.node}

    def run(self, show: Callable[[], None] = lambda: None, more: Callable[[], bool] = lambda: False) -> None:
        """Work until nothing is left.

        Args:
            show: Called about twice a second.
            more: Called as often; may add jobs, and tells whether more may come.

        Raises:
            BackendError: Workers do not start, or the cluster has no room for any.
            OptionsError: A node has no vidsr, or another version.
            OutputError: The plan's file cannot be read or written.
        """
        shown = 0.0
        while True:
            waiting = more()
            self._welcome()
            self._bury()
            left = self._store.open_tasks()
            for _ in range(self._workers - len(self._hands) if left else 0):
                self._start()
            if not left and not waiting:
                for hand in [hand for hand in self._hands if hand.line is None]:
                    self._end(hand)  # the cluster had no room for it, and there is nothing to do for it now
                if not self._hands:
                    show()
                    return
            self._check_room()
            if time.monotonic() - shown >= _SHOW_SECONDS:
                shown = time.monotonic()
                show()
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """End the workers: ask, wait, then force them. Then leave the cluster."""
        for hand in self._hands:
            if hand.line is not None and hand.line.end is None:
                with suppress(Exception):  # one that cannot be asked is forced below
                    hand.seat.stop.remote()
        deadline = time.monotonic() + _PARTING_SECONDS
        for hand in self._hands:
            if hand.desk is not None:
                hand.desk.join(max(0.0, deadline - time.monotonic()))
        for hand in tuple(self._hands):
            self._end(hand)
            self._store.leave(hand.name)
        self._session.close()

    def _measure(self) -> None:
        """Decide how many workers there are, and how many threads each has."""
        cores = self._session.cores()
        self._workers = self._options.workers or max(1, len(cores))
        each = -(-self._workers // max(1, len(cores)))  # on one node, where they are spread
        threads = self._options.threads or max(1, min(cores, default=1) // each)
        given = {
            "--threads": threads,
            "--lease": self._options.lease_seconds,
            "--max-tries": self._options.max_tries,
            "--room": self._options.room,
        }
        self._words = [str(word) for pair in given.items() for word in pair]
        self._words += ["--wait"] if self._options.wait else []
        self._actor = self._session.actor(threads, self._gpus)

    def _start(self) -> None:
        self._number += 1
        name = worker_name(time.time_ns(), self._number)
        seat = self._actor.remote()
        beginning = seat.begin.remote([*self._words, "--name", name], own_version())
        self._hands.append(_Hand(name, seat, beginning))

    def _welcome(self) -> None:
        """Answer the calls of workers for which the cluster has found room."""
        import ray

        for hand in [hand for hand in self._hands if hand.line is None]:
            if not ray.wait([hand.beginning], timeout=0)[0]:
                continue
            hand.begun = time.monotonic()
            line = _Line(hand.seat)
            try:
                node = ray.get(hand.beginning)
            except Exception as error:  # noqa: BLE001 - as in `_Line.recv`
                line.end = None, first_line(error)
                hand.line = line
                continue
            if node["version"] != own_version():
                found = f"vidsr {node['version']}" if node["version"] else "no vidsr"
                raise OptionsError(
                    f"node {node['name']} has {found}, the driver has vidsr {own_version()}",
                    hint=f"install it in Ray's Python on all nodes: pip install vidsr=={own_version()}",
                )
            hand.node, hand.place, hand.line = node["id"], node["name"], line
            hand.desk = serve(plan_of_node(self._store, hand.node, self._tries, self._living), line)

    def _living(self) -> frozenset[str]:
        return frozenset(self.places.values())

    def _bury(self) -> None:
        """Take back what dead workers held."""
        for hand in tuple(self._hands):
            if hand.line is None or hand.line.end is None:
                continue
            code, words = hand.line.end
            self._end(hand)
            if code == 0:
                continue
            if code is None:
                why = f"on node {hand.place or '?'} died, or its node"
            else:
                why = f"on node {hand.place} " + (
                    f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                )
            why += f" ({words})" if words else ""
            for task in self._store.tasks(state="leased"):
                if task.worker == hand.name:
                    self._tries.failed(task.id, hand.node)
            taken = self._store.dead(hand.name, f"a worker {why}", self._options.max_tries)
            lived = time.monotonic() - hand.begun
            self._short = self._short + 1 if not taken and lived < _SHORT_SECONDS else 0
            if self._short >= _SHORT_LIVES:
                raise BackendError(f"workers do not start: the last one {why}")

    def _check_room(self) -> None:
        asked = [hand.asked for hand in self._hands]
        if self.places or not asked or time.monotonic() - min(asked) < _ROOM_SECONDS:
            return
        raise BackendError(
            f"the cluster has had no room for a worker for {_ROOM_SECONDS:.0f} s",
            hint="see what is free with: ray status; or ask for fewer threads or GPUs for a worker",
        )

    def _end(self, hand: _Hand) -> None:
        """Take a worker's seat away; nothing happens to one that is dead."""
        import ray

        self._hands.remove(hand)
        with suppress(Exception):  # a cluster that is gone has no actors
            ray.kill(hand.seat)
        if hand.desk is not None:
            hand.desk.join(_SHORT_SECONDS)
