"""The way into a Ray cluster and out of it, and what there is in it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vidsr.cores import usable_cores
from vidsr.errors import BackendUnavailableError

__all__ = ["Session", "first_line"]

_OBJECTS_BYTES = 80 << 20  # of shared memory: calls are small; Ray takes no less than 75 MiB

_KNOCK_SECONDS = 10.0
_TOKENS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # who may use a cluster


class Session:
    """This process's connection to a cluster."""

    def __init__(self, address: str) -> None:
        """Prepare; for `address` see `vidsr.batch.cluster.ClusterDriver`."""
        self._address = address
        self._mine = False
        self._temporary: str | None = None

    def open(self) -> None:
        """Connect, or start a cluster; a connection that the process has already is taken as it is.

        Raises:
            BackendUnavailableError: Ray is not installed, or no cluster answers.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported, and by what it starts
        if self._address == "local" and not any(name in os.environ for name in _TOKENS):
            # Where Ray lacks one it leaves a file in the user's home. It turns the mode on itself: set here,
            # that would be known to some of its parts only.
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        try:
            import ray
        except ImportError as error:
            raise BackendUnavailableError(
                "a cluster needs Ray, which is not installed", hint="run: pip install 'vidsr[ray]'"
            ) from error
        if ray.is_initialized():
            return
        how: dict[str, Any] = {"address": self._address, "log_to_driver": False}
        if self._address == "local":
            # Below the shortest name there is: sockets' names may have 107 bytes.
            self._temporary = tempfile.mkdtemp(prefix="vidsr-ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))
            how |= {
                "num_cpus": usable_cores(),
                "include_dashboard": False,
                "object_store_memory": _OBJECTS_BYTES,
                "_temp_dir": self._temporary,
            }
        self._mine = True
        try:
            _knock(self._address)
            with _own_signals():
                ray.init(**how, logging_level=logging.ERROR)
            # A node's death would be told on standard output, where a batch's own events go.
            ray._private.worker._worker_logs_enabled = False
        except Exception as error:
            # Ray's boundary: it raises ConnectionError, RuntimeError, ValueError and gRPC's own.
            self.close()
            raise BackendUnavailableError(
                f"no Ray cluster answers at '{self._address}' ({first_line(error)})",
                hint="start one with: ray start --head; or take the address local",
            ) from error

    def close(self) -> None:
        """Leave the cluster, or end it if it was started here; again is allowed."""
        if self._mine:
            import ray

            with _own_signals():
                ray.shutdown()
            self._mine = False
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def cores(self) -> list[int]:
        """Return the number of cores of each node that has any to give."""
        import ray

        found = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        return [int(cores) for cores in found if cores >= 1]

    def actor(self, cores: int, gpus: float) -> Any:
        """Return the actor's class for a worker that needs so much."""
        import ray
        from ray import cloudpickle

        from vidsr.batch import seat

        cloudpickle.register_pickle_by_value(seat)
        return ray.remote(seat.Seat).options(
            num_cpus=cores,
            num_gpus=gpus,
            max_restarts=0,  # a worker's name is never used again: the driver starts another
            max_concurrency=4,  # `stop` is heard while `exchange` waits
            scheduling_strategy="SPREAD",
        )


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens at an address that says where: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def first_line(error: Exception) -> str:
    """Return an error's text, or its name, short enough for a line."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the signal handlers of this process: Ray sets some of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
