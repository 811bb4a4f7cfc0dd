"""The backend `fused`: ECBSR on NVIDIA GPUs as one kernel a plane, compiled when it is first used.

It computes in FP16 with sums in FP32. Every sample is computed the same way wherever it lies in a tile or in
a frame, so that tiles of a frame give a whole frame's very samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vidsr.backends.base import Availability, SessionOptions
from vidsr.backends.cuda import choosing, pycuda
from vidsr.backends.cuda.layer import CudaError
from vidsr.backends.cuda.probing import find_cuda
from vidsr.backends.cuda.speed import fastest_in_flight
from vidsr.caches import cache_file
from vidsr.errors import BackendUnavailableError, EngineBuildError
from vidsr.identity import own_version
from vidsr.kernels.cuda import compile as compiling
from vidsr.kernels.cuda import plan
from vidsr.remembered import key_of, recall, remember

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.backends.cuda.layer import Device, DeviceInfo, Program
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["BACKEND", "FusedBackend"]

_FILE = "gpus.json"
_PRECISION = "f16"
_LEAST = (7, 5)
"""Compute capability: of the first tensor cores with m16n8k8."""


class FusedBackend:
    """Runs folded stacks on GPUs from compute capability 7.5 on: cuda:0, cuda:1, ..., or all of them."""

    name = "fused"
    streams_rows = True  # the device holds a frame's own planes and nothing that grows beside them
    tiles_exact = True

    def availability(self) -> Availability:
        """Tell whether there are a driver, a GPU that is new enough, pycuda, cuda-bindings and NVRTC."""
        if why := find_cuda().why or pycuda.missing() or compiling.missing():
            return Availability(False, why, expected=not find_cuda().driver)
        found = _devices()
        if not found:
            here = choosing.in_words(find_cuda().devices)
            return Availability(False, f"the fused kernel wants compute capability 7.5, and here are {here}")
        detail = f"fused kernel on {choosing.in_words(found)}"
        return Availability(True, detail, choosing.names(found), (_PRECISION,))

    def lacks(self, rows: RowWork | str) -> str | None:
        """Return why it cannot do a job, in words; None: it can."""
        return rows if isinstance(rows, str) else plan.lacks(rows.stack)

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return backend, GPU, compute capability and precision: each capability sums in an order of its own.

        Raises:
            BackendUnavailableError: The driver, a library, the device or the precision is not there.
        """
        devices = self._choose(options)
        kinds = dict.fromkeys((one.name, one.capability) for one in devices)
        return {
            "backend": self.name,
            "device": ", ".join(f"cuda:{one.ordinal}" for one in devices),
            "device_name": ", ".join(name for name, _ in kinds),
            "capability": ", ".join(f"{major}.{minor}" for _, (major, minor) in kinds),
            "precision": _PRECISION,
        }

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Compile the kernels or find them compiled, and open a session.

        Raises:
            BackendUnavailableError: The driver, a library, the device or the precision is not there.
            EngineBuildError: The network or the frames are not what the kernel does, or NVRTC refuses it.
            DeviceMemoryError: The device has not enough memory.
        """
        devices = self._choose(options)
        if isinstance(deployed.rows, str) or (lacks := plan.lacks(deployed.rows.stack)):
            why = deployed.rows if isinstance(deployed.rows, str) else lacks
            raise EngineBuildError(
                f"the fused kernel cannot do this: {why}", stage="inference", hint="use --backend auto"
            )
        from vidsr.backends.cuda.runner import GpuSession

        at_once = options.in_flight or self._fastest(deployed, deployed.rows, devices[0])
        with ExitStack() as opened:
            loaded = [_loaded(info, deployed, deployed.rows, opened) for info in devices]
            opened.pop_all()  # they are the session's, also where it raises
        return GpuSession(deployed, loaded, at_once, resident=options.resident)

    def _fastest(self, deployed: Deployed, rows: RowWork, info: DeviceInfo) -> int:
        """Return how many frames at once are fastest: remembered, or measured now."""
        from vidsr.backends.cuda.runner import GpuSession

        where = {"gpu": info.name, "capability": info.capability, "driver": info.driver}
        key = key_of({"what": "fused", "vidsr": own_version(), "graph": deployed.digest, **where})
        file = cache_file(_FILE)
        found = None if file is None else recall(file, key)
        if found is not None and isinstance(number := found.get("frames"), float | int) and 1 <= number <= 4:
            return int(number)

        def opened(in_flight: int) -> GpuSession:
            with ExitStack() as stack:
                loaded = _loaded(info, deployed, rows, stack)
                stack.pop_all()
            return GpuSession(deployed, [loaded], in_flight)

        fastest = fastest_in_flight(opened, deployed)
        if file is not None:
            remember(file, key, {"frames": fastest})
        return fastest

    def _choose(self, options: SessionOptions) -> tuple[DeviceInfo, ...]:
        found = self.availability()
        if not found.usable:
            message, _, hint = found.detail.partition("; ")
            raise BackendUnavailableError(message, hint=hint or "choose another backend")
        if options.precision not in ("auto", _PRECISION):
            raise BackendUnavailableError(
                f"the backend fused computes in {_PRECISION}, not in {options.precision}",
                hint="leave the precision out, or use --backend torch for f32 on a GPU",
            )
        return choosing.chosen(_devices(), options.device, self.name)


def _loaded(info: DeviceInfo, deployed: Deployed, rows: RowWork, opened: ExitStack) -> tuple[Device, Program]:
    """Return a GPU with the kernels on it; `opened` closes both."""
    from vidsr.backends.fused_program import FusedProgram

    device = pycuda.open_device(info.ordinal)
    opened.callback(device.close)
    try:
        with device.active():
            program = FusedProgram(device, deployed, rows, cache_file("kernels"))
    except CudaError as error:
        raise EngineBuildError(
            f"the fused kernel cannot be brought to {info.name} ({error})",
            stage="inference",
            hint="see what nvidia-smi says, or choose another backend",
        ) from error

    def close() -> None:
        with device.active():
            program.close()

    opened.callback(close)
    return device, program


def _devices() -> Sequence[DeviceInfo]:
    return [one for one in find_cuda().devices if one.capability >= _LEAST]


BACKEND = FusedBackend()
