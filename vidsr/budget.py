"""How the cores are shared: threads of the network and of the encoder, and frames in flight.

The encoder's threads decide its bytes. So they are fixed before the first frame, are part of the plan, and a
job that goes on takes those that it began with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsr.caches import cache_file
from vidsr.concurrency import choose_concurrency, network_facts
from vidsr.contest import rate_together
from vidsr.cores import usable_cores
from vidsr.errors import VidsrError
from vidsr.job import MAX_THREADS, Job
from vidsr.planning import Plan, with_encoder_threads
from vidsr.remembered import best_of, cached, compared, key_of, remember
from vidsr.runtime import on_gpu
from vidsr.stages import LARGE_BYTES
from vidsr.video.parts import folder_of

__all__ = ["BUDGETS", "SHORT_FRAMES", "Budget", "budgeted", "choose_budget", "with_budget"]

SHORT_FRAMES = 2000
"""Below so many frames nothing is measured: it takes three to five seconds, for at most 8 % of a job."""
BUDGETS = "budgets.json"
"""The file of `vidsr.remembered`."""

_THREADED = frozenset({"libx264", "libx264rgb", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"})


@dataclass(frozen=True, slots=True)
class Budget:
    """How a job's stages share the cores."""

    threads: int
    """Of the network."""
    encoder_threads: int
    """0: nothing is encoded."""
    in_flight: int
    """Frames that the network works on at once; 0: the backend's choice."""
    reason: str
    """The numbers and where they come from, in words."""
    streams: int = 0
    """See `vidsr.backends.base.SessionOptions`."""


def choose_budget(
    job: Job,
    plan: Plan,
    *,
    tries: bool = True,
    cache: Path | None = None,
    measure: Callable[[Job, Plan], float | None] = rate_together,
    measure_alone: Callable[[Job, Plan], float | None] | None = None,
) -> Budget:
    """Return how the cores are shared; some seconds of measuring where this is not known yet.

    What the job asks for is taken. What an interrupted run began with goes before what is remembered, and
    that before measuring.

    Args:
        job: What to do.
        plan: Its plan.
        tries: Whether to measure what is not known.
        cache: Where what was measured is kept; None: in the user's folder for such things.
        measure: Returns how many frames a second a plan makes, None: that cannot be told in a moment.
        measure_alone: The same of the network alone; None: `vidsr.concurrency.rate_alone`.
    """
    cache = cache or cache_file(BUDGETS)
    begun = _begun(job, plan)
    tries = tries and begun is None and not isinstance(job.source, str)
    at_once = choose_concurrency(job, plan, cache=cache, measure=measure_alone, tries=tries)
    plan = replace(plan, session=replace(plan.session, streams=at_once.streams, in_flight=at_once.in_flight))
    threads, encoder, why = _shared(job, plan, begun, tries, cache, measure)
    streams = min(at_once.streams, threads)
    reason = "; ".join(filter(None, [why, at_once.reason]))
    return Budget(threads, encoder, at_once.in_flight, reason, streams)


def budgeted(job: Job, plan: Plan, *, tries: bool = True) -> tuple[Plan, Budget]:
    """Return a plan with the budget that is chosen for it, and that; see `choose_budget`."""
    budget = choose_budget(job, plan, tries=tries)
    return with_budget(job, plan, budget), budget


def with_budget(job: Job, plan: Plan, budget: Budget) -> Plan:
    """Return a plan with a budget."""
    session = replace(
        plan.session, threads=budget.threads, in_flight=budget.in_flight, streams=budget.streams
    )
    if budget.encoder_threads:
        plan = with_encoder_threads(job, plan, budget.encoder_threads)
    return replace(plan, session=session)


