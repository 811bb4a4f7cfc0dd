"""The training loop: resumable at any step, with the same result as an uninterrupted run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidsr import records
from vidsr.errors import TrainingError
from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.metrics import luma_bt601, psnr, shave
from vidsr.locks import lock_folder
from vidsr.networks.ecbsr import ECBSR
from vidsr.prefetch import Prefetch
from vidsr.training.data import Batch, prepare
from vidsr.training.history import History
from vidsr.training.interrupt import held_back
from vidsr.training.recipe import OptimizerOptions, Recipe
from vidsr.video.still import find_pictures, read_picture

__all__ = ["CHECKPOINT", "Progress", "build_network", "learning_rate", "load_averaged", "train"]

CHECKPOINT = "checkpoint.pt"
_LOG_EVERY = 100
_AHEAD = 8  # batches prepared in the background


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, handed to the caller now and then."""

    step: int
    steps: int
    loss: float
    """Mean absolute error since the last report, in code values of 8 bits."""
    psnr: float | None
    """PSNR-Y in dB on the validation folder, when it was just measured."""
    steps_per_s: float


def learning_rate(options: OptimizerOptions, step: int) -> float:
    """Return the rate of step 0..steps-1: linear warm-up, then half a cosine down to `final_rate`."""
    if step < options.warmup:
        return options.rate * (step + 1) / options.warmup
    span = max(1, options.steps - options.warmup)
    turn = (1 + math.cos(math.pi * (step - options.warmup) / span)) / 2
    return options.final_rate + (options.rate - options.final_rate) * turn


def build_network(recipe: Recipe) -> ECBSR:
    """Return the recipe's network with fresh weights, drawn from its seed."""
    torch.manual_seed(recipe.run.seed)
    model = recipe.model
    return ECBSR(scale=model.scale, channels=model.channels, blocks=model.blocks, features=model.features)


def load_averaged(folder: Path) -> tuple[Recipe, ECBSR, int]:
    """Return a run's recipe, its network with the averaged weights, and the steps it has done.

    Raises:
        TrainingError: There is no checkpoint in `folder`, or it is damaged.
    """
    saved = _load(folder / CHECKPOINT)
    recipe = records.from_mapping(Recipe, saved["recipe"])
    network = build_network(recipe)
    network.load_state_dict(saved["averaged"])
    return recipe, network.eval(), saved["step"]


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
        TrainingError: The checkpoint is of another recipe, or the loss is not finite any more; the
            checkpoint then is the last good one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_folder(folder)
    except BlockingIOError as error:
        raise TrainingError(
            "another process is training in this folder", path=folder, hint="wait for it, or give --run"
        ) from error
    with lock:
        return _train_alone(recipe, root, folder, cache=cache, steps=steps, report=report, say=say)


def _train_alone(
    recipe: Recipe,
    root: Path,
    folder: Path,
    *,
    cache: Path,
    steps: int | None,
    report: Callable[[Progress], None],
    say: Callable[[str], None],
) -> Path:
    stop = min(steps or recipe.optimizer.steps, recipe.optimizer.steps)
    run = _Run(recipe, folder)
    store = prepare(recipe, root, cache, report=say)
    validation = None if recipe.data.validation is None else root / recipe.data.validation
    source = store.batches(recipe.data, seed=recipe.run.seed, start=run.step, stop=stop)
    with held_back() as check, Prefetch(source, _AHEAD, name="data") as batches:
        try:
            _loop(run, batches, stop, validation, report, check)
        except KeyboardInterrupt:
            run.save()
            raise
        run.save()
    return folder / CHECKPOINT


def _loop(
    run: _Run,
    batches: Prefetch[Batch],
    stop: int,
    validation: Path | None,
    report: Callable[[Progress], None],
    check: Callable[[], None],
) -> None:
    options = run.recipe.run
    losses, since, first = torch.zeros(()), perf_counter(), run.step
    for batch in batches:
        losses += run.learn(batch)
        done = run.step == stop
        measured = None
        if validation is not None and (done or run.step % options.validate_every == 0):
            measured = validate(run.averaged(), validation)
        save = run.step % options.checkpoint_every == 0
        if done or save or measured is not None or run.step % _LOG_EVERY == 0:
            count = run.step - first
            loss = 255 * losses.item() / count
            if not math.isfinite(loss):
                raise run.diverged("loss")
            rate = learning_rate(run.recipe.optimizer, run.step - 1)
            speed = count / (perf_counter() - since)
            run.history.add(step=run.step, loss=loss, rate=rate, psnr=measured)
            report(Progress(run.step, run.recipe.optimizer.steps, loss, measured, speed))
            losses, since, first = torch.zeros(()), perf_counter(), run.step
            if save and not done:
                run.save()
        check()


