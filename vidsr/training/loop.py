"""The training loop: resumable at any step, with the same result as an uninterrupted run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from vidsr.errors import TrainingError
from vidsr.locks import lock_folder
from vidsr.prefetch import Prefetch
from vidsr.training.data import Batch, prepare
from vidsr.training.distributed import joined_team
from vidsr.training.interrupt import held_back
from vidsr.training.optim import LOSSES, learning_rate
from vidsr.training.recipe import Recipe
from vidsr.training.resident import ResidentStore, TensorBatch
from vidsr.training.run import CHECKPOINT, Run, steps_done
from vidsr.training.validate import validate
from vidsr.video.still import find_pictures

__all__ = ["Progress", "train"]

_LOG_EVERY = 100
_AHEAD = 8  # batches prepared in the background


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, handed to the caller now and then."""

    step: int
    steps: int
    loss: float
    """Mean since the last report, in the unit of the recipe's loss (`vidsr.training.optim.LOSSES`)."""
    psnr: float | None
    """PSNR-Y in dB on the validation folder, when it was just measured."""
    steps_per_s: float


def train(
    recipe: Recipe,
    root: Path,
    folder: Path,
    *,
    cache: Path,
    steps: int | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train, or go on where the checkpoint in `folder` ends; return the checkpoint's path.

    A run that is finished is left as it is, and needs no pictures.

    Leaves ``checkpoint.pt``, ``history.csv`` and ``curve.png`` in `folder`. A KeyboardInterrupt
    saves the checkpoint first.

    Args:
        recipe: The whole run.
        root: The folder that the recipe's folders are in.
        folder: The run's own folder.
        cache: Where degraded pictures are kept between runs.
        steps: Stop after this step of the recipe's; the schedule does not change.
        report: Called every 100 steps and after each validation.
        say: Called with a line about the preparation.

    Raises:
        SourceError: Pictures are missing.
        TrainingError: The checkpoint is of another recipe, or the loss is not finite any more; the
            checkpoint then is the last good one.
    """
    if steps_done(folder, recipe) == recipe.optimizer.steps:
        return folder / CHECKPOINT
    stop = min(steps or recipe.optimizer.steps, recipe.optimizer.steps)
    with ExitStack() as stack:
        team = stack.enter_context(joined_team(recipe))
        if team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(lock_folder(folder))
            except BlockingIOError as error:
                raise TrainingError(
                    "another process is training in this folder",
                    path=folder,
                    hint="wait for it, or give --run",
                ) from error
        store = team.after_leader(lambda: prepare(recipe, root, cache, report=say))
        run = Run(recipe, folder, team)
        validation = None if recipe.data.validation is None else root / recipe.data.validation
        if validation is not None and team.leads:
            find_pictures([validation])  # if they are missing, better now than after an hour
        cutter = store if team.device.type == "cpu" else ResidentStore(store, team.device)
        source: Iterator[Batch | TensorBatch] = cutter.batches(
            recipe.data, seed=recipe.run.seed, start=run.step, stop=stop
        )
        with held_back() as check, Prefetch(source, _AHEAD, name="data") as batches:
            try:
                _loop(run, batches, stop, validation, report, check)
            except KeyboardInterrupt:
                run.save()
                raise
            run.save()
    return folder / CHECKPOINT


def _loop(
    run: Run,
    batches: Prefetch[Batch | TensorBatch],
    stop: int,
    validation: Path | None,
    report: Callable[[Progress], None],
    check: Callable[[], None],
) -> None:
    options, team = run.recipe.run, run.team
    losses, since, first = torch.zeros((), device=team.device), perf_counter(), run.step
    for batch in batches:
        losses += run.learn(batch)
        done = run.step == stop
        look = validation is not None and (done or run.step % options.validate_every == 0)
        save = run.step % options.checkpoint_every == 0
        if done or save or look or run.step % _LOG_EVERY == 0:
            count = run.step - first
            loss = LOSSES[run.recipe.optimizer.loss].shown * team.mean(losses).item() / count
            if not math.isfinite(loss):
                raise run.diverged("loss")
            if run.history is not None:
                measured = validate(run.averaged(), validation) if look and validation is not None else None
                rate = learning_rate(run.recipe.optimizer, run.step - 1)
                speed = count / (perf_counter() - since)
                run.history.add(step=run.step, loss=loss, rate=rate, psnr=measured)
                report(Progress(run.step, run.recipe.optimizer.steps, loss, measured, speed))
            losses, since, first = torch.zeros((), device=team.device), perf_counter(), run.step
            if save and not done:
                run.save()
        check()
