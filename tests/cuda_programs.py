"""Programs for the stand-in for CUDA, what they compute, and frames for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from cuda_stand_in import StandInDevice
from cuda_streams import Op

from vidsr.backends.cuda.layer import CudaError
from vidsr.backends.cuda.runner import GpuSession
from vidsr.frame import PixelFormat, Planes
from vidsr.models.deploy import Deployed, FrameFormat

BAD = 13
"""First sample of a frame that the kernel fails on."""
FATAL = 14
"""Of one that it fails on so badly that the device is lost."""


def deployed(name: str = "yuv420p", width: int = 10, height: int = 6, scale: int = 2) -> Deployed:
    """What the runner needs of a deployed graph; odd chroma sizes and no multiple of anything."""
    pixels = PixelFormat.parse(name)
    big = (width * scale, height * scale)
    return Deployed(
        model_bytes=b"",
        digest="0" * 64,
        format=FrameFormat(pixels),
        width=width,
        height=height,
        out_width=big[0],
        out_height=big[1],
        input_shapes=pixels.plane_shapes(width, height),
        output_shapes=pixels.plane_shapes(*big),
        halo=0,
        align=(1, 1),
        exact=True,
        rows="none",
    )


def enlarged(of: Deployed, planes: Planes) -> list[np.ndarray]:
    """What the stand-in's kernel makes: every sample repeated, and one more than it was."""
    big = [(np.repeat(np.repeat(p, 2, 0), 2, 1) + 1).astype(p.dtype) for p in planes]
    return [p[:rows, :columns] for p, (rows, columns) in zip(big, of.output_shapes, strict=True)]


def frame(of: Deployed, number: int, *, padded: int = 0) -> Planes:
    """A frame that only `number` has; rows may be padded."""
    random = np.random.default_rng(number)
    pixels = of.format.pixel_format
    planes = []
    for rows, columns in of.input_shapes:
        whole = np.zeros((rows, columns + padded), pixels.dtype)
        whole[:, :columns] = random.integers(20, pixels.peak, (rows, columns), pixels.dtype)
        planes.append(whole[:, :columns])
    return tuple(planes)


class StandInProgram:
    """Enlarges planes twofold; see `vidsr.backends.cuda.layer.Program`."""

    def __init__(self, device: StandInDevice, of: Deployed, *, work_bytes: int = 0) -> None:
        size = of.format.pixel_format.dtype.itemsize
        self.device, self.of, self.work_bytes = device, of, work_bytes
        self.input_bytes = tuple(rows * columns * size for rows, columns in of.input_shapes)
        self.output_bytes = tuple(rows * columns * size for rows, columns in of.output_shapes)
        self.works = 0
        self.frames = 0
        """Done, those for warming up too."""
        device.live[id(self)] = "program"

    def work(self) -> StandInWork:
        self.device.require("making a work")
        self.device.not_capturing("making a work")
        self.device.take(self.work_bytes)
        self.works += 1
        return StandInWork(self)

    def close(self) -> None:
        self.device.require("closing a program", freeing=self)
        if self.works:
            self.device.misuse("a program is closed before its works")
        if id(self) not in self.device.live:
            self.device.misuse("a program is closed twice")
        self.device.freed(self)


class StandInWork:
    def __init__(self, program: StandInProgram) -> None:
        self._program, self._device = program, program.device
        self._stream: int | None = None
        self.ops: list[Op] = []
        self._warm = self.freed = False
        self._device.live[id(self)] = "work"

    def enqueue(self, stream: int, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        device, program = self._device, self._program
        device.require("a work")
        queue = device.streams.get(stream)
        if queue is None:
            device.misuse(f"a work is queued on a stream that is not GPU {device.info.ordinal}'s")
        if self._stream not in (None, stream):
            device.misuse("a work is queued on a second stream")
        if queue.captured is not None and not self._warm:
            device.misuse("a work is captured before its first run")
        self._stream, self._warm = stream, True
        if not device.graphs:
            device.launching()
        sides: list[tuple[list[Any], list[np.ndarray]]] = []
        for pointers, sizes in ((inputs, program.input_bytes), (outputs, program.output_bytes)):
            found = [device.find(p, n, "a work") for p, n in zip(pointers, sizes, strict=True)]
            sides.append(([memory for memory, _ in found], [raw for _, raw in found]))
        (read, src), (written, dst) = sides
        op = Op("kernel", lambda: self._run(src, dst), tuple(read), tuple(written), self)
        queue.queue(op)

    def _run(self, src: list[np.ndarray], dst: list[np.ndarray]) -> None:
        of = self._program.of
        kind = of.format.pixel_format.dtype
        planes = [raw.view(kind).reshape(shape) for raw, shape in zip(src, of.input_shapes, strict=True)]
        self._program.frames += 1
        if planes[0][0, 0] in (BAD, FATAL):
            self._device.dead = bool(planes[0][0, 0] == FATAL)
            raise CudaError("an illegal memory access was encountered")
        for raw, made in zip(dst, enlarged(of, tuple(planes)), strict=True):
            raw[:] = np.ascontiguousarray(made).view(np.uint8).ravel()

    def close(self) -> None:
        if self.freed:
            self._device.misuse("a work is closed twice")
        self._program.works -= 1
        self._device.require("closing a work", freeing=self)
        if any(not op.known for op in self.ops):
            self._device.misuse("a work is closed with pending work")
        self.freed = True
        self._device.freed(self)
        self._device.give(self._program.work_bytes)


class Bench:
    """Devices, their programs and a session, all of which must be gone without a misuse in the end."""

    def __init__(
        self, of: Deployed, devices: Sequence[StandInDevice], in_flight: int = 2, *, work_bytes: int = 0
    ) -> None:
        self.of, self.devices = of, devices
        self.programs = [StandInProgram(device, of, work_bytes=work_bytes) for device in devices]
        try:
            self.session = GpuSession(of, list(zip(devices, self.programs, strict=True)), in_flight)
        except BaseException:
            self.check()
            raise

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(CudaError):
            self.session.close()
        if error[0] is None:
            self.check()

    def check(self) -> None:
        for device in self.devices:
            assert not device.misuses
            assert not device.live
            assert device._closed

    def submit(self, planes: Planes) -> tuple[Any, Planes]:
        dst = self.of.format.pixel_format.allocate(self.of.out_width, self.of.out_height)
        return self.session.submit(planes, dst), dst

    def verify(self, planes: Planes, ticket: Any, dst: Planes) -> None:
        ticket.result()
        for got, wanted in zip(dst, enlarged(self.of, planes), strict=True):
            np.testing.assert_array_equal(got, wanted)
