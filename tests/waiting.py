"""Waiting for what another thread or process does, however slow the machine is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

__all__ = ["HUNG_S", "until"]

HUNG_S = 60.0
"""Seconds after which what does not happen is called hung; a busy machine starts a process in less."""
_LOOK_S = 0.005


def until(
    ready: Callable[[], object], process: subprocess.Popen[str] | None = None, *, seconds: float = HUNG_S
) -> None:
    """Wait until something is true.

    Args:
        ready: Asked again and again.
        process: What makes it true; the test fails at once where it ends before.
        seconds: The test fails after so many.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        time.sleep(_LOOK_S)
