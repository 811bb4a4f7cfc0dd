"""Building engines in this process: a network, a profile, progress, and the serialised engine.

TensorRT holds the interpreter's lock only while it calls back, and may bring the process down with it: see
`process.py` for building in another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vidsr.backends.tensorrt.library import Library, find_library
from vidsr.backends.tensorrt.network import LayerInfo, Parsed, parse
from vidsr.errors import EngineBuildError

if TYPE_CHECKING:
    from vidsr.models.half import TypedGraph
    from vidsr.models.lattice import Size

__all__ = ["BuildOptions", "BuildStoppedError", "Built", "Progress", "build"]

Progress = Callable[[str, int, int], bool]
"""Called with phase, step and steps, from TensorRT's threads as well; False stops the build."""


class BuildStoppedError(EngineBuildError):
    """Whoever asked for the engine does not want it any more."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an engine is built."""

    dynamic: tuple[Size, Size, Size] | None = None
    """The smallest, the usual and the largest (rows, columns) in luma samples; of dynamic graphs alone."""
    workspace_bytes: int = 1 << 30
    """Device memory that kernels may use beside tensors."""
    timing_cache: bytes | None = None
    """What an earlier build measured; None: nothing. TensorRT for RTX measures nothing."""
    level: int = 3
    """0 to 5: how long TensorRT looks for fast kernels."""
    capability: str | None = None
    """Compute capabilities, such as "8.9" or "8.6,12.0", that TensorRT for RTX builds for; None: its own."""


@dataclass(frozen=True, slots=True)
class Built:
    """An engine."""

    engine: bytes = field(repr=False)
    """Serialised; for this version, and for the GPU or the capabilities it was built for."""
    timing_cache: bytes = field(repr=False)
    """For the next build; empty for TensorRT for RTX."""
    layers: tuple[LayerInfo, ...]
    """Of the network, before fusion."""


def build(
    typed: TypedGraph, options: BuildOptions, progress: Progress, library: Library | None = None
) -> Built:
    """Return the engine of a typed graph.

    Args:
        typed: The graph.
        options: How.
        progress: Told how far it is; what it raises is raised here.
        library: Which to build with; None: as `find_library` finds it.

    Raises:
        BackendUnavailableError: There is no TensorRT.
        BuildStoppedError: `progress` returned False.
        EngineBuildError: It cannot be built.
    """
    if typed.dynamic != (options.dynamic is not None):
        what = "needs a range of sizes" if typed.dynamic else "has one size, and takes no range"
        raise EngineBuildError(
            f"this graph {what}", hint="dynamic graphs and BuildOptions.dynamic go together"
        )
    library = find_library() if library is None else library
    library.log.take()
    parsed = parse(library, typed)
    config = parsed.builder.create_builder_config()
    library.configure(
        config, workspace_bytes=options.workspace_bytes, level=options.level, capability=options.capability
    )
    if options.dynamic is not None:
        _add_profile(library, parsed, config, typed, options.dynamic)
    cache = _timing_cache(library, config, options.timing_cache)
    monitor = _monitor(library.module, progress)
    config.progress_monitor = monitor  # it must live as long as the config
    plan = parsed.builder.build_serialized_network(parsed.network, config)
    if monitor.raised is not None:
        raise monitor.raised
    if monitor.stopped:
        raise BuildStoppedError("the engine's build was stopped")
    if plan is None:
        raise library.error("cannot build the engine", hint="try a smaller frame or a larger workspace")
    measured = b"" if cache is None else bytes(cache.serialize())
    return Built(bytes(plan), measured, parsed.layers)


def _add_profile(
    library: Library, parsed: Parsed, config: Any, typed: TypedGraph, sizes: tuple[Size, Size, Size]
) -> None:
    profile = parsed.builder.create_optimization_profile()
    ranges = zip(*(typed.carriers_at(size) for size in sizes), strict=True)
    for tensor, (low, usual, high) in zip(parsed.inputs, ranges, strict=True):
        profile.set_shape(tensor.name, low, usual, high)
    if config.add_optimization_profile(profile) < 0:
        raise library.error(f"refuses the sizes {sizes}")


def _timing_cache(library: Library, config: Any, before: bytes | None) -> Any | None:
    """Return the timing cache of a build; one of another GPU or version is not used, and begun anew."""
    if not library.times:
        return None
    cache = config.create_timing_cache(before or b"")
    if cache is None or not config.set_timing_cache(cache, False):
        library.log.take()
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # known once it is imported
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped = False
            self.raised: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self._steps[name] = steps
            self._tell(name, 0)

        def step_complete(self, name: str, step: int) -> bool:
            return self._tell(name, step + 1)

        def phase_finish(self, name: str) -> None:
            self._steps.pop(name, None)

        def _tell(self, name: str, step: int) -> bool:
            """Return whether to go on; nothing may be raised through TensorRT."""
            if self.stopped or self.raised is not None:
                return False
            try:
                self.stopped = not progress(name, step, self._steps.get(name, step))
            except BaseException as error:  # noqa: BLE001 - `build` raises it
                self.raised = error
            return not self.stopped and self.raised is None

    return Monitor()
