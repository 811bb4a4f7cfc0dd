"""A place for one frame on a GPU: its memory on both sides, a stream, and the work captured as a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.cuda.layer import CudaError, Device, Graph, HostBuffer, Program
from vidsr.resident import DevicePlanes

if TYPE_CHECKING:
    from vidsr.backends.cuda.apart import Apart
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.resident import Source

__all__ = ["Slot"]

_ALIGNED = 256  # what TensorRT asks of its bindings, and what one allocation gives to the first plane


class Slot:
    """Used by one frame at a time: `fill`, `start`, `collect`.

    All planes of a side lie in one piece of memory, so that each way is one copy.
    """

    def __init__(
        self, device: Device, program: Program, deployed: Deployed, apart: Apart | None = None
    ) -> None:
        """Allocate everything, run the work once, then capture it.

        Args:
            device: The GPU.
            program: What is done with a frame.
            deployed: For the planes' shapes.
            apart: For frames that are on the GPU already.

        Raises:
            OutOfMemory: There is not enough memory; all that was made is freed.
            CudaError: The work fails, likewise.
        """
        self.device = device
        self._apart = apart
        self._resident: DevicePlanes | None = None
        kind = deployed.format.pixel_format.dtype
        places_in, size_in = _places(program.input_bytes)
        places_out, size_out = _places(program.output_bytes)
        with device.active(), ExitStack() as made:
            self._host_in = device.host(size_in, write_combined=True)
            made.callback(self._host_in.free)
            self._host_out = device.host(size_out)
            made.callback(self._host_out.free)
            self._in = device.memory(size_in)
            made.callback(self._in.free)
            self._out = device.memory(size_out)
            made.callback(self._out.free)
            self._stream = device.stream()
            made.callback(self._stream.close)
            self._event = device.event()
            made.callback(self._event.close)
            self._work = program.work()
            made.callback(self._work.close)
            made.callback(self._idle)  # what fails below may leave copies in the stream
            self._pointers_in = [self._in.pointer + place for place in places_in]
            self._pointers_out = [self._out.pointer + place for place in places_out]
            self._src = _planes(self._host_in, places_in, deployed.input_shapes, kind)
            self._dst = _planes(self._host_out, places_out, deployed.output_shapes, kind)
            for plane in self._src:
                plane.fill(0)
            # Libraries load kernels and take memory at the first run, which a capture does not allow.
            self._queue()
            self._stream.synchronize()
            self._graph = self._captured(self._queue, made)
            self._rest = None if apart is None else self._captured(self._queue_rest, made)
            self._made = made.pop_all()

    def fill(self, src: Source) -> None:
        """Copy a frame to where the device reads it: the one copy on the host's way in.

        One that is on the device is kept until its work is done.
        """
        if isinstance(src, DevicePlanes):
            self._resident = src
            return
        for plane, one in zip(self._src, src, strict=True):
            np.copyto(plane, one)

    def start(self) -> None:
        """Queue the frame's work.

        Raises:
            CudaError: CUDA refused; what was queued before may still run, see `settle`.
        """
        graph, queue = self._graph, self._queue
        with self.device.active():
            if self._resident is not None and self._apart is not None:
                self.device.follow_default(self._stream)
                self._apart.enqueue(self._stream.handle, self._resident, self._pointers_in)
                graph, queue = self._rest, self._queue_rest
            if graph is None:
                queue()
            else:
                graph.launch(self._stream)
            self._event.record(self._stream)

    def collect(self, dst: Planes) -> None:
        """Wait for the work and copy the result: the one copy on the host's way out.

        Raises:
            CudaError: The work failed.
        """
        with self.device.active():
            self._event.synchronize()
        self._resident = None
        for other, plane in zip(dst, self._dst, strict=True):
            np.copyto(other, plane)

    def repeat(self, times: int) -> None:
        """Do the work so many times without copies, and wait for it: for measuring.

        Raises:
            CudaError: The work failed.
        """
        with self.device.active():
            for _ in range(times):
                self._work.enqueue(self._stream.handle, self._pointers_in, self._pointers_out)
            self._stream.synchronize()

    def settle(self) -> None:
        """Wait until nothing of the frame is at work any more, whether it failed or not."""
        with suppress(CudaError), self.device.active():
            self._idle()
        self._resident = None

    def close(self) -> None:
        """Wait for the work and free everything.

        Raises:
            CudaError: Something could not be freed; the rest is.
        """
        self._src, self._dst = [], []  # views of memory that is freed now
        with self.device.active():
            self._made.close()

    def _queue(self) -> None:
        self.device.copy_in(self._in, self._host_in, self._stream)
        self._queue_rest()

    def _queue_rest(self) -> None:
        self._work.enqueue(self._stream.handle, self._pointers_in, self._pointers_out)
        self.device.copy_out(self._host_out, self._out, self._stream)

    def _captured(self, queue: Callable[[], None], made: ExitStack) -> Graph | None:
        graph = self.device.capture(self._stream, queue)
        if graph is not None:
            made.callback(graph.close)
        return graph

    def _idle(self) -> None:
        with suppress(CudaError):  # it was raised already, or is by who waits for the event
            self._stream.synchronize()


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Return where each plane begins and how long all are."""
    places, end = [], 0
    for size in sizes:
        places.append(end)
        end += -(-size // _ALIGNED) * _ALIGNED
    return places, end


def _planes(
    memory: HostBuffer, places: Sequence[int], shapes: Sequence[tuple[int, int]], kind: np.dtype[Any]
) -> list[NDArray[Any]]:
    planes = []
    for place, (rows, columns) in zip(places, shapes, strict=True):
        end = place + rows * columns * kind.itemsize
        planes.append(memory.array[place:end].view(kind).reshape(rows, columns))
    return planes
