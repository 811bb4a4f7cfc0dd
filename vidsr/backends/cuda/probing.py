"""Whether CUDA can be used here: asked of NVIDIA's driver itself, before any other library is touched.

Only ``libcuda.so.1`` is loaded, by ctypes. It comes with the driver, never with a package.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vidsr.backends.cuda.layer import DeviceInfo

__all__ = ["LEAST_CUDA", "CudaFound", "find_cuda", "probe"]

LEAST_CUDA = (12, 0)
"""Of the driver: below, none of the libraries that use it starts."""

_LIBRARY = "libcuda.so.1"
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_FIRST_DRIVER = {12: 525, 13: 580}
"""The first branch of drivers for each major version of CUDA on Linux."""
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NO_DEVICE = 100

_REFUSALS = {
    3: "CUDA was started in the process that this one was forked from; start processes by spawn",
    34: "the library libcuda.so.1 that is found first is the stub for linking; take its folder out of"
    " LD_LIBRARY_PATH, and install NVIDIA's driver if it is absent",
    101: "CUDA_VISIBLE_DEVICES names a GPU that is not there; nvidia-smi -L lists those that are",
    802: "the GPUs' links are not up yet; start nvidia-fabricmanager, or wait until it runs",
    803: "libcuda.so.1 is of another version than NVIDIA's kernel module; restart the machine after an"
    " update of the driver, or the container with the host's own libraries",
    804: "the compatibility libraries of CUDA do not support this GPU; take them out of LD_LIBRARY_PATH",
    999: "NVIDIA's driver does not answer (error 999); see whether nvidia-smi works, and load the kernel"
    " module nvidia_uvm or restart the machine",
}
"""What CUDA's results at its start mean, and what to do."""


@dataclass(frozen=True, slots=True)
class CudaFound:
    """What was found."""

    devices: tuple[DeviceInfo, ...]
    """The GPUs that this process may use; none: see `why`."""
    driver: str
    """As in `DeviceInfo.driver`; "": no driver."""
    why: str
    """Why there are none and what would change that, one line; "": there are some."""


class _RefusedError(Exception):
    def __init__(self, call: str, result: int) -> None:
        super().__init__(f"{call} failed with error {result}")
        self.result = result


@cache
def find_cuda() -> CudaFound:
    """Return what `probe` finds; asked once, as the driver answers the same for a process's whole life."""
    return probe()


def probe(library: str = _LIBRARY, least: tuple[int, int] = LEAST_CUDA) -> CudaFound:
    """Ask the driver for its version and devices. Never raises.

    Args:
        library: The driver's library.
        least: The version of CUDA that the driver must support.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        return CudaFound((), "", _unloadable(library, str(error)))
    driver = ""
    try:
        version = ctypes.c_int(0)
        _call(cuda, "cuDriverGetVersion", ctypes.byref(version))
        supports = (version.value // 1000, version.value % 1000 // 10)
        driver = _in_words(supports)
        if supports < least:
            return CudaFound((), driver, _too_old(driver, least))
        _call(cuda, "cuInit", ctypes.c_uint(0))
        count = ctypes.c_int(0)
        _call(cuda, "cuDeviceGetCount", ctypes.byref(count))
        if not count.value:
            raise _RefusedError("cuDeviceGetCount", _NO_DEVICE)
        return CudaFound(tuple(_describe(cuda, i, driver) for i in range(count.value)), driver, "")
    except _RefusedError as error:
        return CudaFound((), driver, _refusal(error))
    except AttributeError as error:  # a function that is not in the library
        why = f"{library} is no driver that is known here ({error}); install NVIDIA's driver again"
        return CudaFound((), driver, " ".join(why.split()))


def _call(cuda: Any, name: str, *arguments: Any) -> None:
    result = getattr(cuda, name)(*arguments)
    if result:
        raise _RefusedError(name, result)


def _describe(cuda: Any, ordinal: int, driver: str) -> DeviceInfo:
    device = ctypes.c_int(0)
    _call(cuda, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
    name = ctypes.create_string_buffer(256)
    _call(cuda, "cuDeviceGetName", name, ctypes.c_int(len(name)), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int(0)
        _call(cuda, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
        capability.append(value.value)
    memory = ctypes.c_size_t(0)
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    text = name.value.decode("utf-8", "replace").strip()
    return DeviceInfo(ordinal, text, (capability[0], capability[1]), memory.value, driver)


def _in_words(supports: tuple[int, int]) -> str:
    cuda = f"CUDA {supports[0]}.{supports[1]}"
    try:
        match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", _KERNEL_MODULE.read_text("utf-8", "replace"))
    except OSError:  # WSL has no such file
        return cuda
    return f"{match[1]} ({cuda})" if match else cuda


def _unloadable(library: str, error: str) -> str:
    if "cannot open shared object file" in error and library in error.partition(":")[0]:
        return (
            f"no NVIDIA driver is here ({library} is not found); install NVIDIA's driver, or start the"
            " container with its GPUs (--gpus all)"
        )
    return f"NVIDIA's driver cannot be loaded ({' '.join(error.split())}); install it again"


def _too_old(driver: str, least: tuple[int, int]) -> str:
    needed = _FIRST_DRIVER.get(least[0])
    update = f"update it to {needed} or later" if needed else "update it"
    return f"NVIDIA's driver is too old: {driver}, and CUDA {least[0]}.{least[1]} is needed; {update}"


def _refusal(error: _RefusedError) -> str:
    if error.result == _NO_DEVICE:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return (
                f"CUDA_VISIBLE_DEVICES={visible!r} leaves no GPU; unset it, or set it to numbers that"
                " nvidia-smi -L lists"
            )
        return (
            "NVIDIA's driver is here but finds no GPU; see what nvidia-smi says, and start a container with"
            " its GPUs (--gpus all)"
        )
    return _REFUSALS.get(error.result, f"CUDA does not start ({error}); see what nvidia-smi says")
