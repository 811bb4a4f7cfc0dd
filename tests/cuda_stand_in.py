"""A stand-in for CUDA in numpy, stricter than CUDA itself: `vidsr.backends.cuda.layer` without a GPU.

Work is done in the order of its stream and never when it is queued: in the mode "lazy" not before somebody
waits for it, in the mode "threads" by a thread for each stream after random delays. What CUDA would
answer with wrong pixels, a crash or nothing at all raises `Misuse`, and is kept in `StandInDevice.misuses`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

import numpy as np
from cuda_pinned import Buffer, Pinned
from cuda_streams import Op, StandInEvent, StandInGraph, StandInStream

from vidsr.backends.cuda.layer import CudaError, DeviceInfo, OutOfMemory

_here = threading.local()  # the calling thread's stack of current devices


class Misuse(AssertionError):  # noqa: N818  what happened, not a kind of fault
    """Something that must never be asked of CUDA."""


class DeviceMemory(Buffer):
    kind = "device memory"

    def __init__(self, device: StandInDevice, nbytes: int) -> None:
        super().__init__(device, nbytes)
        self.pointer = device.address(nbytes)


class StandInDevice:
    """A GPU; see `vidsr.backends.cuda.layer.Device`."""

    def __init__(
        self,
        ordinal: int = 0,
        memory_bytes: int = 1 << 28,
        *,
        mode: Literal["lazy", "threads"] = "lazy",
        graphs: bool = True,
        seed: int = 0,
    ) -> None:
        self.info = DeviceInfo(ordinal, f"Stand-in {ordinal}", (9, 0), memory_bytes, "CUDA 13.0")
        self.mode, self.graphs = mode, graphs
        self.random = random.Random(seed + ordinal)
        self.state = threading.Condition(threading.RLock())
        self.live: dict[int, str] = {}
        self.misuses: list[str] = []
        self.streams: dict[int, StandInStream] = {}
        self.host_copies: list[int] = []
        self.launches = 0
        self.refuse: set[int] = set()
        """Which of the launches CUDA refuses, counted from 0."""
        self.dead = False
        """Whether every call fails, as after a fault in a kernel."""
        self._default: list[Callable[[], None]] = []
        self._allocated: dict[int, DeviceMemory] = {}
        self._used = 0
        self._end = (ordinal + 1) << 40
        self._capturing: dict[int, list[Op]] = {}  # by thread
        self._entered = 0
        self._closed = False

    def misuse(self, text: str) -> NoReturn:
        self.misuses.append(text)
        raise Misuse(text)

    def require(self, what: str, *, freeing: Any = None) -> None:
        stack = getattr(_here, "stack", [])
        if not stack or stack[-1] is not self:
            self.misuse(f"{what}: GPU {self.info.ordinal} is not current on this thread")
        if self.dead:
            if freeing is not None:
                freeing.freed = True
                self.live.pop(id(freeing), None)
            raise CudaError("an illegal memory access was encountered")

    def not_capturing(self, what: str) -> None:
        if threading.get_ident() in self._capturing:
            self.misuse(f"{what} while a graph is captured on this thread")

    @contextmanager
    def active(self) -> Iterator[None]:
        if self._closed:
            self.misuse("a closed device is made current")
        if not hasattr(_here, "stack"):
            _here.stack = []
        _here.stack.append(self)
        with self.state:
            self._entered += 1
        try:
            yield
        finally:
            _here.stack.pop()
            with self.state:
                self._entered -= 1

    def host(self, nbytes: int, *, write_combined: bool = False) -> Pinned:
        return Pinned(self, nbytes, write_combined)

    def memory(self, nbytes: int) -> DeviceMemory:
        self.require("allocating device memory")
        self.take(nbytes)
        memory = DeviceMemory(self, nbytes)
        self._allocated[memory.pointer] = memory
        return memory

    def take(self, nbytes: int) -> None:
        """Account for memory."""
        with self.state:
            if self._used + nbytes > self.info.memory_bytes:
                raise OutOfMemory("out of memory")
            self._used += nbytes

    def give(self, nbytes: int) -> None:
        with self.state:
            self._used -= nbytes

    def freed(self, one: Any) -> None:
        del self.live[id(one)]
        if isinstance(one, DeviceMemory):
            self.give(one.nbytes)

    def address(self, nbytes: int) -> int:
        """Return a pointer; none is given twice, and there is a hole behind each allocation."""
        with self.state:
            begin = self._end
            self._end += -(-nbytes // 256) * 256 + 4096
            return begin

    def find(self, pointer: int, nbytes: int, what: str) -> tuple[DeviceMemory, np.ndarray]:
        """Return the memory that a pointer points into, and the bytes from there."""
        around = [(b, m) for b, m in list(self._allocated.items()) if b <= pointer < b + m.nbytes]
        if not around:
            self.misuse(f"{what} uses a pointer that is not GPU {self.info.ordinal}'s")
        begin, memory = around[0]
        memory.usable(what)
        if pointer + nbytes > begin + memory.nbytes:
            self.misuse(f"{what} goes over the end of its memory")
        return memory, memory.raw[pointer - begin : pointer - begin + nbytes]

    def stream(self) -> StandInStream:
        return StandInStream(self)

    def event(self) -> StandInEvent:
        return StandInEvent(self)

    def copy_in(self, to: Any, from_: Any, stream: StandInStream) -> None:
        self._check_copy("a copy to the device", from_, to)
        stream.queue(Op("copy in", lambda: _copy(to, from_), (from_,), (to,)))

    def copy_out(self, to: Any, from_: Any, stream: StandInStream) -> None:
        self._check_copy("a copy to the host", to, from_)
        stream.queue(Op("copy out", lambda: _copy(to, from_), (from_,), (to,)))

    def on_default(self, work: Callable[[], None]) -> None:
        """Queue on CUDA's default stream, which gets there when another stream follows it."""
        with self.state:
            self._default.append(work)

    def follow_default(self, stream: StandInStream) -> None:
        self.require("following the default stream")
        with self.state:
            due, self._default = self._default, []

        def work() -> None:
            for one in due:
                one()

        stream.queue(Op("what the default stream has", work, (), ()))

    def _check_copy(self, what: str, host: Any, memory: Any) -> None:
        self.require(what)
        for one, kind in ((host, Pinned), (memory, DeviceMemory)):
            if not isinstance(one, kind):
                self.misuse(f"{what} is given {type(one).__name__} and not {kind.kind}")
            if one.device is not self:
                self.misuse(f"{what} uses memory of GPU {one.device.info.ordinal}")
            one.usable(what)
        if host.nbytes != memory.nbytes:
            self.misuse(f"{what} of {host.nbytes} bytes from or to {memory.nbytes}")

    def capture(self, stream: StandInStream, work: Callable[[], None]) -> StandInGraph | None:
        self.require("a capture")
        self.not_capturing("a capture")
        if not self.graphs:
            return None
        ops: list[Op] = []
        stream.captured = self._capturing[threading.get_ident()] = ops
        try:
            work()
        finally:
            stream.captured = None
            del self._capturing[threading.get_ident()]
        return StandInGraph(self, ops)

    def launching(self) -> None:
        """Count a launch, and refuse it where that was asked for."""
        with self.state:
            self.launches += 1
            if self.launches - 1 in self.refuse:
                raise CudaError("launch refused")

    def free_bytes(self) -> int:
        self.require("asking for free memory")
        return self.info.memory_bytes - self._used

    def close(self) -> None:
        if self._closed:
            self.misuse("a device is closed twice")
        if self._entered:
            self.misuse("a device is closed while it is current on a thread")
        self._closed = True
        if self.live:
            self.misuse(f"left behind when the device is closed: {', '.join(sorted(self.live.values()))}")


def _copy(to: Buffer, from_: Buffer) -> None:
    to.raw[:] = from_.raw


def current() -> StandInDevice:
    """Return the device that is current on this thread, as libraries find it."""
    stack = getattr(_here, "stack", [])
    if not stack:
        raise Misuse("a library is called while no device is current")
    device: StandInDevice = stack[-1]
    return device
