"""Whether this machine's NVIDIA driver can decode or encode, asked before FFmpeg is.

FFmpeg says "Operation not permitted" of whatever is missing, and some of it on stderr.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Literal

__all__ = ["Gpu", "Part", "find_gpu"]

Part = Literal["nvcuvid", "nvidia-encode"]
"""The driver's library that decodes, and the one that encodes."""

_NAME_BYTES = 256
_REASONS = {
    34: "the libcuda.so.1 found here is the CUDA toolkit's stub, not a driver's",
    100: "the driver sees no NVIDIA GPU",
    803: "the driver's kernel module and its libraries are of different versions",
    999: "the driver could not be started",
}
"""Why cuInit failed, by CUresult."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first NVIDIA GPU, or why there is none to use."""

    name: str = ""
    """As the driver calls it: "NVIDIA L4"."""
    cuda: str = ""
    """The newest CUDA that the driver knows, such as "12.8"."""
    count: int = 1
    """How many there are."""
    lacks: str = ""
    """Why it cannot be used; empty: it can."""

    def __str__(self) -> str:
        """Return what decides the bytes of what it encodes."""
        return f"{self.name}, driver for CUDA {self.cuda}"


@cache
def find_gpu(part: Part) -> Gpu:
    """Return the GPU that FFmpeg would take, which is CUDA's first, and whether a part of its driver is here.

    Takes milliseconds where there is no driver, and loads nothing of FFmpeg's.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpu(lacks="there is no NVIDIA driver (libcuda.so.1 cannot be loaded)")
    code = int(driver.cuInit(0))
    if code:
        return Gpu(lacks=_REASONS.get(code, f"the NVIDIA driver cannot be used (cuInit failed with {code})"))
    count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return Gpu(lacks=_REASONS[100])
    name = ctypes.create_string_buffer(_NAME_BYTES)
    failed = driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetName(name, _NAME_BYTES, device)
    if failed or driver.cuDriverGetVersion(ctypes.byref(version)):
        return Gpu(lacks="the NVIDIA driver does not describe its GPU")
    called = name.value.decode(errors="replace")
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    try:
        ctypes.CDLL(f"lib{part}.so.1")
    except OSError:
        why = f"the driver's lib{part}.so.1 cannot be loaded; in a container NVIDIA_DRIVER_CAPABILITIES must"
        return Gpu(called, cuda, count.value, f"{why} hold 'video'")
    return Gpu(called, cuda, count.value)
