"""The state of a training run between two steps: weights, averages, optimizer; saved and restored."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidsr import records
from vidsr.errors import TrainingError
from vidsr.networks.block import averaged_state
from vidsr.networks.ecbsr import BLOCKS
from vidsr.networks.registry import ARCHITECTURES
from vidsr.training.data import Batch
from vidsr.training.distributed import Team
from vidsr.training.history import History
from vidsr.training.optim import LOSSES, learning_rate, make_optimizer
from vidsr.training.recipe import Recipe
from vidsr.training.resident import TensorBatch

__all__ = ["CHECKPOINT", "Run", "build", "load_averaged", "steps_done"]

CHECKPOINT = "checkpoint.pt"


def build(recipe: Recipe) -> nn.Module:
    """Return the recipe's network with fresh weights, drawn from its seed."""
    torch.manual_seed(recipe.run.seed)
    model = recipe.model
    options: dict[str, Any] = {}
    if model.network == "ecbsr":
        quiet = model.quiet or BLOCKS[model.block].uses_batch_statistics
        options = {"block": model.block, "quiet": quiet}
    return ARCHITECTURES[model.network].build(
        scale=model.scale,
        channels=model.channels,
        blocks=model.blocks,
        features=model.features,
        **options,
    )


def load_averaged(folder: Path) -> tuple[Recipe, nn.Module, int]:
    """Return a run's recipe, its network with the averaged weights, and the steps it has done.

    Raises:
        TrainingError: There is no checkpoint in `folder`, or it is damaged.
    """
    saved = _load(folder / CHECKPOINT)
    recipe = records.from_mapping(Recipe, saved["recipe"])
    network = build(recipe)
    network.load_state_dict(saved["averaged"])
    return recipe, network.eval(), saved["step"]


def steps_done(folder: Path, recipe: Recipe) -> int:
    """Return how many steps of a recipe the run in `folder` has done, 0 where none was begun.

    Raises:
        TrainingError: It is a run of another recipe, or its checkpoint is damaged.
    """
    if not (folder / CHECKPOINT).exists():
        return 0
    saved = _load(folder / CHECKPOINT)
    _check_recipe(saved, recipe, folder)
    return int(saved["step"])


class _Objective(nn.Module):
    """From a batch to the loss, so that it can be compiled and spread over processes as one."""

    def __init__(self, network: nn.Module, recipe: Recipe, device: str) -> None:
        super().__init__()
        self.network = network
        self._loss = LOSSES[recipe.optimizer.loss].of
        self._half = recipe.run.precision == "bf16"
        self._share = 0.0 if recipe.teacher is None else recipe.teacher.weight
        self._device = device

    def forward(self, low: Tensor, high: Tensor, taught: Tensor) -> Tensor:
        """Return the loss; `taught` is the teacher's picture, or anything without a teacher."""
        with torch.autocast(self._device, torch.bfloat16, enabled=self._half):
            out = self.network(low)
        out = out.float()
        loss = self._loss(out - high)
        return loss if not self._share else (1 - self._share) * loss + self._share * self._loss(out - taught)


