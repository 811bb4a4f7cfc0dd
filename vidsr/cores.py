"""What this machine's processor is called, and how many of its cores this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["processor", "usable_cores"]


def usable_cores() -> int:
    """Return the number of cores that the scheduler lets this process run on, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not tell
        return os.cpu_count() or 1


def processor() -> str:
    """Return what this machine's processor is called."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
