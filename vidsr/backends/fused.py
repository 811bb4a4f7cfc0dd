"""The backend `fused`: ECBSR on NVIDIA GPUs as one kernel a plane, compiled when it is first used.

It computes in FP16 with sums in FP32. Every sample is computed the same way wherever it lies in a tile or in
a frame, so that tiles of a frame give a whole frame's very samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vidsr.backends.base import Availability, SessionOptions
from vidsr.backends.cuda import probing, pycuda
from vidsr.backends.cuda.layer import CudaError, DeviceInfo
from vidsr.errors import BackendUnavailableError, EngineBuildError
from vidsr.kernels.cuda import compile as compiling
from vidsr.kernels.cuda import plan

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["BACKEND", "FusedBackend"]

_IN_FLIGHT = 3
_LEAST = (7, 5)
"""Compute capability: of the first tensor cores with m16n8k8."""


class FusedBackend:
    """Runs folded stacks on GPUs from compute capability 7.5 on. Its devices are ``gpu:0`` and so on."""

    name = "fused"
    streams_rows = True  # the device holds a frame's own planes and nothing that grows beside them
    tiles_exact = True

    def availability(self) -> Availability:
        """Tell whether there are a driver, a GPU that is new enough, pycuda, cuda-bindings and NVRTC."""
        if why := pycuda.missing() or compiling.missing():
            return Availability(False, why)
        found = _devices()
        if not found:
            return Availability(False, "no GPU here has compute capability 7.5 or more")
        names = ", ".join(info.name for info in found.values())
        return Availability(True, f"fused kernel for {names}", tuple(found), ("f16",))

    def lacks(self, rows: RowWork | str) -> str | None:
        """Return why it cannot do a job, in words; None: it can."""
        return rows if isinstance(rows, str) else plan.lacks(rows.stack)

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return backend, device and precision; all GPUs sum in an order of their own.

        Raises:
            BackendUnavailableError: The library, device or precision is not there.
        """
        info = self._choose(options)
        return {"backend": self.name, "device": info.name, "precision": "f16"}

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Compile the kernels or find them compiled, and open a session.

        Raises:
            BackendUnavailableError: The library, device or precision is not there.
            EngineBuildError: The network or the frames are not what the kernel does, or NVRTC refuses it.
            BackendError: The device has not enough memory.
        """
        info = self._choose(options)
        if isinstance(deployed.rows, str) or (lacks := plan.lacks(deployed.rows.stack)):
            why = deployed.rows if isinstance(deployed.rows, str) else lacks
            raise EngineBuildError(
                f"the fused kernel cannot do this: {why}", stage="inference", hint="use --backend auto"
            )
        from vidsr.backends.cuda.runner import GpuSession
        from vidsr.backends.fused_program import FusedProgram

        device = pycuda.open_device(info.ordinal)
        with ExitStack() as opened:
            opened.callback(device.close)
            try:
                with device.active():
                    program = FusedProgram(device, deployed, deployed.rows, _folder())
            except CudaError as error:
                raise EngineBuildError(
                    f"the fused kernel cannot be brought to {info.name} ({error})",
                    stage="inference",
                    hint="see what nvidia-smi says, or choose another backend",
                ) from error
            opened.pop_all()  # they are the session's, also where it raises
        return GpuSession(deployed, [(device, program)], options.in_flight or _IN_FLIGHT)

    def _choose(self, options: SessionOptions) -> DeviceInfo:
        found = self.availability()
        if not found.usable:
            raise BackendUnavailableError(found.detail, hint="choose another backend")
        if options.precision not in ("auto", *found.precisions):
            raise BackendUnavailableError(
                f"the backend fused computes in f16, not in {options.precision}",
                hint="leave the precision out",
            )
        device = found.devices[0] if options.device == "auto" else options.device.lower()
        if device not in found.devices:
            raise BackendUnavailableError(
                f"the backend fused has no device '{options.device}' here",
                hint=f"there are: {', '.join(found.devices)}",
            )
        return _devices()[device]


@cache
def _devices() -> dict[str, DeviceInfo]:
    return {f"gpu:{d.ordinal}": d for d in probing.find_cuda().devices if d.capability >= _LEAST}


def _folder() -> Path | None:
    """Return where compiled kernels are kept, by the XDG rules; None: this user has no home."""
    asked = os.environ.get("XDG_CACHE_HOME", "")
    try:
        home = Path(asked) if Path(asked).is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return home / "vidsr" / "kernels"


BACKEND = FusedBackend()
