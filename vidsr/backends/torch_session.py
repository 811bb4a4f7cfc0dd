"""Sessions of the backend `torch`: one worker on the CPU, CUDA graphs on several streams of a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidsr.backends.places import PlacesSession
from vidsr.backends.torch_graph import TorchGraph
from vidsr.errors import DeviceMemoryError, EngineBuildError

if TYPE_CHECKING:
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed

__all__ = ["first_line", "open_on_cpu", "open_on_gpu"]

_WARM_UPS = 2  # cuDNN chooses and loads its kernels; the second run finds all memory there
_capturing = threading.Lock()
_counting = threading.Lock()
_sessions = 0
_threads_before = 0


def _buffers(shapes: tuple[tuple[int, int], ...], depth: int, **options: Any) -> list[Tensor]:
    kind = torch.uint8 if depth == 8 else torch.int16  # with the bits of uint16
    return [torch.zeros((1, 1, *shape), dtype=kind, **options) for shape in shapes]


def _views(planes: list[Tensor], kind: np.dtype[Any]) -> list[NDArray[Any]]:
    """Return planes in the host's memory as arrays."""
    return [plane.numpy().view(kind)[0, 0] for plane in planes]


# ---- CPU -------------------------------------------------------------------------------------------


class _OnCpu:
    def __init__(self, graph: TorchGraph, deployed: Deployed) -> None:
        pixels = deployed.format.pixel_format
        self._graph, self._kind = graph, pixels.dtype
        self._inputs = _buffers(deployed.input_shapes, pixels.bit_depth)
        self._views = _views(self._inputs, self._kind)

    def run(self, src: Planes, dst: Planes) -> None:
        for view, plane in zip(self._views, src, strict=True):
            np.copyto(view, plane)
        made = [plane.contiguous() for plane in self._graph(self._inputs)]
        for plane, view in zip(dst, _views(made, self._kind), strict=True):
            np.copyto(plane, view)


def open_on_cpu(graph: TorchGraph, deployed: Deployed, threads: int, in_flight: int) -> PlacesSession:
    """Return a session with one worker, which computes on `threads` threads.

    torch's number of threads is the process's, not a session's: it is what it was before once the last
    session is closed. Threads that have used torch before keep theirs all along.
    """
    _remember_threads()
    return PlacesSession(
        deployed,
        [_OnCpu(graph, deployed)],
        in_flight,
        library="torch",
        words=first_line,
        began=lambda: torch.set_num_threads(threads),
        ended=_restore_threads,
    )


def _remember_threads() -> None:
    global _sessions, _threads_before
    with _counting:
        if _sessions == 0:
            _threads_before = torch.get_num_threads()
        _sessions += 1


def _restore_threads() -> None:
    global _sessions
    with _counting:
        _sessions -= 1
        if _sessions == 0:
            torch.set_num_threads(_threads_before)


# ---- GPU -------------------------------------------------------------------------------------------


class _OnGpu:
    """A stream with a CUDA graph: pinned planes to the device, the network, and back to pinned planes."""

    def __init__(self, graph: TorchGraph, deployed: Deployed, device: str) -> None:
        pixels = deployed.format.pixel_format
        depth = pixels.bit_depth
        self._graph = graph
        self._taken = _buffers(deployed.input_shapes, depth, pin_memory=True)
        self._given = _buffers(deployed.output_shapes, depth, pin_memory=True)
        self._inputs = _buffers(deployed.input_shapes, depth, device=device)
        self._in_views, self._out_views = (_views(p, pixels.dtype) for p in (self._taken, self._given))
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # asleep, not spinning
        torch.cuda.synchronize(device)  # the zeros above are written on another stream
        with torch.cuda.stream(self._stream), _exact():
            for _ in range(_WARM_UPS):
                self._work()
            self._stream.synchronize()
            self._replay = torch.cuda.CUDAGraph()
            # Other sessions' threads may allocate meanwhile: only this thread's calls are watched.
            with torch.cuda.graph(self._replay, stream=self._stream, capture_error_mode="thread_local"):
                self._work()

    def _work(self) -> None:
        for plane, staged in zip(self._inputs, self._taken, strict=True):
            plane.copy_(staged, non_blocking=True)
        for staged, plane in zip(self._given, self._graph(self._inputs), strict=True):
            staged.copy_(plane.contiguous(), non_blocking=True)

    def run(self, src: Planes, dst: Planes) -> None:
        for view, plane in zip(self._in_views, src, strict=True):
            np.copyto(view, plane)
        with torch.cuda.stream(self._stream):
            self._replay.replay()
            self._done.record(self._stream)
        self._done.synchronize()
        for plane, view in zip(dst, self._out_views, strict=True):
            np.copyto(plane, view)


@contextmanager
def _exact() -> Iterator[None]:
    """No TF32, no algorithm that depends on a measurement or on the order of threads.

    The flags are the process's; a CUDA graph keeps what was chosen under them, so they are set for as long as
    one is captured.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def open_on_gpu(graph: TorchGraph, deployed: Deployed, device: str, in_flight: int) -> PlacesSession:
    """Return a session with a stream for each frame in flight; fewer where memory ends.

    Raises:
        DeviceMemoryError: Not even one fits.
        EngineBuildError: CUDA refuses.
    """
    places: list[_OnGpu] = []
    notes: list[str] = []
    with _capturing, torch.cuda.device(device):
        for _ in range(in_flight):
            try:
                places.append(_OnGpu(graph, deployed, device))
            except torch.cuda.OutOfMemoryError as error:
                if places:
                    notes.append(
                        f"{len(places)} instead of {in_flight} frames at once on {device}: its memory is full"
                    )
                    break
                raise DeviceMemoryError(
                    f"{device} has not enough free memory for frames of {deployed.width}x{deployed.height}",
                    stage="inference",
                    hint="use tiles, such as --tile 512",
                ) from error
            except RuntimeError as error:
                raise EngineBuildError(
                    f"torch cannot run this model on {device} ({first_line(error)})",
                    stage="inference",
                    hint="use another backend",
                ) from error
    return PlacesSession(
        deployed,
        places,
        len(places),
        library="torch",
        words=first_line,
        ended=lambda: _let_go(device),
        notes=notes,
    )


def _let_go(device: str) -> None:
    """Give the memory of closed CUDA graphs back to the driver, for others on the GPU."""
    with torch.cuda.device(device):
        torch.cuda.empty_cache()


def first_line(error: BaseException) -> str:
    """Return what an error of torch says first; more lines are advice for programmers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