class Run:
    """A network that learns, resumable between any two steps."""

    def __init__(self, recipe: Recipe, folder: Path, team: Team) -> None:
        """Begin, or go on from the checkpoint in `folder`."""
        self.recipe, self.folder, self.team, self.step = recipe, folder, team, 0
        network = build(recipe)
        if recipe.model.start:
            _start_from(load_averaged(folder.parent / recipe.model.start)[1], network)
        self._teacher = self._load_teacher()
        self.network: nn.Module = network.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._parameters = list(self.network.parameters())
        self._followed = averaged_state(self.network)
        self._averages = [value.detach().clone() for value in self._followed.values()]
        self._optimizer = make_optimizer(recipe.optimizer, self._parameters)
        if (folder / CHECKPOINT).exists():
            self._restore(_load(folder / CHECKPOINT))
        unit = LOSSES[recipe.optimizer.loss].unit
        self.history = History(folder, unit, keep_until=self.step) if team.leads else None
        objective: Any = _Objective(self.network, recipe, team.device.type)
        if recipe.run.compile:
            objective = torch.compile(objective)
        self._objective = team.spread(objective)

    def learn(self, batch: Batch | TensorBatch) -> Tensor:
        """Do one step on this process's share of a batch; return its loss, detached."""
        options = self.recipe.optimizer
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(options, batch.step)
        low, high = self.team.share(batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss: Tensor = self._objective(low, high, self._taught(low))
        loss.backward()  # type: ignore[no-untyped-call]
        if options.clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, options.clip)
        self._optimizer.step()
        # Early on the average would be mostly the random start: let it follow faster.
        decay = min(options.ema, (1 + batch.step) / (10 + batch.step))
        now = [value.detach() for value in self._followed.values()]
        torch._foreach_lerp_(self._averages, now, 1 - decay)
        self.step = batch.step + 1
        return loss.detach()

    def averaged(self) -> nn.Module:
        """Return a copy of the network with the averaged weights, for inference."""
        network = copy.deepcopy(self.network)
        with torch.no_grad():
            for value, average in zip(averaged_state(network).values(), self._averages, strict=True):
                value.copy_(average)
        return network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload,no-any-return]

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
        if self.history is None:
            return
        state = {
            "recipe": records.to_mapping(self.recipe),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged().state_dict(),
        }
        if self.step < self.recipe.optimizer.steps:  # a finished run needs none, and SOAP's is large
            state["optimizer"] = self._optimizer.state_dict()
        partial = self.folder / (CHECKPOINT + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.folder / CHECKPOINT)
        self.history.draw()

    def _taught(self, low: Tensor) -> Tensor:
        if self._teacher is None:
            return low
        half = self.recipe.run.precision == "bf16"
        with torch.no_grad(), torch.autocast(self.team.device.type, torch.bfloat16, enabled=half):
            taught: Tensor = self._teacher(low).float().clamp(0, 1)
        return taught

    def _load_teacher(self) -> nn.Module | None:
        if self.recipe.teacher is None:
            return None
        recipe, network, _ = load_averaged(self.folder.parent / self.recipe.teacher.run)
        own = self.recipe.model
        if (recipe.model.scale, recipe.model.channels) != (own.scale, own.channels):
            raise TrainingError(
                f"the teacher has scale {recipe.model.scale} and {recipe.model.channels} channels,"
                f" the network {own.scale} and {own.channels}",
                path=self.folder.parent / self.recipe.teacher.run,
                hint="choose another teacher.run",
            )
        return network.to(self.team.device)

    def _restore(self, saved: dict[str, Any]) -> None:
        _check_recipe(saved, self.recipe, self.folder)
        self.step = saved["step"]
        self.network.load_state_dict(saved["network"])
        if "optimizer" in saved:
            self._optimizer.load_state_dict(saved["optimizer"])
        averages = saved["averaged"]
        self._averages = [averages[name].to(self.team.device, copy=True) for name in self._followed]


def _check_recipe(saved: dict[str, Any], recipe: Recipe, folder: Path) -> None:
    if records.from_mapping(Recipe, saved["recipe"]).digest != recipe.digest:
        raise TrainingError(
            "this run was started with another recipe",
            path=folder,
            hint="give another --run folder, or the recipe it was started with",
        )


def _start_from(earlier: nn.Module, network: nn.Module) -> None:
    """Copy an earlier run's weights; across scales, all but those of the layers that depend on it.

    Raises:
        TrainingError: The networks differ in more than their scale.
    """
    source, target = earlier.state_dict(), network.state_dict()
    differing = {name for name in target if name in source and source[name].shape != target[name].shape}
    if source.keys() != target.keys() or (differing and earlier.scale == network.scale):
        raise TrainingError(
            "the run of model.start trained another network", hint="choose another model.start"
        )
    network.load_state_dict({n: target[n] if n in differing else source[n] for n in target})


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load raises whatever the unpickler met
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"cannot read this checkpoint ({first})", path=path) from error
    return loaded
