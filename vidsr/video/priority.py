"""Encoders take no priority over everything else on the machine.

SVT-AV1, started by root, makes the thread that opens it and all of its own threads real-time ones of the
highest priority (SCHED_FIFO 99): then nothing else on those cores runs until they pause, and what the process
starts later inherits it. On a farm that stops the neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["ordinary_priority"]

_THREADS = Path("/proc/self/task")


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Give this thread, and those that begin meanwhile, the scheduling that this thread has now.

    Does nothing where the system has no such list of threads.
    """
    if not hasattr(os, "sched_getscheduler") or not _THREADS.is_dir():
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _threads()
    try:
        yield
    finally:
        for thread in (0, *(_threads() - before)):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, param)


def _threads() -> set[int]:
    return {int(path.name) for path in _THREADS.iterdir()}
