"""Sessions on GPUs: whatever can be queued on a stream, for frames from the decoder to the encoder.

Each GPU has a few slots (`Slot`), so that one frame is copied in while another is worked on and a third is
copied out. `submit` copies a frame into a slot and queues its work on the calling thread; a small pool of
threads waits for the results and copies them out, so that a ticket that nobody asks keeps no slot.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING

from vidsr.backends.base import check_planes
from vidsr.backends.cuda.apart import Apart
from vidsr.backends.cuda.layer import CudaError, Device, OutOfMemory, Program
from vidsr.backends.cuda.slot import Slot
from vidsr.backends.places import FutureTicket
from vidsr.caches import cache_file
from vidsr.errors import BackendError, DeviceMemoryError, EngineBuildError, InferenceError
from vidsr.resident import can_stay

if TYPE_CHECKING:
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.resident import Source

__all__ = ["IN_FLIGHT", "GpuSession", "choose_in_flight"]

IN_FLIGHT = (2, 3, 4)
"""Frames at once on a GPU that are worth trying: one copied in, one at work, one copied out, one spare."""

_GAIN = 1.03  # below this a further slot is not worth its memory
_ROUNDS = 3


class GpuSession:
    """A `vidsr.backends.base.Session` on one or more GPUs.

    Attributes:
        in_flight: Frames at once, on all GPUs together.
        notes: What was reduced for lack of memory, or cannot be; for a report.
        takes_from: Number of the GPU whose memory frames may be in; None: they come from the host's.
    """

    def __init__(
        self,
        deployed: Deployed,
        programs: Sequence[tuple[Device, Program]],
        in_flight: int,
        *,
        resident: bool = False,
    ) -> None:
        """Open slots on every device.

        Args:
            deployed: The graph that the programs run.
            programs: The devices, each with its program. They are the session's from now on: it closes
                them with itself, and also when this raises.
            in_flight: Frames at once on each device, see `IN_FLIGHT`; fewer where memory is short.
            resident: Whether to take frames from the memory of the device, where it is one.

        Raises:
            DeviceMemoryError: There is not enough memory for even one frame.
            BackendError: A device fails.
        """
        if in_flight < 1 or not programs:
            raise ValueError("a session needs a device and at least one frame in flight")
        self.notes: list[str] = []
        self._deployed = deployed
        with ExitStack() as made:
            for device in {id(d): d for d, _ in programs}.values():
                made.callback(device.close)
            for device, program in programs:
                made.callback(_close, device, program)
            apart = self._open_apart(programs[0][0], made) if resident and len(programs) == 1 else None
            self.takes_from = None if apart is None else programs[0][0].info.ordinal
            self._free: list[deque[Slot]] = [deque() for _ in programs]
            for lane, (device, program) in zip(self._free, programs, strict=True):
                self._check(program)
                while len(lane) < in_flight and (
                    slot := self._open(device, program, apart, len(lane), in_flight)
                ):
                    made.callback(slot.close)
                    lane.append(slot)
            self._made = made.pop_all()
        self._lane_of = {id(slot): lane for lane in self._free for slot in lane}
        self.in_flight = len(self._lane_of)
        self._turn = 0
        self._state = threading.Condition()
        self._closed = self._failed = False
        self._closing = threading.Lock()
        self._threads = ThreadPoolExecutor(self.in_flight, thread_name_prefix="vidsr-gpu")

    def submit(self, src: Source, dst: Planes) -> FutureTicket:
        """Copy a frame to a device, where it is not there, and start its work; waits for a free slot."""
        check_planes(self._deployed, src, dst)
        slot = self._take()
        refused: CudaError | None = None
        try:
            slot.fill(src)
            try:
                slot.start()
            except CudaError as error:  # the ticket's to raise: what came before is good
                refused = error
            return FutureTicket(self._threads.submit(self._collect, slot, dst, refused))
        except BaseException:
            slot.settle()
            self._give(slot)
            raise

    def seconds_alone(self, frames: int) -> float:
        """Return what a frame takes the first device, without copies, over so many frames; for measuring.

        Raises:
            InferenceError: The session is closed, or the device failed.
        """
        slot = self._take()
        try:
            slot.repeat(2)
            began = perf_counter()
            slot.repeat(frames)
            return (perf_counter() - began) / frames
        except CudaError as error:
            self._failed = True
            raise InferenceError(f"{_name(slot.device)} failed ({error})", stage="inference") from error
        finally:
            self._give(slot)

    def close(self) -> None:
        """Wait for the work in progress and free everything, programs and devices too.

        Raises:
            InferenceError: A device failed meanwhile, and no frame has said so.
        """
        with self._state:
            self._closed = True
            self._state.notify_all()
            self._state.wait_for(lambda: sum(map(len, self._free)) == self.in_flight)
        with self._closing:
            self._threads.shutdown(wait=True)
            try:
                self._made.close()  # what is closed is gone from it, so that twice is once
            except CudaError as error:
                if not self._failed:
                    raise InferenceError(
                        f"a GPU failed while it was given back ({error})", stage="inference"
                    ) from error

    def _take(self) -> Slot:
        """Return a free slot: of the devices in turn, but for those that are behind with their work."""
        with self._state:
            self._state.wait_for(lambda: self._closed or any(self._free))
            if self._closed:
                raise InferenceError("this session is closed", stage="inference")
            turns = [(self._turn + i) % len(self._free) for i in range(len(self._free))]
            lane = next(i for i in turns if self._free[i])
            self._turn = lane + 1
            return self._free[lane].popleft()

    def _give(self, slot: Slot) -> None:
        with self._state:
            self._lane_of[id(slot)].append(slot)
            self._state.notify_all()

    def _collect(self, slot: Slot, dst: Planes, refused: CudaError | None) -> None:
        try:
            if refused is not None:
                raise refused
            slot.collect(dst)
        except CudaError as error:
            self._failed = True
            slot.settle()
            hint = _smaller(self._deployed) if isinstance(error, OutOfMemory) else None
            raise InferenceError(
                f"{_name(slot.device)} failed ({error})", stage="inference", hint=hint
            ) from error
        finally:
            self._give(slot)

    def _check(self, program: Program) -> None:
        """Check that the planes are the program's: it would write over the end of what is allocated."""
        size = self._deployed.format.pixel_format.dtype.itemsize
        wanted = [
            tuple(rows * columns * size for rows, columns in shapes)
            for shapes in (self._deployed.input_shapes, self._deployed.output_shapes)
        ]
        given = [program.input_bytes, program.output_bytes]
        if given != wanted:
            raise BackendError(f"the program's planes have {given} bytes and the frames' {wanted}")

    def _open_apart(self, device: Device, made: ExitStack) -> Apart | None:
        pixels = self._deployed.format.pixel_format
        if not can_stay(pixels):
            return None
        try:
            with device.active():
                apart = Apart(device.info, pixels, cache_file("kernels"))
        except (EngineBuildError, CudaError) as error:
            self.notes.append(f"decoded frames come by way of the host: {error}")
            return None
        made.callback(_close, device, apart)
        return apart

    def _open(
        self, device: Device, program: Program, apart: Apart | None, number: int, wanted: int
    ) -> Slot | None:
        """Return the device's next slot; None: the memory is for `number` only."""
        try:
            return Slot(device, program, self._deployed, apart)
        except OutOfMemory as error:
            if number:
                self.notes.append(
                    f"{number} instead of {wanted} frames at once on {_name(device)}, whose memory is full"
                )
                return None
            size = f"{self._deployed.width}x{self._deployed.height}"
            raise DeviceMemoryError(
                f"{_name(device)} has not enough free memory for frames of {size}",
                stage="inference",
                hint=f"{_smaller(self._deployed)}, or end what else uses the GPU",
            ) from error
        except CudaError as error:
            raise BackendError(
                f"{_name(device)} cannot run this ({error})",
                stage="inference",
                hint="see what nvidia-smi says, or choose another backend",
            ) from error


