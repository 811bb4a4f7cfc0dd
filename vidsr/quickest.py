"""Which of a GPU's two ways to run a network is faster: measured when both are ready, and remembered.

The fused kernel is ready within a second; TensorRT's engines take minutes to build. So `auto` takes the fused
kernel where it can, and compares as soon as somebody has built the engine (``vidsr engines build``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from vidsr.backends import get_backend
from vidsr.backends.ahead import ahead_backend
from vidsr.caches import cache_file
from vidsr.errors import BackendError, VidsrError
from vidsr.frame import Planes
from vidsr.identity import own_version
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat, deploy
from vidsr.remembered import best_of, cached, compared, key_of, remember
from vidsr.runtime import Runtime
from vidsr.upscaler import Upscaler, UpscalerOptions

if TYPE_CHECKING:
    from vidsr.backends.base import Ticket

__all__ = ["frames_a_second", "quickest"]

_FIRST, _RIVAL = "fused", "tensorrt"
_FILE = "backends.json"
_SECONDS = 0.35  # of a candidate
_SLOW_SECONDS = 0.25  # of a frame, from which on a candidate has too few frames to be compared
_Size = tuple[int, int]


def quickest(
    job: Job,
    running: Runtime,
    frame_format: FrameFormat,
    size: _Size,
    target: _Size,
    *,
    cache: Path | None = None,
    measure: Callable[[Upscaler], float | None] | None = None,
) -> Runtime:
    """Return what runs a job's network: `running`, or TensorRT where its engine is there and is faster.

    Args:
        job: What to do; only with ``backend = "auto"`` is there a choice.
        running: What would run it.
        frame_format: Of the frames.
        size: Their width and height.
        target: Of the results.
        cache: Where what was measured is kept; None: in the user's folder for such things.
        measure: Returns how many frames a second an open upscaler makes; None: `frames_a_second`.
    """
    if job.backend != "auto" or running.backend.name != _FIRST:
        return running
    rival = get_backend(_RIVAL)
    with suppress(BackendError):
        resolved = rival.resolve(running.session)
        deployed = deploy(running.model, frame_format, *size, target)
        if not ahead_backend(_RIVAL).kept(deployed, running.session):
            return running
        ways = {
            _FIRST: running,
            _RIVAL: replace(running, backend=rival, resolved=resolved),
        }
        facts = {
            "what": "backend",
            "vidsr": own_version(),
            "ways": {name: dict(way.resolved) for name, way in ways.items()},
            "graph": deployed.digest,
            "tile": job.tile,
        }
        file, key = cache or cache_file(_FILE), key_of(facts)
        found, when = cached(file, key, list(ways)), "remembered"
        if found is None:

            def rate(way: Runtime) -> float | None:
                options = UpscalerOptions(session=way.session, tile=job.tile)
                with Upscaler(
                    way.model, frame_format, *size, way.backend, options, target=target
                ) as upscaler:
                    return (measure or frames_a_second)(upscaler)

            try:
                found, when = compared(ways, rate), "measured now"
            except VidsrError as error:
                reason = f"{running.reason}; not compared with {_RIVAL} ({error.message})"
                return replace(running, reason=reason)
            if found is None:
                return running
            if file is not None:
                remember(file, key, found)
        told = ", ".join(f"{name} made {fps:.4g}" for name, fps in found.items())
        best = ways[best_of(found)]
        return replace(best, reason=f"{best.backend.name}: of frames a second {told} ({when})")
    return running


def frames_a_second(upscaler: Upscaler) -> float | None:
    """Return how many frames a second an upscaler makes, nothing else being done.

    None: so few that they cannot be compared in a moment.
    """
    pixels = upscaler.layout
    source = pixels.allocate(*upscaler.size)
    for plane in source:
        plane[:] = pixels.peak // 3
    results = [pixels.allocate(*upscaler.size_out) for _ in range(upscaler.in_flight)]
    began = perf_counter()
    upscaler.submit(source, results[0]).result()  # what is made at a first frame does not count
    if perf_counter() - began > 2 * _SLOW_SECONDS:
        return None
    pending: deque[tuple[Ticket, Planes]] = deque()
    made, began = 0, perf_counter()
    try:
        while perf_counter() - began < _SECONDS or made < 2:
            while results:
                result = results.pop()
                pending.append((upscaler.submit(source, result), result))
            ticket, result = pending.popleft()
            ticket.result()
            results.append(result)
            made += 1
        made += len(pending)
    finally:
        for ticket, _ in pending:
            ticket.result()
    seconds = perf_counter() - began
    return made / seconds if seconds < made * _SLOW_SECONDS else None
