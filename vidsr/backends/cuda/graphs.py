"""Graphs of work by cuda-bindings, where it is installed: captured from a stream, launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from vidsr.backends.cuda.driver import bindings, call
from vidsr.backends.cuda.layer import Stream

__all__ = ["CudaGraph", "capture"]


class CudaGraph:
    """What was captured, made ready to be launched; see `vidsr.backends.cuda.layer.Graph`."""

    def __init__(self, graph: Any) -> None:
        """Instantiate a captured graph, which may be destroyed then."""
        self._executable = call("cuGraphInstantiate", graph, 0)

    def launch(self, stream: Stream) -> None:
        """Queue it."""
        call("cuGraphLaunch", self._executable, bindings().CUstream(stream.handle))

    def close(self) -> None:
        """Free it."""
        call("cuGraphExecDestroy", self._executable)


def capture(stream: int, work: Callable[[], None]) -> CudaGraph | None:
    """Return what `work` queues on a stream; None, without calling it: cuda-bindings is not installed.

    Args:
        stream: Its handle; of the current context.
        work: Queues something, and neither waits nor allocates.

    Raises:
        CudaError: Something in `work` cannot be captured.
        OutOfMemory: There is no memory for the graph.
    """
    if _missing():
        return None
    driver = bindings()
    handle = driver.CUstream(stream)
    # Of this thread only: other threads may allocate meanwhile.
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    call("cuStreamBeginCapture", handle, mode)
    try:
        work()
    except BaseException:
        result, graph = driver.cuStreamEndCapture(handle)  # its own complaint would hide the cause
        if not int(result):
            driver.cuGraphDestroy(graph)
        raise
    graph = call("cuStreamEndCapture", handle)
    try:
        return CudaGraph(graph)
    finally:
        call("cuGraphDestroy", graph)


@cache
def _missing() -> bool:
    """Tell whether cuda-bindings is not installed."""
    try:
        bindings()
    except ImportError:
        return True
    return False
