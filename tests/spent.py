"""How long other programs worked, whatever else the machine was doing meanwhile."""

from __future__ import annotations

import resource

__all__ = ["seconds_of_children"]


def seconds_of_children() -> float:
    """Return the processor time of all children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
