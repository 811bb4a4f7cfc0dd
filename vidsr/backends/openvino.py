"""The backend `openvino`: deployed graphs on Intel's runtime, on CPUs above all.

The precision is always set: OpenVINO's default is bf16 on CPUs that have it, f32 elsewhere. Each
request owns page-aligned planes that OpenVINO reads and writes in place, so a frame is copied once on the
way in and once on the way out (decoders' rows are padded, OpenVINO's are not). Nothing is cached on
disk, and nothing is reported: see `_import_quietly`.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vidsr.backends.base import Availability, SessionOptions
from vidsr.backends.openvino_int8 import INTEGERS, int8_settings
from vidsr.backends.places import PlacesSession
from vidsr.cores import usable_cores
from vidsr.errors import BackendUnavailableError, EngineBuildError, InferenceError

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from vidsr.backends.base import Session
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.models.lookup import Model
    from vidsr.models.rows import RowWork

__all__ = ["BACKEND", "OpenVinoBackend", "run_graph", "run_interchange"]

_importing = threading.Lock()


def _import_quietly() -> Any:
    """Import OpenVINO with its usage reports stopped, and return the module.

    ``import openvino`` imports ``openvino.tools.ovc``, which makes a client id under ``~/intel`` and sends an
    event to Google Analytics from a background process unless the package ``openvino_telemetry``
    cannot be imported; then it takes a stub of its own that does nothing. So it cannot be, for as long as
    the import lasts. A process that had imported OpenVINO before has had its report already.
    """
    with _importing:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        hidden = {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "openvino_telemetry"}
        for name in hidden:
            del sys.modules[name]
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to block a name
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
            sys.modules.update(hidden)
        return openvino


@cache
def _core() -> Any:
    return _import_quietly().Core()


class _Request:
    """An inference request with the planes that it reads and writes."""

    def __init__(self, compiled: Any, deployed: Deployed) -> None:
        tensor = _import_quietly().Tensor
        kind = deployed.format.pixel_format.dtype
        self._request = compiled.create_infer_request()
        self._inputs = [np.zeros((1, 1, *s), dtype=kind) for s in deployed.input_shapes]
        self._outputs = [np.zeros((1, 1, *s), dtype=kind) for s in deployed.output_shapes]
        for i, plane in enumerate(self._inputs):
            self._request.set_tensor(f"p{i}", tensor(plane, shared_memory=True))
        for i, plane in enumerate(self._outputs):
            self._request.set_tensor(f"q{i}", tensor(plane, shared_memory=True))

    def run(self, src: Planes, dst: Planes) -> None:
        for plane, one in zip(self._inputs, src, strict=True):
            np.copyto(plane[0, 0], one)
        self._request.start_async()
        self._request.wait()
        for other, plane in zip(dst, self._outputs, strict=True):
            np.copyto(other, plane[0, 0])


class OpenVinoBackend:
    """Runs deployed graphs on OpenVINO's devices; CPU unless another is named."""

    name = "openvino"
    streams_rows = False
    tiles_exact = False  # bf16 sums in an order that depends on the shape

    def lacks(self, rows: RowWork | str) -> None:
        """Return None: it takes every deployed graph."""

    def availability(self) -> Availability:
        """Tell whether the package is there and which devices it sees."""
        if importlib.util.find_spec("openvino") is None:
            return Availability(False, "the package openvino is not installed; pip install openvino")
        try:
            core = _core()
            devices = tuple(core.available_devices)
            version = _import_quietly().get_version().partition("-")[0]
        except (ImportError, RuntimeError, OSError) as error:
            return Availability(False, f"OpenVINO does not start ({_first_line(error)})")
        if not devices:
            return Availability(False, f"OpenVINO {version} finds no device")
        precisions = _precisions(devices[0] if "CPU" not in devices else "CPU")
        return Availability(True, f"OpenVINO {version} on {', '.join(devices)}", devices, precisions)

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return backend, version, device, its name and instruction sets, and precision.

        Raises:
            BackendUnavailableError: The library, device or precision is not there.
        """
        device, precision = self._choose(options)
        core = _core()
        return {
            "backend": self.name,
            "version": str(_import_quietly().get_version()),
            "device": device,
            "device_name": str(core.get_property(device, "FULL_DEVICE_NAME")),
            "capabilities": " ".join(sorted(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))),
            "precision": precision,
            **(_told_of_int8(device) if precision == "int8" else {}),
        }

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Compile the graph.

        Raises:
            BackendUnavailableError: The library, device or precision is not there.
            EngineBuildError: OpenVINO cannot compile the graph.
        """
        device, precision = self._choose(options)
        if precision == "int8" and deployed.stored != "int8":
            raise EngineBuildError("this graph is not of an int8 file", stage="inference")
        in_flight = options.in_flight or 2
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _hint(device, precision)}
        if device == "CPU":
            threads = options.threads or usable_cores()
            settings |= {
                # Streams split the threads between requests; one stream keeps all threads on one frame.
                "NUM_STREAMS": max(1, min(options.streams, threads)),
                "INFERENCE_NUM_THREADS": threads,
                # Pinned threads would fight with the encoder's for their cores.
                "ENABLE_CPU_PINNING": False,
            }
            if deployed.stored == "int8":
                settings |= _int8_settings()
        try:
            compiled = _core().compile_model(_core().read_model(deployed.model_bytes), device, settings)
            requests = [_Request(compiled, deployed) for _ in range(in_flight)]
            return PlacesSession(deployed, requests, in_flight, library="OpenVINO", words=_first_line)
        except RuntimeError as error:
            raise EngineBuildError(
                f"OpenVINO cannot compile this model for {device} ({_first_line(error)})",
                stage="inference",
                hint="try smaller tiles, or another backend",
            ) from error

    def _choose(self, options: SessionOptions) -> tuple[str, str]:
        """Return device and precision."""
        found = self.availability()
        if not found.usable:
            raise BackendUnavailableError(found.detail, hint="install it, or choose another backend")
        device = options.device.upper()
        if device == "AUTO":
            device = "CPU" if "CPU" in found.devices else found.devices[0]
        if device not in found.devices:
            raise BackendUnavailableError(
                f"OpenVINO has no device '{options.device}' here",
                hint=f"there are: {', '.join(found.devices)}",
            )
        precisions = _precisions(device)
        if options.precision == "auto":
            return device, "bf16" if "bf16" in precisions else "f32"
        if options.precision not in precisions:
            raise BackendUnavailableError(
                f"{device} does not compute {options.precision} natively",
                hint=f"use {' or '.join(precisions)}",
            )
        return device, options.precision


