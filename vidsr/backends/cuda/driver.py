"""Calls of CUDA's driver by cuda-bindings, in whatever context is current: pycuda's primary one here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from vidsr.backends.cuda.layer import CudaError, OutOfMemory

__all__ = ["bindings", "call", "launch", "primary_context"]

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


def bindings() -> Any:
    """Return cuda-bindings' module of the driver; tests put another in its place."""
    from cuda.bindings import driver

    return driver


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the driver; return what it gives.

    Raises:
        OutOfMemory: There is not enough memory.
        CudaError: It refuses.
    """
    result, *given = getattr(bindings(), name)(*arguments)
    if int(result) == _OUT_OF_MEMORY:
        raise OutOfMemory(f"{name}: out of memory")
    if int(result):
        raise CudaError(f"{name}: {getattr(result, 'name', result)}")
    return given[0] if given else None


def launch(
    function: Any,
    grid: tuple[int, int],
    threads: int,
    stream: int,
    arguments: Sequence[int | float],
    types: Sequence[Any],
    *,
    shared: int = 0,
) -> None:
    """Queue a kernel on a stream, given by its handle.

    Args:
        function: The kernel.
        grid: Blocks across and down.
        threads: Of a block.
        stream: Its handle.
        arguments: Of the kernel.
        types: Their types of ctypes.
        shared: Bytes of shared memory a block.

    Raises:
        CudaError: It cannot be queued.
    """
    handle = bindings().CUstream(stream)
    given = (tuple(arguments), tuple(types))
    call("cuLaunchKernel", function, *grid, 1, threads, 1, 1, shared, handle, given, 0)


@contextmanager
def primary_context(ordinal: int) -> Iterator[None]:
    """Make a GPU's primary context the calling thread's current one: for libraries that take what is current.

    It stays for the process's life, since what they made in it may be freed after everything of ours.

    Raises:
        CudaError: There is none.
    """
    call("cuCtxPushCurrent", _retained(ordinal))
    try:
        yield
    finally:
        call("cuCtxPopCurrent")


@cache
def _retained(ordinal: int) -> Any:
    call("cuInit", 0)
    return call("cuDevicePrimaryCtxRetain", call("cuDeviceGet", ordinal))
