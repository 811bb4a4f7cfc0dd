"""How fast VapourSynth's frames come, as a share of what the command line makes without an encoder.

    python tests/hosts/make_vapoursynth.py FOLDER              # once: an environment with VapourSynth
    PYTHONPATH=. FOLDER/bin/python benchmarks/vapoursynth_host.py CLIP [--model ecbsr] [--backends kernel ...]

Both run in this process. A round runs each way once, every other round backwards, and each way's figure is
its median; "of vidsr" is the median over rounds of the ratio to the job's. The clock starts at the ninth
frame and leaves start-up out. VapourSynth reads with bestsource, a job with PyAV; --blank leaves decoding out
of VapourSynth's part, which shows what it costs. "one filter" is a single std.ModifyFrame, "lanes" is what
`vidsr.hosts.vapoursynth` does; the number is the core's threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.pop(0)  # not this folder: its files are named as they like
import vidsr
from vidsr.hosts import vapoursynth as host
from vidsr.job import NULL_OUTPUT

SKIPPED = 8


def job_rate(clip: Path, frames: int, **named: Any) -> float:
    """Return the frames a second of a job that encodes nothing."""
    marks: list[float] = []
    job = vidsr.Job(source=clip, output=NULL_OUTPUT, frames=frames, reuse="off", **named)
    report = vidsr.run(job, progress=lambda _: marks.append(time.perf_counter()))
    return (report.frames - SKIPPED) / (marks[-1] - marks[SKIPPED])


def script_rate(
    clip: Path, frames: int, *, threads: int, lanes: bool, blank: bool = False, **named: Any
) -> float:
    """Return the frames a second of a script."""
    import vapoursynth as vs

    core = vs.core
    core.num_threads = threads
    source = core.bs.VideoSource(str(clip), cachemode=0)
    source = core.std.BlankClip(source, keep=True) if blank else source
    dealt = host._dealt
    if not lanes:
        host._dealt = lambda clip, large, selector, _, core: dealt(clip, large, selector, 1, core)
    try:
        large = host.upscale(source, **named)[:frames]
    finally:
        host._dealt = dealt
    marks = [time.perf_counter() for _ in large.frames(close=True)]
    return (len(marks) - SKIPPED) / (marks[-1] - marks[SKIPPED - 1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="ecbsr")
    parser.add_argument("--backends", nargs="+", default=["kernel", "openvino"])
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blank", action="store_true")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print("| backend | way | fps | of vidsr |\n|---|---|--:|--:|")
    for backend in given.backends:
        named = {"model": given.model, "backend": backend}
        ways: dict[str, Callable[[], float]] = {
            "vidsr, null:": lambda named=named: job_rate(given.clip, given.frames, **named)
        }
        for threads in (cores, cores + 2):
            for lanes in (False, True):

                def run(threads: int = threads, lanes: bool = lanes, named: dict[str, Any] = named) -> float:
                    how = {"threads": threads, "lanes": lanes, "blank": given.blank}
                    return script_rate(given.clip, given.frames, **how, **named)

                ways[f"{'lanes' if lanes else 'one filter'}, {threads} threads"] = run
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(given.rounds):
            for way in list(ways)[:: -1 if number % 2 else 1]:
                rates[way].append(ways[way]())
        first = rates["vidsr, null:"]
        for way, fps in rates.items():
            ratio = statistics.median(a / b for a, b in zip(fps, first, strict=True))
            print(f"| {backend} | {way} | {statistics.median(fps):.1f} | {ratio:.1%} |", flush=True)


if __name__ == "__main__":
    main()
