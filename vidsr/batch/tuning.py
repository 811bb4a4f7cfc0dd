"""How many workers a batch has on this machine with ``--workers auto``: as many as are fastest, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vidsr.batch.memory import memory_of, room_here
from vidsr.batch.remembered import key_of, recall, remember, workers_file
from vidsr.batch.trials import SECONDS, rate_of
from vidsr.cores import processor, usable_cores
from vidsr.errors import VidsrError
from vidsr.identity import own_version
from vidsr.job import Job
from vidsr.planning import Plan, make_plan
from vidsr.sources import is_sequence, numbered
from vidsr.video.cuts import find_cuts

__all__ = ["Measure", "choose_workers", "fastest", "threads_of"]

Measure = Callable[[int], float]
"""Returns how many frames a second so many workers make."""

# What more workers must come to, of the best so far. Real batches gained up to 4 % more by a second worker
# than their trials said: it also looks at sources and joins while the other makes segments.
_GAIN = 0.97
_CLOSE = 0.07  # of a gain, to either side: trials of four seconds differ by as much
_LOOKED_AT = 5  # sources that are tried until one can be opened
_TINY_BYTES = 32 << 20
_TINY_JOBS = 20  # take about as long as another worker's start
_TINY_PIXELS = 256 << 20  # of all frames of all sources: about ten seconds of a small network on two cores


def choose_workers(
    jobs: Sequence[Job],
    *,
    limit: int | None = None,
    cache: Path | None = None,
    trying: Callable[[], None] = lambda: None,
) -> tuple[int, str]:
    """Return how many workers to run on this machine and why, in one sentence.

    Each has an equal share of the cores for its network, as `vidsr.batch.driver` gives them. 1, 2, 4, ...
    workers are tried for some seconds each until more are not faster; nothing is written but `cache`.

    Args:
        jobs: The batch.
        limit: At most so many.
        cache: Where what was measured is kept; None: in the user's folder for such things.
        trying: Called before a trial, which takes about ten seconds.
    """
    cores = usable_cores()
    most = cores if limit is None else max(1, min(cores, limit))
    if most == 1:
        return 1, f"1 worker: {'there is one core' if cores == 1 else 'no more are asked for'}"
    found = _representative(jobs)
    if isinstance(found, str):
        return 1, f"1 worker: {found}"
    job, plan = found
    need, room = memory_of(plan), room_here()
    fitting = most if room is None else max(1, min(most, room // need))
    if fitting == 1:
        return 1, f"1 worker: memory is for one of {need >> 20} MiB"
    if _tiny(jobs, job, plan):
        workers = max(1, min(fitting, len(jobs) // _TINY_JOBS))
        return workers, f"{_said(workers)}: the sources are too small for a trial"
    parts = _parts(jobs, job, plan, fitting)
    if parts == 1:
        return 1, "1 worker: the only source is made in one piece"
    candidates = _candidates(min(fitting, parts))

    def measure(workers: int) -> float:
        return rate_of(job, workers, threads_of(job, workers), seconds=SECONDS)

    key = key_of(_facts(job, plan, candidates))
    return _choose(candidates, measure, cache or workers_file(), key, trying)


def threads_of(job: Job, workers: int) -> int:
    """Return the CPU threads of each worker's network."""
    return job.threads or max(1, usable_cores() // workers)


def fastest(found: dict[int, float]) -> int:
    """Return the number of workers that is taken: the largest before one that is clearly slower."""
    best = next(iter(found))
    for workers, rate in found.items():
        if rate < _GAIN * max(found[n] for n in found if n <= workers):
            break
        best = workers
    return best


def _choose(
    candidates: Sequence[int], measure: Measure, cache: Path | None, key: str, trying: Callable[[], None]
) -> tuple[int, str]:
    known = None if cache is None else recall(cache, key, candidates)
    found = {} if known is None else known
    if known is None:
        trying()
        try:
            for workers in candidates:
                found[workers] = measure(workers)
                _settle(found, measure)
                if fastest(found) != workers:
                    break
        except VidsrError as error:
            return 1, f"1 worker: trying {_said(workers)} failed ({error.message})"
        if cache is not None:
            remember(cache, key, found)
    best = fastest(found)
    when = "measured now" if known is None else "measured by an earlier batch"
    told = ", ".join(f"{workers} made {fps:.3g}" for workers, fps in found.items())
    return best, f"{_said(best)}: of frames a second {told} ({when})"


def _settle(found: dict[int, float], measure: Measure) -> None:
    """Try the last two numbers once more where they are close: other work only makes them slower."""
    last = list(found)[-2:]
    if len(last) == 2 and abs(found[last[1]] / found[last[0]] - _GAIN) < _CLOSE:
        for workers in last:
            found[workers] = max(found[workers], measure(workers))


def _said(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _candidates(most: int) -> list[int]:
    """Return 1, 2, 4, ... and `most`."""
    powers = [1 << n for n in range(most.bit_length()) if 1 << n <= most]
    return powers if powers[-1] == most else [*powers, most]


def _representative(jobs: Sequence[Job]) -> tuple[Job, Plan] | str:
    """Return the first job whose source can be opened, or why there is none."""
    here = [job for job in jobs if isinstance(job.source, Path)]
    why = "there is no source on this machine to try"
    for job in here[:_LOOKED_AT]:
        try:
            return job, make_plan(job, check_output=False)
        except VidsrError as error:
            why = f"no source could be opened to try it ({error})"
    return why


def _tiny(jobs: Sequence[Job], job: Job, plan: Plan) -> bool:
    """Tell whether all sources together are done in about the time of a trial."""
    size = 0
    for other in jobs:
        if isinstance(other.source, str):
            return False
        size += _bytes(other.source)
        if size > _TINY_BYTES:
            return False
    own = _bytes(job.source)
    if plan.expected_frames is None or not own:
        return False
    frames = plan.expected_frames * size / own  # as if all were coded alike
    return frames * plan.info.width * plan.info.height <= _TINY_PIXELS


def _bytes(source: Path | str) -> int:
    try:
        files = list(numbered(Path(source))) if is_sequence(source) else [Path(source)]
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0  # its own job tells


def _parts(jobs: Sequence[Job], job: Job, plan: Plan, most: int) -> int:
    """Return how many workers could be busy at once, at most `most`: few sources may have few segments."""
    if len(jobs) >= most:
        return most
    pieces = 1
    if job.frames is None and plan.carry is not None:
        fields = plan.deinterlace.mode == "field"
        try:
            pieces = max(1, len(find_cuts(plan.info, job.segment_frames, each=2 if fields else 1)[0]))
        except VidsrError:
            pieces = 1  # its own job tells
    return min(most, len(jobs) * pieces)


def _facts(job: Job, plan: Plan, candidates: Sequence[int]) -> dict[str, Any]:
    """Return all that decides which number of workers is the fastest, and nothing that names a file."""
    info, settings = plan.info, plan.settings
    encoder: tuple[Any, ...] = ()
    if settings is not None:
        encoder = (settings.codec, settings.pixel_format, dict(settings.options), job.encoder_threads)
    return {
        "vidsr": own_version(),
        "processor": processor(),
        "cores": usable_cores(),
        "candidates": candidates,
        "model": plan.choice.model.sha256,
        "backend": (plan.backend.name, dict(plan.runtime), str(plan.session)),
        "source": (info.width, info.height, info.source_format, info.codec),
        "work": (plan.target.size, job.tile, job.chroma, str(plan.deinterlace)),
        "encoder": encoder,
    }