def _shared(
    job: Job,
    plan: Plan,
    begun: int | None,
    tries: bool,
    cache: Path | None,
    measure: Callable[[Job, Plan], float | None],
) -> tuple[int, int, str]:
    """Return the network's threads, the encoder's, and both with their reason."""
    cores = usable_cores()
    threads = job.threads or cores
    if plan.settings is None or plan.carry is None:
        encoder, fixed = 0, "nothing is encoded" if plan.settings is None else "pictures take no threads"
        return threads, encoder, f"{threads} for the network; {fixed}"
    codec = plan.settings.codec
    encoder = job.encoder_threads or begun or cores
    if on_gpu(plan.runtime):
        return threads, encoder, f"a GPU for the network; {encoder} for {codec}"

    def said(network: int, coder: int, why: str) -> tuple[int, int, str]:
        return network, coder, f"{network} for the network, {coder} for {codec}: {why}"

    if job.threads and job.encoder_threads:
        return said(threads, encoder, "as was asked for")
    if codec not in _THREADED or _asks(job):
        return threads, encoder, f"{threads} for the network; {codec} is left to itself"
    if cores == 1:
        return said(threads, encoder, "there is one core")
    pairs = _candidates(job, cores)
    if len(pairs) == 1:
        return said(threads, encoder, "with these there is nothing to choose")
    names = [f"{network},{coder}" for network, coder in pairs]
    key = key_of({"what": "threads", "streams": plan.session.streams, "pairs": names, **_facts(job, plan)})
    found, when = cached(cache, key, names), "remembered"
    if begun is not None and not job.encoder_threads:
        best = (threads, begun) if found is None else pairs[names.index(best_of(found))]
        return said(best[0] if best[1] == begun else threads, begun, "as an earlier run began")
    if found is None:
        if isinstance(job.source, str):
            return said(threads, encoder, "one for each core; with an address nothing is tried")
        if plan.expected_frames is not None and plan.expected_frames < SHORT_FRAMES:
            return said(threads, encoder, "one for each core; few frames, nothing was tried")
        if plan.info.pixel_format.frame_bytes(*plan.target.size) > LARGE_BYTES:
            return said(threads, encoder, "one for each core; frames are too large to try")
        if not tries:
            return said(threads, encoder, "one for each core, unless the job itself finds better")
        try:
            found = _measured(job, plan, pairs, measure)
        except VidsrError as error:
            return said(threads, encoder, f"one for each core; trying failed ({error.message})")
        if found is None:
            return said(threads, encoder, "one for each core; too slow or too short to try")
        when = "measured now"
        if cache is not None:
            remember(cache, key, found)
    chosen = names.index(best_of(found))
    what = f"fastest of {len(found)} tried" if chosen else f"{len(found)} tried, no other is clearly faster"
    return said(*pairs[chosen], f"{what} ({when})")


def _candidates(job: Job, cores: int) -> list[tuple[int, int]]:
    """Return pairs of threads, network and encoder; the rule, which needs no measuring, first."""
    tried = [(cores, cores), (1, cores), (cores - 1, cores), (cores, 1)]
    given = [(job.threads or network, job.encoder_threads or encoder) for network, encoder in tried]
    return list(dict.fromkeys(given))


def _measured(
    job: Job,
    plan: Plan,
    pairs: list[tuple[int, int]],
    measure: Callable[[Job, Plan], float | None],
) -> dict[str, float] | None:
    """Return what each pair makes; None: it cannot be told."""

    def rate(pair: tuple[int, int]) -> float | None:
        session = replace(plan.session, threads=pair[0], streams=min(plan.session.streams, pair[0]))
        return measure(job, replace(with_encoder_threads(job, plan, pair[1]), session=session))

    return compared({f"{network},{coder}": (network, coder) for network, coder in pairs}, rate)


def _asks(job: Job) -> bool:
    """Tell whether options of the encoder itself speak of threads."""
    words = ("threads", "pools", "lp=")
    return any(
        name == "threads" or (name.endswith("-params") and any(word in value for word in words))
        for name, value in job.encoder_options.items()
    )


def _begun(job: Job, plan: Plan) -> int | None:
    """Return the encoder threads of an interrupted run that left work beside the output; None: there is none.

    Whether all else is the same is told when its work is taken up.
    """
    if plan.output is None or plan.carry is None or job.discard:
        return None
    try:
        earlier = json.loads((folder_of(plan.output) / "plan.json").read_text(encoding="utf-8"))
        threads = int(earlier["encoder"]["threads"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return threads if 1 <= threads <= MAX_THREADS else None


def _facts(job: Job, plan: Plan) -> dict[str, Any]:
    settings = plan.settings
    if settings is None:
        return network_facts(job, plan)
    fixed = with_encoder_threads(job, plan, 1).settings
    return {
        **network_facts(job, plan),
        "codec": (settings.codec, settings.pixel_format, {} if fixed is None else fixed.options),
        # A GPU leaves the cores to the others.
        "decoded": (plan.info.codec, str(plan.deinterlace), *filter(None, [plan.decoding.gpu])),
    }
