"""Whole jobs with different shares of the cores, one after another in rounds, and what vidsr takes of itself.

    python benchmarks/budget.py clip.mp4 --frames 150 --rounds 3 --preset veryfast

Prints medians over the rounds: frames a second of the whole job, and against the rule, which is a thread of
each for each core. Then what `choose_budget` measures, as often as there are rounds, with an empty cache.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

from vidsr.budget import choose_budget
from vidsr.cores import processor, usable_cores
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="ecbsr")
    parser.add_argument("--codec", default="auto")
    parser.add_argument("--preset")
    parser.add_argument("--only-choose", action="store_true", help="no whole jobs")
    given = parser.parse_args()
    cores = usable_cores()
    print(f"{processor()}, {cores} cores; {given.clip.name}, {given.frames} frames, {given.rounds} rounds")
    pairs = [(cores, cores), (1, cores), (cores, 1), (1, 1), (cores - 1, cores), (1, cores + 1)]
    pairs = [pair for pair in dict.fromkeys(pairs) if min(pair)]
    found: dict[tuple[int, int], list[float]] = {pair: [] for pair in pairs}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            source=given.clip,
            output=Path(folder) / "made.mp4",
            model=given.model,
            codec=given.codec,
            preset=given.preset,
            overwrite=True,
        )
        for _ in range(0 if given.only_choose else given.rounds):
            for network, encoder in pairs:
                one = replace(job, frames=given.frames, threads=network, encoder_threads=encoder)
                began = perf_counter()
                done = run(one)
                found[network, encoder].append(done.frames / (perf_counter() - began))
        if not given.only_choose:
            rule = found[cores, cores]
            print("network  encoder    fps  against the rule, each round")
            for (network, encoder), rates in found.items():
                shares = " ".join(f"{a / b:.3f}" for a, b in zip(rates, rule, strict=True))
                print(f"{network:7}  {encoder:7}  {median(rates):5.1f}  {shares}")
        plan = make_plan(job)
        for number in range(given.rounds):
            cache = Path(folder) / f"budgets{number}.json"
            began = perf_counter()
            budget = choose_budget(job, plan, cache=cache)
            seconds = perf_counter() - began
            print(f"takes {budget.reason}; {seconds:.1f} s")
            if cache.exists():
                print(" ".join(cache.read_text().split()[2:]))


main()
