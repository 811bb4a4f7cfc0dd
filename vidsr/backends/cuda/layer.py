"""What sessions on GPUs need of CUDA, and what they run there. No library is imported here.

Every call on a device, its memory, streams, events and graphs is made inside ``with device.active()`` on the
calling thread; only `Device.close` is not. Whatever a device made is freed before it is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CudaError",
    "Device",
    "DeviceBuffer",
    "DeviceInfo",
    "Event",
    "Graph",
    "HostBuffer",
    "OutOfMemory",
    "Program",
    "Stream",
    "Work",
]


class CudaError(Exception):
    """CUDA refused or a kernel failed; the message is one line. Sessions turn it into a `VidsrError`."""


class OutOfMemory(CudaError):  # noqa: N818  what happened, not a kind of fault
    """There is not enough memory on the device, or of the host's that can be pinned."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A GPU as its driver describes it."""

    ordinal: int
    """Its number for CUDA in this process, after CUDA_VISIBLE_DEVICES."""
    name: str
    """Such as "NVIDIA L4"."""
    capability: tuple[int, int]
    """Of computing, major and minor."""
    memory_bytes: int
    """All of its memory."""
    driver: str
    """Of NVIDIA's driver: "580.95.05 (CUDA 13.0)", or "CUDA 13.0" where only that can be found out."""


class HostBuffer(Protocol):
    """Pinned memory of the host: the device copies from and to it while the host does other things."""

    nbytes: int

    @property
    def array(self) -> NDArray[np.uint8]:
        """The memory itself, valid until `free`."""

    def free(self) -> None:
        """Give the memory back; nothing may use it any more."""


class DeviceBuffer(Protocol):
    """Memory of a device."""

    nbytes: int
    pointer: int
    """A multiple of 256."""

    def free(self) -> None:
        """Give the memory back; nothing may use it any more."""


class Stream(Protocol):
    """A queue of work for a device, done in order."""

    handle: int
    """CUDA's own, as a number."""

    def synchronize(self) -> None:
        """Wait for all that was queued.

        Raises:
            CudaError: Some of it failed.
        """

    def close(self) -> None:
        """Free it; nothing may be queued any more."""


class Event(Protocol):
    """A mark in a stream."""

    def record(self, stream: Stream) -> None:
        """Set the mark behind what was queued so far, instead of where it was."""

    def synchronize(self) -> None:
        """Wait until the stream has come to the mark.

        Raises:
            CudaError: Something before it failed.
        """

    def close(self) -> None:
        """Free it."""


class Graph(Protocol):
    """Work that was captured once and is queued as a whole; it uses the very memory that was captured."""

    def launch(self, stream: Stream) -> None:
        """Queue it."""

    def close(self) -> None:
        """Free it; it is not at work any more."""


class Device(Protocol):
    """One GPU, on its primary context: that of other libraries in this process."""

    info: DeviceInfo

    def active(self) -> AbstractContextManager[None]:
        """Return what makes it the calling thread's current device; it may be entered again inside."""

    def host(self, nbytes: int, *, write_combined: bool = False) -> HostBuffer:
        """Allocate pinned memory of the host.

        Args:
            nbytes: How much.
            write_combined: Whether it is only ever written by the host; reading such memory is slow.

        Raises:
            OutOfMemory: There is not enough.
        """

    def memory(self, nbytes: int) -> DeviceBuffer:
        """Allocate memory of the device.

        Raises:
            OutOfMemory: There is not enough.
        """

    def stream(self) -> Stream:
        """Return a new stream that does not wait for CUDA's default stream."""

    def event(self) -> Event:
        """Return a new event that lets the waiting thread sleep."""

    def copy_in(self, to: DeviceBuffer, from_: HostBuffer, stream: Stream) -> None:
        """Queue a copy of a whole buffer to the device; both have the same size."""

    def copy_out(self, to: HostBuffer, from_: DeviceBuffer, stream: Stream) -> None:
        """Queue a copy of a whole buffer to the host; both have the same size."""

    def follow_default(self, stream: Stream) -> None:
        """Let a stream go on only behind what was queued on CUDA's default stream so far, as by FFmpeg."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph | None:
        """Call `work` once and return what it queued on `stream` as a graph. None of it is done meanwhile.

        Returns:
            The graph; None, without calling `work`: graphs cannot be captured here, queue the work each time.

        Raises:
            CudaError: Something in `work` cannot be captured.
            OutOfMemory: There is no memory for it.
        """

    def free_bytes(self) -> int:
        """Return how much of the device's memory is free now."""

    def close(self) -> None:
        """Release the primary context, from any thread."""


class Work(Protocol):
    """What a stream runs: an execution context of an engine, or launches of a kernel."""

    def enqueue(self, stream: int, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Queue one frame's work.

        Args:
            stream: A stream's `handle`.
            inputs: Pointers to the planes on the device in their order, each without padding between rows.
            outputs: The same of the planes that are made.

        Raises:
            CudaError: It cannot be queued.
            OutOfMemory: There is no memory for it.
        """

    def close(self) -> None:
        """Free it; none of its work is in a stream any more."""


class Program(Protocol):
    """What the works of one device share: a loaded engine, a compiled kernel with its weights."""

    input_bytes: tuple[int, ...]
    """Of each plane that goes in, without padding."""
    output_bytes: tuple[int, ...]
    """Of each plane that comes out."""

    def work(self) -> Work:
        """Return a new work, for a stream of its own.

        Raises:
            OutOfMemory: There is no memory for another.
        """

    def close(self) -> None:
        """Free it; its works are closed before."""