def validate(network: torch.nn.Module, folder: Path) -> float:
    """Return the mean PSNR-Y in dB over the pictures of `folder`, by the evaluation protocol.

    The network sees float luma or RGB in 0..1 and its output is clamped, and for RGB rounded.
    """
    scale, channels = int(network.scale), int(network.channels)  # type: ignore[arg-type]
    values = []
    for path in find_pictures([folder]):
        high = crop_to_multiple(read_picture(path), scale)
        low = downscale(high, scale)
        wanted = shave(luma_bt601(high), scale)
        x = luma_bt601(low)[None] if channels == 1 else low.transpose(2, 0, 1)
        with torch.no_grad():
            out = network(torch.from_numpy(np.ascontiguousarray(x)).float()[None] / 255)[0]
        y = (out.clamp(0, 1) * 255).double().numpy()
        if channels == 3:
            y = luma_bt601(np.rint(y).astype(np.uint8).transpose(1, 2, 0))[None]
        values.append(psnr(shave(y[0], scale), wanted))
    return float(np.mean(values))


class _Run:
    """The state of a run between two steps."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder, self.step = recipe, folder, 0
        network = build_network(recipe)
        if recipe.model.start:
            _, earlier, _ = load_averaged(folder.parent / recipe.model.start)
            network.load_state_dict(earlier.state_dict())
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = list(self.network.parameters())
        self._averages = [p.detach().clone() for p in self._parameters]
        self._optimizer = torch.optim.Adam(self._parameters, lr=recipe.optimizer.rate, fused=True)
        if (folder / CHECKPOINT).exists():
            self._restore(_load(folder / CHECKPOINT))
        self.history = History(folder, keep_until=self.step)
        self._loss = torch.compile(self._compute_loss) if recipe.run.compile else self._compute_loss

    def learn(self, batch: Batch) -> Tensor:
        """Do one step; return its loss, detached."""
        options = self.recipe.optimizer
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(options, batch.step)
        self._optimizer.zero_grad(set_to_none=True)
        loss: Tensor = self._loss(torch.from_numpy(batch.low), torch.from_numpy(batch.high))
        loss.backward()  # type: ignore[no-untyped-call]
        if options.clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, options.clip)
        self._optimizer.step()
        # Early on the average would be mostly the random start: let it follow faster.
        decay = min(options.ema, (1 + batch.step) / (10 + batch.step))
        torch._foreach_lerp_(self._averages, [p.detach() for p in self._parameters], 1 - decay)
        self.step = batch.step + 1
        return loss.detach()

    def averaged(self) -> ECBSR:
        """Return a copy of the network with the averaged weights."""
        network = build_network(self.recipe)
        with torch.no_grad():
            for parameter, average in zip(network.parameters(), self._averages, strict=True):
                parameter.copy_(average)
        return network.eval()

    def diverged(self, what: str) -> TrainingError:
        """Return the error for a run that has left the finite numbers."""
        kept = (self.folder / CHECKPOINT).exists()
        return TrainingError(
            f"the {what} is not finite any more at step {self.step}",
            path=self.folder,
            hint=("its checkpoint is the last good one; " if kept else "") + "lower optimizer.rate",
        )

    def save(self) -> None:
        """Write the checkpoint under a temporary name and rename it.

        Raises:
            TrainingError: A weight is not finite; what was saved before stays.
        """
        # The loss of a step is that of the weights before it, so it cannot vouch for these.
        if not all(bool(p.isfinite().all()) for p in [*self._parameters, *self._averages]):
            raise self.diverged("network")
        state = {
            "recipe": records.to_mapping(self.recipe),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged().state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        partial = self.folder / (CHECKPOINT + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.folder / CHECKPOINT)
        self.history.draw()

    def _compute_loss(self, low: Tensor, high: Tensor) -> Tensor:
        half = self.recipe.run.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = self.network(low)
        loss: Tensor = (out.float() - high).abs().mean()
        return loss

    def _restore(self, saved: dict[str, Any]) -> None:
        if records.from_mapping(Recipe, saved["recipe"]).digest != self.recipe.digest:
            raise TrainingError(
                "this run was started with another recipe",
                path=self.folder,
                hint="give another --run folder, or the recipe it was started with",
            )
        self.step = saved["step"]
        self.network.load_state_dict(saved["network"])
        self._optimizer.load_state_dict(saved["optimizer"])
        names = [name for name, _ in self.network.named_parameters()]
        self._averages = [saved["averaged"][name].clone() for name in names]


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises whatever the unpickler met
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"cannot read this checkpoint ({first})", path=path) from error
    return loaded
