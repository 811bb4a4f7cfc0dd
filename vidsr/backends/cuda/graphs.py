"""Graphs of work by cuda-bindings, where it is installed: captured from a stream, launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from vidsr.backends.cuda.layer import CudaError, OutOfMemory, Stream

__all__ = ["CudaGraph", "capture"]

_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class CudaGraph:
    """What was captured, made ready to be launched; see `vidsr.backends.cuda.layer.Graph`."""

    def __init__(self, graph: Any) -> None:
        """Instantiate a captured graph, which may be destroyed then."""
        self._executable = _checked("cuGraphInstantiate", graph, 0)

    def launch(self, stream: Stream) -> None:
        """Queue it."""
        _checked("cuGraphLaunch", self._executable, _bindings().CUstream(stream.handle))

    def close(self) -> None:
        """Free it."""
        _checked("cuGraphExecDestroy", self._executable)


def capture(stream: int, work: Callable[[], None]) -> CudaGraph | None:
    """Return what `work` queues on a stream; None, without calling it: cuda-bindings is not installed.

    Args:
        stream: Its handle; of the current context.
        work: Queues something, and neither waits nor allocates.

    Raises:
        CudaError: Something in `work` cannot be captured.
        OutOfMemory: There is no memory for the graph.
    """
    driver = _bindings()
    if driver is None:
        return None
    handle = driver.CUstream(stream)
    # Of this thread only: other threads may allocate meanwhile.
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    _checked("cuStreamBeginCapture", handle, mode)
    try:
        work()
    except BaseException:
        result, graph = driver.cuStreamEndCapture(handle)  # its own complaint would hide the cause
        if not int(result):
            driver.cuGraphDestroy(graph)
        raise
    graph = _checked("cuStreamEndCapture", handle)
    try:
        return CudaGraph(graph)
    finally:
        _checked("cuGraphDestroy", graph)


@cache
def _bindings() -> Any:
    """Return CUDA's driver functions by cuda-bindings; None: it is not installed."""
    try:
        from cuda.bindings import driver
    except ImportError:
        return None
    return driver


def _checked(name: str, *arguments: Any) -> Any:
    """Call a function of cuda-bindings, which return a result and then what they give."""
    result, *given = getattr(_bindings(), name)(*arguments)
    if int(result) == _OUT_OF_MEMORY:
        raise OutOfMemory(f"{name}: out of memory")
    if int(result):
        raise CudaError(f"{name}: {getattr(result, 'name', result)}")
    return given[0] if given else None
