"""A worker's calls to the plan, which only the driver has open: on a network's disk nobody else could.

A call is a message with a method's name and arguments, the answer one with its result or its error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Protocol, cast

from vidsr.batch.rows import LeaseLostError
from vidsr.batch.store import Store
from vidsr.errors import OutputError, VidsrError

__all__ = ["Line", "remote_store", "serve"]


_CALLS = frozenset(
    "beat began claim claim_next explain failed finished joined leave made note notes open_tasks planned"
    " progress released renew".split()
)
"""What a worker needs of the plan."""


class Line(Protocol):
    """The driver's end of what leads to a worker: a connection, or what passes on to one."""

    def recv(self) -> Any:
        """Return the worker's next call; raises `EOFError` or `OSError` once there will be none."""

    def send(self, obj: Any, /) -> None:
        """Answer it."""


def serve(store: Store, connection: Line, gone: Callable[[], None] = lambda: None) -> threading.Thread:
    """Answer a worker's calls in a thread of its own, until the worker's end of the connection is closed.

    Args:
        store: The plan.
        connection: The driver's end.
        gone: Called when the worker has gone.
    """

    def answer() -> None:
        while True:
            try:
                name, args, kwargs = connection.recv()
            except (EOFError, OSError):
                gone()
                return
            reply: tuple[str, Any]
            try:
                if name not in _CALLS:
                    raise OutputError(f"a worker cannot call '{name}'")
                reply = "done", getattr(store, name)(*args, **kwargs)
            except LeaseLostError as error:
                reply = "lost", str(error)
            except VidsrError as error:
                reply = "error", str(error)
            except Exception as error:  # noqa: BLE001 - a fault here must not leave the worker waiting
                reply = "error", f"unexpected {type(error).__name__} ({error})"
            try:
                connection.send(reply)
            except OSError:
                gone()
                return

    thread = threading.Thread(target=answer, name="vidsr-desk", daemon=True)
    thread.start()
    return thread


def remote_store(connection: Connection) -> Store:
    """Return the plan as a worker sees it, given its end of a connection. Threads may share it.

    Every method raises what `Store`'s does, as `LeaseLostError` or `OutputError`.
    """
    return cast("Store", _Remote(connection))


class _Remote:
    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _CALLS:
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            with self._lock:
                self._connection.send((name, args, kwargs))
                kind, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise OutputError("the driver of this batch has gone") from error
        if kind == "lost":
            raise LeaseLostError(value)
        if kind == "error":
            raise OutputError(value)
        return value
