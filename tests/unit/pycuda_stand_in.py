"""Modules that do what pycuda and cuda-bindings document, without CUDA, and log what is called."""

from __future__ import annotations

import threading
from enum import IntEnum, IntFlag
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Error(Exception):
    pass


class _MemoryError(Error):
    pass


class Context:
    """As pycuda's: a stack for each thread; released only where it is current or on its own thread."""

    local = threading.local()

    def __init__(self, log: list[Any]) -> None:
        self.log, self.thread = log, threading.get_ident()

    @classmethod
    def stack(cls) -> list[Any]:
        if not hasattr(cls.local, "stack"):
            cls.local.stack = []
        return cls.local.stack  # type: ignore[no-any-return]

    def push(self) -> None:
        self.stack().append(self)

    @classmethod
    def pop(cls) -> None:
        cls.stack().pop()

    def detach(self) -> None:
        assert self.stack()[-1] is self
        self.log.append(("released", threading.current_thread().name))
        self.stack().pop()


class _Allocation:
    def __init__(self, log: list[Any], name: str) -> None:
        self.log, self.name = log, name

    def __int__(self) -> int:
        return 0x7F00

    def free(self) -> None:
        assert Context.stack()
        self.log.append(("freed", self.name))


class _Pagelocked(np.ndarray):
    """Has a `base` that can be freed."""

    memory: Any = None

    @property
    def base(self) -> Any:
        return self.memory


class _Flag(IntFlag):
    BLOCKING_SYNC = 1
    DISABLE_TIMING = 2


def pycuda_driver(log: list[Any]) -> ModuleType:
    driver: Any = ModuleType("pycuda.driver")

    def logged(name: str) -> Any:
        return lambda *arguments: log.append((name, *arguments))

    def pagelocked_empty(shape: int, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
        log.append(("pinned", shape, mem_flags))
        array = np.zeros(shape, dtype).view(_Pagelocked)
        array.memory = _Allocation(log, "pinned")
        return array

    def mem_alloc(nbytes: int) -> Any:
        assert Context.stack()
        if nbytes > 1000:
            raise _MemoryError("cuMemAlloc failed: out of memory")
        return _Allocation(log, "memory")

    def broken() -> None:
        raise Error("cuEventSynchronize failed: an illegal memory access\nwas encountered")

    class Device:
        def __init__(self, ordinal: int) -> None:
            log.append(("device", ordinal))

        def retain_primary_context(self) -> Any:
            return Context(log)

    driver.Error, driver.MemoryError, driver.Device, driver.Context = Error, _MemoryError, Device, Context
    driver.init = logged("init")
    driver.host_alloc_flags = SimpleNamespace(WRITECOMBINED=4)
    driver.event_flags = _Flag
    driver.pagelocked_empty, driver.mem_alloc = pagelocked_empty, mem_alloc
    driver.mem_get_info = lambda: (5, 10)
    driver.Stream = lambda flags: (
        log.append(("stream", flags))
        or SimpleNamespace(
            handle=77, synchronize=logged("stream synchronized"), wait_for_event=logged("waited for")
        )
    )
    driver.Event = lambda flags: (
        log.append(("event", int(flags))) or SimpleNamespace(record=logged("recorded"), synchronize=broken)
    )
    driver.memcpy_htod_async, driver.memcpy_dtoh_async = logged("in"), logged("out")
    return driver  # type: ignore[no-any-return]


class _Mode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


def cuda_driver(log: list[Any], results: dict[str, int]) -> ModuleType:
    driver: Any = ModuleType("cuda.bindings.driver")
    driver.CUstream = lambda handle: ("stream", handle)
    driver.CUstreamCaptureMode = _Mode
    for name, given in (
        ("cuStreamBeginCapture", ()),
        ("cuStreamEndCapture", ("graph",)),
        ("cuGraphInstantiate", ("executable",)),
        ("cuGraphLaunch", ()),
        ("cuGraphDestroy", ()),
        ("cuGraphExecDestroy", ()),
    ):

        def call(*arguments: Any, name: str = name, given: Any = given) -> Any:
            log.append((name, *arguments))
            return (results.get(name, 0), *given)

        setattr(driver, name, call)
    return driver  # type: ignore[no-any-return]
