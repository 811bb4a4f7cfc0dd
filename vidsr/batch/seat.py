"""Where a worker sits on a cluster's node: a Ray actor that runs the worker's process and passes calls on.

Ray sends this module's code itself, so that a node without vidsr, or with another version, can say so. Hence
nothing of vidsr is imported at its top.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import Pipe
from typing import Any

__all__ = ["Seat"]

_ENDING_SECONDS = 60.0  # for a process that has closed its connection


class Seat:
    """A worker's process on a node, which keeps its networks open from task to task.

    Its process ends when this one does: its standard input closes then.
    """

    def begin(self, words: Sequence[str], version: str) -> dict[str, str]:
        """Start the worker, if the node has vidsr in this version.

        Args:
            words: For ``python -m vidsr.batch.worker``; what names the node and the connection is added.
            version: The driver's.

        Returns:
            ``id`` and ``name`` of the node, and vidsr's ``version`` there; "": it is not installed.
        """
        import ray

        address = ray.util.get_node_ip_address()
        name = f"{socket.gethostname()} ({address})"
        node = {"id": ray.get_runtime_context().get_node_id(), "name": name, "version": _version()}
        if node["version"] != version:
            return node
        self._connection, theirs = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker is
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "vidsr.batch.worker",
                    *words,
                    "--node",
                    name,
                    "--calls",
                    str(theirs.fileno()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
            )
        return node

    def exchange(self, reply: bytes | None) -> bytes | tuple[int, str]:
        """Hand the worker the answer to its last call, and return its next call.

        Returns:
            The call; or the exit code and the last words of a worker that has ended.
        """
        try:
            if reply is not None:
                self._connection.send_bytes(reply)
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return self._over()

    def stop(self) -> None:
        """Ask the worker to end; it gives back what it holds."""
        self._process.terminate()

    def _over(self) -> tuple[int, str]:
        try:
            code = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return code, lines[-1][:200] if lines else ""


def _version() -> str:
    try:
        from vidsr.identity import own_version
    except ImportError:
        return ""
    found: Any = own_version()
    return str(found)
