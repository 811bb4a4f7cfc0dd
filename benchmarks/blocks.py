"""ECBSR trained with each re-parameterised block under one budget: as many steps, then as much time.

Usage: python benchmarks/blocks.py --data FOLDER [--steps 1500] [--blocks ecb,dbb,...] [--compile]

First every block is trained for --steps steps. Then every block gets the time that the first one took for
them, with a schedule that ends there. All begin as the upsampled input (`ModelOptions.quiet`), with the
recipe's pictures, batches of 16 patches of 48 pixels and Adam. Time is CPU time of the thread that trains,
without start-up and validation: on a busy machine wall-clock time would tell more about the neighbours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from vidsr.networks.ecbsr import BLOCKS
from vidsr.training.loop import Progress, train
from vidsr.training.recipe import Recipe

RECIPE = Path(__file__).parents[1] / "vidsr/training/recipes/2x-ecbsr-m4c16.toml"
LEAST = 300
"""Steps that can be timed: the loop reports every hundred, and the first and last hundred do not count."""


def planned(recipe: Recipe, block: str, steps: int, compiled: bool) -> Recipe:
    """Return the recipe of one run of `steps` steps, from the beginning."""
    return replace(
        recipe,
        model=replace(recipe.model, block=block, quiet=True, start=""),
        data=replace(recipe.data, batch=16, patch=48),
        optimizer=replace(recipe.optimizer, kind="adam", rate=1e-3, steps=steps, warmup=min(100, steps // 4)),
        run=replace(recipe.run, compile=compiled, validate_every=steps, checkpoint_every=10 * steps),
    )


def one_run(recipe: Recipe, data: Path, cache: Path) -> tuple[list[tuple[int, float]], float]:
    """Train; return the CPU seconds at some steps, and PSNR-Y on the validation pictures in dB."""
    marks: list[tuple[int, float]] = []
    psnr = float("nan")

    def note(progress: Progress) -> None:
        nonlocal psnr
        marks.append((progress.step, time.thread_time()))
        if progress.psnr is not None:
            psnr = progress.psnr

    with tempfile.TemporaryDirectory() as folder:
        train(recipe, data, Path(folder) / "run", cache=cache, report=note)
    return marks, psnr


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that the recipe's are in")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--steps", type=int, default=1500, help=f"{LEAST} or more")
    parser.add_argument("--blocks", default=",".join(BLOCKS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.steps < LEAST:
        parser.error(f"--steps must be {LEAST} or more")
    torch.set_num_threads(arguments.threads)
    recipe = Recipe.load(arguments.recipe)

    paces = {}
    print("| block | ms a step | steps | PSNR-Y, dB | steps in the first's time | PSNR-Y, dB |")
    print("|---|---|---|---|---|---|")
    for block in arguments.blocks.split(","):
        plan = planned(recipe, block, arguments.steps, arguments.compile)
        marks, psnr = one_run(plan, arguments.data, arguments.cache)
        # The first report comes after compiling, the last one after validating.
        (first, begin), (last, end) = marks[0], marks[-2]
        paces[block] = (end - begin) / (last - first)
        steps = round(arguments.steps * next(iter(paces.values())) / paces[block])
        in_time = psnr
        if len(paces) > 1:
            plan = planned(recipe, block, steps, arguments.compile)
            _, in_time = one_run(plan, arguments.data, arguments.cache)
        cells = [block, f"{1000 * paces[block]:.0f}", str(arguments.steps), f"{psnr:.2f}"]
        print("| " + " | ".join([*cells, str(steps), f"{in_time:.2f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
