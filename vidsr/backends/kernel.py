"""The backend `kernel`: compiled loops that stream rows through all layers of a network at once.

It runs ECBSR and whatever else is a stack of folded 3x3 convolutions, with a frame's working memory in the
processor's second-level cache. Planes are read and written where they lie; nothing is copied. A frame is
cut into one band of rows a thread; each sample is computed the same way whatever the bands and tiles are, so
that results do not depend on them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr import kernels
from vidsr.backends.base import Availability, SessionOptions, check_planes
from vidsr.cores import usable_cores
from vidsr.errors import BackendUnavailableError, EngineBuildError, InferenceError

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.frame import Planes
    from vidsr.kernels import PathInfo
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["BACKEND", "KernelBackend"]

_REINSTALL = "install a C compiler and then vidsr again, or choose another backend"


class _Ticket:
    def __init__(self, bands: list[Future[None]]) -> None:
        self._bands = bands

    def result(self) -> None:
        # All of them, whatever comes of the first: the planes are in use until the last has ended.
        errors = [error for band in self._bands if (error := band.exception()) is not None]
        if errors:
            raise errors[0]


class _KernelSession:
    """A queue of bands for a few threads, each with working memory of its own."""

    def __init__(
        self, deployed: Deployed, work: RowWork, path: PathInfo, threads: int, in_flight: int
    ) -> None:
        self.in_flight = in_flight
        self._deployed, self._work, self._path = deployed, work, path
        self._peak = deployed.format.pixel_format.peak
        self._kernel = kernels.RowKernel(work.stack, path, self._peak)
        self._bands = max(1, min(threads, deployed.height // (2 * len(work.stack.convs))))
        self._memory: SimpleQueue[NDArray[np.uint8]] = SimpleQueue()
        for _ in range(threads):
            self._memory.put(kernels.aligned_memory(self._workspace()))
        self._places = threading.Semaphore(in_flight)
        self._closing = threading.Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="vidsr-kernel")

    def submit(self, src: Planes, dst: Planes) -> _Ticket:
        check_planes(self._deployed, src, dst)
        self._places.acquire()
        left = self._bands
        counting = threading.Lock()

        def ended(_: Future[None]) -> None:
            nonlocal left
            with counting:
                left -= 1
                last = left == 0
            if last:
                self._places.release()

        with self._closing:
            if self._closed:
                self._places.release()
                raise InferenceError("this session is closed", stage="inference")
            bands = [self._threads.submit(self._run, src, dst, band) for band in range(self._bands)]
        for future in bands:
            future.add_done_callback(ended)
        return _Ticket(bands)

    def _run(self, src: Planes, dst: Planes, band: int) -> None:
        memory = self._memory.get()
        try:
            first, end = self._part(len(src[0]), band)
            if first < end:
                self._kernel.run(src[0], dst[0], first, end, memory)
            pairs = zip(src[1:], dst[1:], self._work.filters, strict=True)
            for one, other, (down, across) in pairs:
                rows = self._part(len(other), band)
                if rows[0] < rows[1]:
                    scale = self._work.stack.scale
                    kernels.resample(self._path, one, other, scale, down, across, self._peak, rows, memory)
        except ValueError as error:
            raise InferenceError(f"the compiled kernel refused ({error})", stage="inference") from error
        finally:
            self._memory.put(memory)

    def _part(self, rows: int, band: int) -> tuple[int, int]:
        return rows * band // self._bands, rows * (band + 1) // self._bands

    def _workspace(self) -> int:
        scale, shapes = self._work.stack.scale, self._deployed.input_shapes
        sizes = [self._kernel.workspace_bytes(shapes[0][1])]
        for (_, width), (down, _) in zip(shapes[1:], self._work.filters, strict=True):
            sizes.append(kernels.resample_workspace(width, scale, down[0]))
        return max(sizes)

    def close(self) -> None:
        with self._closing:
            self._closed = True
        self._threads.shutdown(wait=True)
        while not self._memory.empty():
            self._memory.get()


class KernelBackend:
    """Runs folded stacks on the CPU. Its devices are the sets of instructions that it knows, for tests."""

    name = "kernel"
    streams_rows = True
    tiles_exact = True

    def availability(self) -> Availability:
        """Tell whether the extension was compiled, and which instructions this machine has for it."""
        why = kernels.missing()
        if why:
            return Availability(False, why)
        paths = kernels.paths()
        names = tuple(path.name for path in paths)
        precisions = tuple(p for p in ("f32", "bf16", "int8") if any(path.precision == p for path in paths))
        return Availability(True, f"compiled kernels for {', '.join(names)}", ("cpu", *names), precisions)

    def lacks(self, rows: RowWork | str) -> str | None:
        """Return why it cannot do a job, in words; None: it can."""
        return rows if isinstance(rows, str) else None

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return backend, path and precision: other paths round in other places.

        Raises:
            BackendUnavailableError: The extension, path or precision is not there.
        """
        path = self._choose(options)
        return {"backend": self.name, "path": path.name, "precision": path.precision}

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Pack the network's weights for a path.

        Raises:
            BackendUnavailableError: The extension, path or precision is not there.
            EngineBuildError: The network or the frames are not what the kernels do.
        """
        path = self._choose(options)
        if isinstance(deployed.rows, str):
            raise EngineBuildError(
                f"the compiled kernels cannot do this: {deployed.rows}",
                stage="inference",
                hint="use --backend auto",
            )
        threads = options.threads or usable_cores()
        try:
            return _KernelSession(deployed, deployed.rows, path, threads, options.in_flight or 2)
        except ValueError as error:
            raise EngineBuildError(
                f"the compiled kernels cannot run this model ({error})", stage="inference"
            ) from error

    def _choose(self, options: SessionOptions) -> PathInfo:
        found = self.availability()
        if not found.usable:
            raise BackendUnavailableError(found.detail, hint=_REINSTALL)
        device = options.device.lower()
        if device not in ("auto", *found.devices):
            raise BackendUnavailableError(
                f"the backend kernel has no device '{options.device}' here",
                hint=f"there are: {', '.join(found.devices)}",
            )
        paths = [path for path in kernels.paths() if device in ("auto", "cpu", path.name)]
        wanted: Any = options.precision
        if wanted == "auto":
            there = {path.precision for path in paths}
            wanted = "bf16" if "bf16" in there else "f32"  # int8 is for files of its own
        fitting = [path for path in paths if path.precision == wanted]
        if not fitting:
            raise BackendUnavailableError(
                f"this machine has no {wanted} for the backend kernel"
                + ("" if device in ("auto", "cpu") else f" on {device}"),
                hint=f"use {' or '.join(dict.fromkeys(path.precision for path in paths))}",
            )
        return fitting[-1]


BACKEND = KernelBackend()