def _precisions(device: str) -> tuple[str, ...]:
    """Return what the device computes natively: bf16 with AMX or AVX512_BF16."""
    able = _core().get_property(device, "OPTIMIZATION_CAPABILITIES") if device == "CPU" else []
    return ("f32", *(name for name in ("bf16", "int8") if name.upper() in able))


@cache
def _int8_settings() -> Mapping[str, str]:
    return int8_settings(_import_quietly(), _core())


def _told_of_int8(device: str) -> Mapping[str, str]:
    """Return what decides the bytes of an int8 file's results, beside the precision."""
    sums = "integers" if _int8_settings() == INTEGERS else "floats"
    return {"beside_int8": _hint(device, "int8"), "int8_sums": sums}


def _hint(device: str, precision: str) -> str:
    """Return the precision of what is not computed in integers.

    Beside int8 that is bf16 where there is one: ECBSR-M4C16 takes 0.72 of bf16's time so, 0.80 with f32, and
    loses 0.005 to 0.012 dB more.
    """
    if precision != "int8":
        return precision
    return "bf16" if "bf16" in _precisions(device) else "f32"


def run_interchange(model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a model's interchange graph itself, in float32 on the CPU, for measuring.

    Args:
        model: The model.
        x: [1, channels, H, W] in 0..1.

    Returns:
        [1, channels, H * scale, W * scale], not clamped.

    Raises:
        InferenceError: OpenVINO refused.
    """
    return run_graph(model.proto, x)[model.proto.graph.output[0].name]


def run_graph(proto: onnx.ModelProto, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Run a graph, in float32 and integers on the CPU, and return its outputs by name.

    Raises:
        BackendUnavailableError: It has integers, and OpenVINO cannot sum them here.
        InferenceError: OpenVINO refused.
    """
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    if any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
        settings |= _int8_settings()
    try:
        graph = _core().read_model(proto.SerializeToString())
        graph.reshape(list(x.shape))
        compiled = _core().compile_model(graph, "CPU", settings)
        made = compiled(x)
        return {o.name: np.array(made[i], dtype=np.float32) for i, o in enumerate(proto.graph.output)}
    except RuntimeError as error:
        raise InferenceError(f"OpenVINO failed ({_first_line(error)})", stage="inference") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO's first lines say where in its source it was; the last says what happened.
    return lines[-1][:200] if lines else type(error).__name__


BACKEND = OpenVinoBackend()
