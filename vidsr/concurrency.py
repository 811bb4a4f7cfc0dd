"""How many frames a network works on at once: what is fastest here, measured when it is first used.

It decides no bytes: OpenVINO's results do not depend on its streams (tests/contract/test_concurrency.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsr.caches import cache_file
from vidsr.cores import processor, usable_cores
from vidsr.errors import VidsrError
from vidsr.identity import own_version
from vidsr.job import Job
from vidsr.planning import Plan
from vidsr.quickest import frames_a_second
from vidsr.rehearsal import open_network
from vidsr.remembered import best_of, cached, compared, key_of, remember

__all__ = [
    "SHORT_FRAMES",
    "Concurrency",
    "choose_concurrency",
    "network_facts",
    "rate_alone",
]

SHORT_FRAMES = 200
"""Up to so many frames nothing is measured: it would take longer than it saves."""
_FILE = "budgets.json"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How a network's frames share the cores."""

    streams: int
    """0: the backend's choice."""
    in_flight: int
    """Frames at once; 0: the backend's choice."""
    reason: str
    """In words; "": there is nothing to choose."""


def choose_concurrency(
    job: Job,
    plan: Plan,
    *,
    cache: Path | None = None,
    measure: Callable[[Job, Plan], float | None] | None = None,
    tries: bool = True,
) -> Concurrency:
    """Return how many of OpenVINO's streams, and frames in flight, are the fastest for a network.

    Args:
        job: What to do.
        plan: Its plan.
        cache: Where what was measured is kept; None: in the user's folder for such things.
        measure: Returns how many frames a second a plan's network makes, None: they are too slow to tell;
            None: `rate_alone`.
        tries: Whether to measure what is not remembered.
    """
    threads = job.threads or usable_cores()
    if plan.backend.name != "openvino" or plan.runtime.get("device") != "CPU" or threads == 1:
        return Concurrency(0, 0, "")
    candidates = {
        f"{streams},{frames}": replace(plan.session, streams=streams, in_flight=frames)
        for streams, frames in ((1, 2), (1, 1), (2, 2))
    }
    key = key_of({"what": "streams", "threads": threads, **network_facts(job, plan)})
    file = cache or cache_file(_FILE)
    found = cached(file, key, list(candidates))
    when = "remembered"
    if found is None:
        if not tries:
            return Concurrency(0, 0, "")
        if plan.expected_frames is not None and plan.expected_frames <= SHORT_FRAMES:
            return Concurrency(0, 0, "one stream, two frames in flight: few frames, nothing was tried")
        when = "measured now"
        try:
            found = compared(
                candidates, lambda session: (measure or rate_alone)(job, replace(plan, session=session))
            )
        except VidsrError as error:
            return Concurrency(0, 0, f"one stream, two frames in flight: trying failed ({error.message})")
        if found is None:
            return Concurrency(0, 0, "one stream, two frames in flight: too slow to be tried")
        if file is not None:
            remember(file, key, found)
    streams, frames = map(int, best_of(found).split(","))
    split = "one stream" if streams == 1 else f"{streams} streams"
    count = "one frame" if frames == 1 else f"{frames} frames"
    told = ", ".join(f"{name} made {fps:.3g}" for name, fps in found.items())
    return Concurrency(streams, frames, f"{split}, {count} in flight: of frames a second {told} ({when})")


def network_facts(job: Job, plan: Plan) -> dict[str, Any]:
    """Return all that decides how fast a network is, but for its threads."""
    info = plan.info
    return {
        "vidsr": own_version(),
        "processor": processor(),
        "cores": usable_cores(),
        "model": plan.choice.model.sha256,
        "backend": dict(plan.runtime),
        "source": (info.width, info.height, str(info.pixel_format)),
        "work": (plan.target.size, job.tile, job.chroma),
    }


def rate_alone(job: Job, plan: Plan) -> float | None:
    """Return how many frames a second a plan's network makes, nothing else being done.

    None: so few that they cannot be compared in a moment.
    """
    with open_network(job, plan) as upscaler:
        return frames_a_second(upscaler)
