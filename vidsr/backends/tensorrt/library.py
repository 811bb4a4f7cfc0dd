"""TensorRT, or TensorRT for RTX: whichever is installed, imported where it is first needed.

What differs between their versions is here and nowhere else:

* TensorRT 10.12 to 10.x makes strongly typed networks by a flag; 11 makes no others, and ignores the flag.
* TensorRT for RTX builds for compute capabilities without a GPU, and times nothing: its timing cache does
  nothing and is deprecated, and so is the level of optimisation. TensorRT builds for the GPU that it
  finds, by timing on it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from vidsr.backends.engine_key import Place
from vidsr.errors import BackendUnavailableError, EngineBuildError

if TYPE_CHECKING:
    from vidsr.backends.cuda.layer import DeviceInfo

__all__ = ["Kind", "Library", "find_library", "missing"]

Kind = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: dict[Kind, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_LEAST: dict[Kind, tuple[int, int]] = {"tensorrt": (10, 12), "tensorrt-rtx": (1, 0)}
_INSTALL: dict[Kind, str] = {
    "tensorrt": "pip install 'vidsr[tensorrt]'",
    "tensorrt-rtx": "pip install 'vidsr[tensorrt-rtx]'",
}
_importing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two, imported."""

    kind: Kind
    version: str
    """Such as 10.13.3.9."""
    module: Any = field(repr=False)
    """`tensorrt` or `tensorrt_rtx`."""
    log: Any = field(repr=False)
    """Its logger, one a process, as TensorRT wants it; `log.take()` returns what was said since the last."""

    @property
    def times(self) -> bool:
        """Whether it times kernels while it builds, and keeps what it measured in a timing cache."""
        return self.kind == "tensorrt"

    def builder(self) -> Any:
        """Return a new builder.

        Raises:
            EngineBuildError: TensorRT has no GPU to build on.
        """
        try:
            made = self.module.Builder(self.log)
        except (TypeError, RuntimeError) as error:  # pybind11 turns a null pointer into a TypeError
            raise self.error("cannot begin to build", hint=_NO_GPU) from error
        if made is None:
            raise self.error("cannot begin to build", hint=_NO_GPU)
        return made

    def network(self, builder: Any) -> Any:
        """Return a new, empty, strongly typed network."""
        flag = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def configure(self, config: Any, *, workspace_bytes: int, level: int, capability: str | None) -> None:
        """Set what an engine is built with.

        Args:
            config: The builder's.
            workspace_bytes: Device memory that kernels may use beside tensors.
            level: 0 to 5: how long TensorRT looks for fast kernels.
            capability: Compute capabilities that TensorRT for RTX builds for, such as "8.9" or "8.6,12.0";
                None: its own choice, 8.0 and newer. TensorRT builds for the GPU it runs on.

        Raises:
            EngineBuildError: It does not build for that capability.
        """
        trt = self.module
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the inspector then tells all types
        # FP32 nodes are there for their precision, and TF32 has FP16's.
        config.clear_flag(trt.BuilderFlag.TF32)
        if self.times:
            config.builder_optimization_level = level
        elif capability is not None:
            names = [name.strip() for name in capability.split(",")]
            config.num_compute_capabilities = len(names)
            for place, name in enumerate(names):
                if not config.set_compute_capability(self._capability(name), place):
                    raise self.error(f"cannot build for compute capability {name}")

    def place(self, device: DeviceInfo) -> Place:
        """Return where engines for a GPU run."""
        capability = "{}.{}".format(*device.capability)
        return Place(self.kind, self.version, device.name, capability, device.driver)

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Tell whether it has kernels for a GPU's compute capability; TensorRT finds out itself."""
        return self.times or "{}.{}".format(*capability) in self.capabilities()

    def capabilities(self) -> tuple[str, ...]:
        """Return the compute capabilities it can build for from elsewhere; none for TensorRT."""
        if self.times:
            return ()
        found = (re.fullmatch(r"SM(\d+)(\d)", n) for n in self.module.ComputeCapability.__members__)
        return tuple(f"{m[1]}.{m[2]}" for m in found if m)

    def error(self, what: str, hint: str | None = None) -> EngineBuildError:
        """Return an error that says what the library said last."""
        said = [text for severity, text in self.log.take() if severity == "error"]
        reason = f" ({' '.join(said[-1].split())[:300]})" if said else ""
        return EngineBuildError(f"{_name(self.kind)} {self.version} {what}{reason}", hint=hint)

    def _capability(self, name: str) -> Any:
        if name not in self.capabilities():
            raise EngineBuildError(
                f"{_name(self.kind)} {self.version} does not build for compute capability {name}",
                hint=f"it builds for {', '.join(self.capabilities())}",
            )
        return getattr(self.module.ComputeCapability, "SM" + name.replace(".", ""))


_NO_GPU = "TensorRT needs the GPU and its driver to build; TensorRT for RTX does not"


def missing(kind: Kind) -> str | None:
    """Return why a library cannot be used, in one line, without importing it; None: it seems to be there."""
    if importlib.util.find_spec(_MODULES[kind]) is None:
        return f"{_name(kind)} is not installed; run: {_INSTALL[kind]}"
    return None


def find_library(kind: Kind | None = None) -> Library:
    """Return a library, imported.

    Args:
        kind: Which; None: TensorRT where it is installed, otherwise TensorRT for RTX.

    Raises:
        BackendUnavailableError: It is absent, too old, or cannot be imported.
    """
    installed: list[Kind] = [k for k in _MODULES if missing(k) is None]
    found: Kind = kind if kind is not None else (installed or list(_MODULES))[0]
    if why := missing(found):
        message, hint = why.split("; ", 1)
        raise BackendUnavailableError(message, hint=hint)
    with _importing:
        return _imported(found)


@cache
def _imported(kind: Kind) -> Library:
    try:
        module = importlib.import_module(_MODULES[kind])
        version = str(module.__version__)
        log = _logger(module)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BackendUnavailableError(
            f"{_name(kind)} cannot be imported ({reason})", hint=f"install it again: {_INSTALL[kind]}"
        ) from error
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if numbers < _LEAST[kind]:
        least = ".".join(str(n) for n in _LEAST[kind])
        raise BackendUnavailableError(
            f"{_name(kind)} {version} is too old: typed networks need {least}",
            hint=f"{_INSTALL[kind]} --upgrade",
        )
    return Library(kind, version, module, log)


def _name(kind: Kind) -> str:
    return "TensorRT" if kind == "tensorrt" else "TensorRT for RTX"


def _logger(trt: Any) -> Any:
    """Return a logger that keeps warnings and errors instead of printing them."""
    errors = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]  # its class is known once it is imported
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._lock = threading.Lock()
            self._said: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            kind = "error" if severity in errors else "warning"
            if kind == "error" or severity == trt.ILogger.Severity.WARNING:
                with self._lock:
                    self._said = [*self._said[-99:], (kind, text)]

        def take(self) -> list[tuple[str, str]]:
            with self._lock:
                said, self._said = self._said, []
            return said

    return Log()
