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
"""Steps: the loop reports every hundred, and neither the first nor the last hundred is timed."""


def planned(recipe: Recipe, block: str, steps: int, compiled: bool) -> Recipe:
    """Return the recipe of one run of `steps` steps."""
    recipe = recipe.with_block(block)
    return replace(
        recipe,
        model=replace(recipe.model, quiet=True),
        data=replace(recipe.data, batch=16, patch=48),
        optimizer=replace(recipe.optimizer, kind="adam", rate=1e-3, steps=steps, warmup=100),
        run=replace(recipe.run, compile=compiled, validate_every=steps, checkpoint_every=10 * steps),
    )


def one_run(recipe: Recipe, data: Path, cache: Path) -> tuple[float, float]:
    """Train, and return the CPU seconds of a step and PSNR-Y on the validation pictures in dB."""
    marks: list[tuple[int, float]] = []
    psnr = float("nan")

    def note(progress: Progress) -> None:
        nonlocal psnr
        marks.append((progress.step, time.thread_time()))
        if progress.psnr is not None:
            psnr = progress.psnr

    with tempfile.TemporaryDirectory() as folder:
        train(recipe, data, Path(folder) / "run", cache=cache, report=note)
    # The first report is after compiling, the last one after validating.
    (first, begin), (last, end) = marks[0], marks[-2]
    return (end - begin) / (last - first), psnr


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

    print("| block | steps | ms a step | seconds | PSNR-Y, dB |")
    print("|---|---|---|---|---|")

    def row(block: str, steps: int) -> float:
        plan = planned(recipe, block, steps, arguments.compile)
        pace, psnr = one_run(plan, arguments.data, arguments.cache)
        print(f"| {block} | {steps} | {1000 * pace:.0f} | {pace * steps:.0f} | {psnr:.2f} |", flush=True)
        return pace

    paces = {block: row(block, arguments.steps) for block in arguments.blocks.split(",")}
    budget = arguments.steps * next(iter(paces.values()))
    print(f"Then {budget:.0f} seconds each, but {LEAST} steps at least:", flush=True)
    for block, pace in list(paces.items())[1:]:
        row(block, max(LEAST, round(budget / pace)))


if __name__ == "__main__":
    main()
