"""The interface to CUDA by pycuda: memory, streams, events. Graphs are by cuda-bindings, see `graphs`.

pycuda keeps a stack of contexts for each thread, and ends the process when a thread ends with one on it: so
every push has its pop here. What it made is freed while its context is current, as it cannot make one current
by itself on another thread than the one where it was retained.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.cuda.graphs import capture
from vidsr.backends.cuda.layer import (
    CudaError,
    DeviceBuffer,
    DeviceInfo,
    Event,
    Graph,
    HostBuffer,
    OutOfMemory,
    Stream,
)
from vidsr.backends.cuda.probing import find_cuda
from vidsr.errors import BackendUnavailableError

__all__ = ["PycudaDevice", "missing", "open_device"]

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING; pycuda passes flags on but has no name for it


@cache
def missing() -> str:
    """Return why pycuda cannot be used here and what would change that, one line; "": it can.

    The driver is asked first: pycuda cannot even be imported without one.
    """
    if why := find_cuda().why:
        return why
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of what it raises next
            import pycuda.driver
    except ModuleNotFoundError:
        return "the package pycuda is not installed; pip install pycuda"
    except ImportError as error:
        return f"pycuda does not start ({_line(error)}); build it again for the CUDA that is installed"
    try:
        pycuda.driver.init()
    except pycuda.driver.Error as error:
        return f"pycuda does not start ({_line(error)}); build it again for the CUDA that is installed"
    return ""


def open_device(ordinal: int) -> PycudaDevice:
    """Return a GPU by its number for CUDA, on its primary context.

    Raises:
        BackendUnavailableError: There is no driver, no pycuda or no such GPU.
    """
    if why := missing():
        raise BackendUnavailableError(why)
    devices = find_cuda().devices
    if not 0 <= ordinal < len(devices):
        there = ", ".join(f"{d.ordinal} ({d.name})" for d in devices)
        raise BackendUnavailableError(f"there is no GPU {ordinal} here", hint=f"there are: {there}")
    try:
        return PycudaDevice(devices[ordinal])
    except CudaError as error:
        raise BackendUnavailableError(
            f"GPU {ordinal} ({devices[ordinal].name}) cannot be used ({error})",
            hint="see with nvidia-smi what else uses it",
        ) from error


class _Host:
    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.nbytes = array.nbytes
        self._array: NDArray[np.uint8] | None = array
        self._memory: Any = array.base

    @property
    def array(self) -> NDArray[np.uint8]:
        if self._array is None:
            raise CudaError("this pinned memory was freed")
        return self._array

    def free(self) -> None:
        self._array = None
        with _translated():
            self._memory.free()


class _Memory:
    def __init__(self, allocation: Any, nbytes: int) -> None:
        self.nbytes, self.pointer = nbytes, int(allocation)
        self._allocation = allocation

    def free(self) -> None:
        with _translated():
            self._allocation.free()


class _Stream:
    def __init__(self, stream: Any) -> None:
        self.handle = int(stream.handle)
        self.native = stream

    def synchronize(self) -> None:
        with _translated():
            self.native.synchronize()

    def close(self) -> None:
        self.native = None  # pycuda destroys it with its last reference


class _Event:
    def __init__(self, event: Any) -> None:
        self._native = event

    def record(self, stream: Stream) -> None:
        with _translated():
            self._native.record(_native(stream))

    def synchronize(self) -> None:
        with _translated():
            self._native.synchronize()

    def close(self) -> None:
        self._native = None


class PycudaDevice:
    """A GPU by pycuda; see `vidsr.backends.cuda.layer.Device`."""

    def __init__(self, info: DeviceInfo) -> None:
        """Retain the primary context of a GPU.

        Raises:
            CudaError: It cannot be used.
        """
        self.info = info
        self._driver = _driver()
        with _translated():
            self._context = self._driver.Device(info.ordinal).retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Push the context on the calling thread's stack for as long as the ``with`` lasts."""
        with _translated():
            self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def host(self, nbytes: int, *, write_combined: bool = False) -> HostBuffer:
        """Allocate pinned memory."""
        flags = self._driver.host_alloc_flags.WRITECOMBINED if write_combined else 0
        with _translated():
            return _Host(self._driver.pagelocked_empty(nbytes, np.uint8, mem_flags=flags))

    def memory(self, nbytes: int) -> DeviceBuffer:
        """Allocate memory of the device."""
        with _translated():
            return _Memory(self._driver.mem_alloc(nbytes), nbytes)

    def stream(self) -> Stream:
        """Return a new stream that does not wait for the default one."""
        with _translated():
            return _Stream(self._driver.Stream(_NON_BLOCKING))

    def event(self) -> Event:
        """Return a new event; who waits for it sleeps, and leaves the core to decoder and encoder."""
        flags = self._driver.event_flags
        with _translated():
            return _Event(self._driver.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING))

    def copy_in(self, to: DeviceBuffer, from_: HostBuffer, stream: Stream) -> None:
        """Queue a copy to the device."""
        _same_size(to, from_)
        with _translated():
            self._driver.memcpy_htod_async(to.pointer, from_.array, _native(stream))

    def copy_out(self, to: HostBuffer, from_: DeviceBuffer, stream: Stream) -> None:
        """Queue a copy to the host."""
        _same_size(to, from_)
        with _translated():
            self._driver.memcpy_dtoh_async(to.array, from_.pointer, _native(stream))

    def follow_default(self, stream: Stream) -> None:
        """Let a stream wait for the default one's work so far."""
        with _translated():
            event = self._driver.Event(self._driver.event_flags.DISABLE_TIMING)
            event.record()
            _native(stream).wait_for_event(event)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph | None:
        """Capture what `work` queues; None without cuda-bindings."""
        return capture(stream.handle, work)

    def free_bytes(self) -> int:
        """Return the free memory of the device."""
        with _translated():
            return int(self._driver.mem_get_info()[0])

    def close(self) -> None:
        """Release the primary context.

        pycuda does so only on the thread that retained it or where it is current, and leaves it on the
        driver's stack of that thread: so a thread of its own, which ends then.
        """
        failed: list[BaseException] = []

        def release() -> None:
            try:
                with _translated():
                    self._context.push()
                    self._context.detach()
            except CudaError as error:
                failed.append(error)

        thread = threading.Thread(target=release, name="vidsr-cuda-close")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]


def _driver() -> Any:
    import pycuda.driver

    return pycuda.driver


@contextmanager
def _translated() -> Iterator[None]:
    driver = _driver()
    try:
        yield
    except driver.MemoryError as error:
        raise OutOfMemory(_line(error)) from error
    except driver.Error as error:
        raise CudaError(_line(error)) from error


def _native(stream: Stream) -> Any:
    if not isinstance(stream, _Stream) or stream.native is None:
        raise CudaError("this stream is closed, or of another library")
    return stream.native


def _same_size(one: DeviceBuffer | HostBuffer, other: DeviceBuffer | HostBuffer) -> None:
    if one.nbytes != other.nbytes:
        raise CudaError(f"a copy of {one.nbytes} bytes from or to {other.nbytes}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
