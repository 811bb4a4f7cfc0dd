"""Workers that nobody looks after, as when their driver was killed: what they held is taken back at once."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from vidsr.batch.store import Store

__all__ = ["log_name", "remove_logs", "take_back", "worker_name"]

_LOG = re.compile(r"worker-(\d+)-\d+\.log")


def worker_name(began: int, number: int) -> str:
    """Return a name that no other worker has ever had; `began` is in nanoseconds."""
    return f"{socket.gethostname()}-{os.getpid()}-{began}-{number}"


def log_name(number: int) -> str:
    """Return the name of the file for a worker's last words."""
    return f"worker-{os.getpid()}-{number}.log"


def take_back(store: Store, mine: Collection[str]) -> int:
    """Give back what dead workers of dead drivers on this host hold; return how many tasks.

    That counts no try: it was not the task that killed them, or they would have died before their driver.

    Args:
        store: The plan.
        mine: Names of this driver's workers.
    """
    pattern = re.compile(re.escape(socket.gethostname()) + r"-(\d+)-\d+-\d+")
    taken = 0
    for worker in store.workers():
        found = pattern.fullmatch(worker.id)
        if found is None or worker.id in mine:
            continue
        # One with this driver's number is an earlier driver's, as in a container that was started again, or
        # was killed while its last claim was being answered.
        own = int(found[1]) == os.getpid()
        if worker.pid is None:
            gone = own
        else:
            gone = (own or not _runs(int(found[1]))) and not _works(worker.pid, worker.id)
        if gone:
            taken += store.leave(worker.id)
    return taken


def remove_logs(folder: Path) -> None:
    """Delete what workers of dead drivers have left in a state folder."""
    for path in folder.iterdir():
        found = _LOG.fullmatch(path.name)
        if found is not None and (int(found[1]) == os.getpid() or not _runs(int(found[1]))):
            with suppress(OSError):
                path.unlink()


def _works(pid: int, name: str) -> bool:
    """Return whether a process is this worker, and not another that has got its number since."""
    try:
        return os.fsencode(name) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return not Path("/proc/self").exists() and _runs(pid)
    except OSError:
        return True


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
