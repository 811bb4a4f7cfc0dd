"""The backend `torch`: deployed graphs in PyTorch, on NVIDIA GPUs above all.

On a GPU the network computes in f16 unless f32 is asked for, and a frame is one CUDA graph. On the CPU it is
f32, always in the same order: the reference that others are compared with, not a fast way; `auto` never
takes it there. torch takes a second to import, so that whether there is a GPU is asked of the driver first.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsr.backends.base import Availability, SessionOptions
from vidsr.backends.cuda.probing import find_cuda
from vidsr.cores import usable_cores
from vidsr.errors import BackendUnavailableError, EngineBuildError

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["BACKEND", "TorchBackend", "missing_driver"]

_INSTALL = "pip install torch"
_IN_FLIGHT = {"cpu": 2, "cuda": 3}


def missing_driver() -> str:
    """Return why there is no GPU of NVIDIA's to use, asked of the driver alone; empty: there is one."""
    return find_cuda().why


@cache
def _gpus() -> tuple[str, ...] | str:
    """Return the names of torch's GPUs in their order, or why there are none."""
    if why := missing_driver():
        return why
    if not _built_for_cuda():
        return "this torch was built without CUDA"
    import torch

    if not torch.cuda.is_available():
        return "torch cannot use the GPU: its CUDA may be newer than the driver"
    return tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _built_for_cuda() -> bool:
    """Tell what torch was built for, without importing it."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    try:
        text = (Path(found.origin).parent / "version.py").read_text("utf-8")
    except OSError:
        return True  # importing it will tell
    return re.search(r"^cuda\b[^=\n]*=\s*None", text, re.MULTILINE) is None


class TorchBackend:
    """Runs deployed graphs in torch. Its devices are cuda:0, cuda:1, ... and cpu."""

    name = "torch"
    streams_rows = False
    tiles_exact = False  # f16, and algorithms that depend on the shape

    def lacks(self, rows: RowWork | str) -> None:
        """Return None: it takes every deployed graph."""

    def availability(self) -> Availability:
        """Tell whether torch is there, and which GPUs it can use; it is imported only where there is one."""
        if importlib.util.find_spec("torch") is None:
            return Availability(False, f"the package torch is not installed; {_INSTALL}")
        try:
            gpus = _gpus()
        except (ImportError, OSError, RuntimeError) as error:
            return Availability(False, f"torch does not start ({str(error).strip().splitlines()[0][:200]})")
        version = metadata.version("torch")
        if isinstance(gpus, str):
            detail = f"torch {version} on the CPU; {gpus.partition('; ')[0]}"
            return Availability(
                True,
                detail,
                ("cpu",),
                ("f32", "int8"),
                only_by_name=("cpu",),
                expected=not find_cuda().driver,
            )
        devices = tuple(f"cuda:{i}" for i in range(len(gpus)))
        named = ", ".join(f"{device} {name}" for device, name in zip(devices, gpus, strict=True))
        # int8 is the CPU's alone, and left out here: it is slow, and auto must not take it for a GPU's.
        return Availability(
            True, f"torch {version} on {named}", (*devices, "cpu"), ("f32", "f16"), only_by_name=("cpu",)
        )

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return backend, version, device, its name or instruction set, and precision.

        Raises:
            BackendUnavailableError: torch, the device or the precision is not there.
        """
        device, precision = self._choose(options)
        import torch

        found = {"backend": self.name, "version": torch.__version__, "device": device, "precision": precision}
        if device == "cpu":
            return found | {"capability": torch.backends.cpu.get_cpu_capability()}
        major, minor = torch.cuda.get_device_capability(device)
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return found | {
            "device_name": torch.cuda.get_device_name(device),
            "capability": f"{major}.{minor}",
            "cudnn": str(cudnn),
        }

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Make the graph a function, and on a GPU a CUDA graph for each frame in flight.

        Raises:
            BackendUnavailableError: torch, the device or the precision is not there.
            EngineBuildError: An operator is missing, the device's memory is too small, or CUDA refuses.
        """
        device, precision = self._choose(options)
        if precision == "int8" and deployed.stored != "int8":
            raise EngineBuildError("this graph is not of an int8 file", stage="inference")
        if precision == "f16" and deployed.stored == "int8":
            raise EngineBuildError(
                "the codes of an int8 file would not be the same in f16",
                stage="inference",
                hint="use --precision f32, or the device cpu with int8",
            )
        from vidsr.backends.torch_graph import TorchGraph
        from vidsr.backends.torch_session import first_line, open_on_cpu, open_on_gpu
        from vidsr.models.steps import read_graph

        try:
            graph = TorchGraph(read_graph(deployed.model_bytes), device=device, half=precision == "f16")
        except RuntimeError as error:  # no memory for the weights
            raise EngineBuildError(
                f"torch cannot take this model to {device} ({first_line(error)})", stage="inference"
            ) from error
        in_flight = options.in_flight or _IN_FLIGHT[device.partition(":")[0]]
        if device == "cpu":
            return open_on_cpu(graph, deployed, options.threads or usable_cores(), in_flight)
        return open_on_gpu(graph, deployed, device, in_flight)

    def _choose(self, options: SessionOptions) -> tuple[str, str]:
        """Return device and precision."""
        found = self.availability()
        if not found.usable:
            raise BackendUnavailableError(found.detail, hint=f"{_INSTALL}, or choose another backend")
        device = options.device.lower()
        if device == "auto":
            device = found.devices[0]
        if device not in found.devices:
            raise BackendUnavailableError(
                f"torch has no device '{options.device}' here: {found.detail}",
                hint=f"there are: {', '.join(found.devices)}",
            )
        precisions = ("f32", "int8") if device == "cpu" else ("f16", "f32")
        wanted: Any = options.precision
        if wanted == "auto":
            return device, "f32" if device == "cpu" else "f16"
        if wanted not in precisions:
            raise BackendUnavailableError(
                f"the backend torch does not compute {wanted} on {device}",
                hint=f"use {' or '.join(precisions)}",
            )
        return device, wanted


BACKEND = TorchBackend()
