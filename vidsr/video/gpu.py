"""Whether this machine's NVIDIA driver can decode or encode, asked before FFmpeg is.

FFmpeg says "Operation not permitted" of whatever is missing, and some of it on stderr.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Literal

from vidsr.backends.cuda.probing import find_cuda

__all__ = ["Gpu", "Part", "find_gpu"]

Part = Literal["nvcuvid", "nvidia-encode"]
"""The driver's library that decodes, and the one that encodes."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first NVIDIA GPU, or why there is none to use."""

    name: str = ""
    """As the driver calls it: "NVIDIA L4"."""
    driver: str = ""
    """As in `vidsr.backends.cuda.layer.DeviceInfo`."""
    count: int = 1
    """How many there are."""
    lacks: str = ""
    """Why it cannot be used; empty: it can."""

    def __str__(self) -> str:
        """Return what decides the bytes of what it encodes."""
        return f"{self.name}, driver {self.driver}"


@cache
def find_gpu(part: Part) -> Gpu:
    """Return the GPU that FFmpeg would take, which is CUDA's first, and whether a part of its driver is here.

    Takes milliseconds where there is no driver, and loads nothing of FFmpeg's.
    """
    found = find_cuda()
    if found.why:
        return Gpu(lacks=found.why)
    first, count = found.devices[0], len(found.devices)
    try:
        ctypes.CDLL(f"lib{part}.so.1")
    except OSError:
        why = f"the driver's lib{part}.so.1 cannot be loaded; in a container NVIDIA_DRIVER_CAPABILITIES must"
        return Gpu(first.name, found.driver, count, f"{why} hold 'video'")
    return Gpu(first.name, found.driver, count)
