"""cuda-bindings' driver for the stand-in device: launches run the kernels' sources on the CPU."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda_stand_in import StandInDevice
from cuda_streams import Op
from emulation import Emulation

from vidsr.kernels import FoldedStack
from vidsr.kernels.cuda.plan import network_of

CUBIN = b"\x7fELF code"


class StandInDriver:
    """What `vidsr.backends.cuda.driver` calls; results are (0, what is given)."""

    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="most shared")

    def __init__(self, device: StandInDevice, emulation: Emulation) -> None:
        self.device, self.emulation = device, emulation
        self.shared = 48 << 10  # what a kernel may have that asked for no more
        self.loaded = 0
        self.launched: list[str] = []
        self.answers: dict[str, int] = {}
        """What a function returns instead of 0."""

    def cuModuleLoadData(self, image: bytes) -> Any:  # noqa: N802
        self.device.require("loading a module")
        assert image == CUBIN
        if code := self.answers.get("cuModuleLoadData"):
            return (code, None)
        self.loaded += 1
        return (0, "module")

    def cuModuleUnload(self, module: Any) -> Any:  # noqa: N802
        self.device.require("unloading a module")
        self.loaded -= 1
        return (0,)

    def cuModuleGetFunction(self, module: Any, name: bytes) -> Any:  # noqa: N802
        return (0, name.decode())

    def cuFuncSetAttribute(self, function: Any, attribute: Any, value: int) -> Any:  # noqa: N802
        assert (function, attribute) == ("ecbsr", "most shared")
        self.shared = value
        return (0,)

    def CUstream(self, handle: int) -> Any:  # noqa: N802
        return self.device.streams[handle]

    def cuLaunchKernel(self, function: Any, *rest: Any) -> Any:  # noqa: N802
        *grid, threads, one, other, shared, stream, given, extra = rest
        assert (grid[2], one, other, extra) == (1, 1, 1, 0)
        assert self.loaded == 1
        assert shared <= (self.shared if function == "ecbsr" else 0)
        self.device.require("a launch")
        if code := self.answers.get("cuLaunchKernel"):
            return (code,)
        values, types = given
        for value, kind in zip(values, types, strict=True):
            assert kind(value).value == value
        call, run, table = self.emulation.call(function)
        assert [ctypes.sizeof(kind) for _, kind in call._fields_] == [ctypes.sizeof(kind) for kind in types]
        source_pitch, target_pitch, _, height = values[3:7]
        rows = height * self.emulation.scale if function == "ecbsr" else values[8]
        sizes = (source_pitch * height, target_pitch * rows, table)
        found = [
            self.device.find(p, n, f"the kernel {function}") for p, n in zip(values[:3], sizes, strict=True)
        ]
        one_call = call(*(raw.ctypes.data for _, raw in found), *values[3:])

        def work() -> None:
            self.launched.append(function)
            run(one_call, (grid[0], grid[1]), threads, shared)

        read, written = (found[0][0], found[2][0]), (found[1][0],)
        stream.queue(Op(function, work, read, written))
        return (0,)


_emulated: dict[Any, Emulation] = {}


def emulated(stack: FoldedStack, kind: Any, folder: Path) -> Emulation:
    """Return the kernels with small tiles; those that were compiled before where the code is the same."""
    key = (network_of(stack), np.dtype(kind))
    if key not in _emulated:
        _emulated[key] = Emulation(stack, kind, 64 << 10, folder)
    return _emulated[key]


def padded(planes: Any) -> Any:
    """Return planes whose rows lie apart."""
    return tuple(np.pad(plane, ((0, 0), (0, 3)))[:, : plane.shape[1]] for plane in planes)