def choose_in_flight(measure: Callable[[int], float]) -> int:
    """Return how many frames at once a GPU should work on: the fewest that are nearly as fast as any.

    Args:
        measure: Opens a session with so many frames in flight and returns frames a second. Called in
            rounds, so that what changes meanwhile meets all. It may raise a `BackendError` for want of
            memory: more are not tried then.

    Raises:
        BackendError: Not even the fewest can be measured.
    """
    found: dict[int, list[float]] = {number: [] for number in IN_FLIGHT}
    for _ in range(_ROUNDS):
        for number in list(found):
            try:
                found[number].append(measure(number))
            except BackendError:
                if number == IN_FLIGHT[0]:
                    raise
                found = {n: speeds for n, speeds in found.items() if n < number}
                break
    speeds = {number: statistics.median(each) for number, each in found.items()}
    return next(number for number, speed in speeds.items() if speed * _GAIN >= max(speeds.values()))


def _close(device: Device, made: Program | Apart) -> None:
    with device.active():
        made.close()


def _name(device: Device) -> str:
    return f"GPU {device.info.ordinal} ({device.info.name})"


def _smaller(deployed: Deployed) -> str:
    """Return what makes frames take less memory: tiles of a power of two, half the frame's side at most."""
    half = max(deployed.width, deployed.height, 128) // 2
    return f"use --tile {1 << (half.bit_length() - 1)}"
