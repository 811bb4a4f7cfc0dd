"""What is minimised and how: losses, learning rates, optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vidsr.training.recipe import OptimizerOptions
from vidsr.training.soap import SOAP

__all__ = ["LOSSES", "learning_rate", "make_optimizer"]


def _l1(difference: Tensor) -> Tensor:
    return difference.abs().mean()


def _charbonnier(difference: Tensor) -> Tensor:
    return (difference * difference + 1e-6).sqrt().mean()


def _l2(difference: Tensor) -> Tensor:
    return (difference * difference).mean()


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"l1": _l1, "charbonnier": _charbonnier, "l2": _l2}
"""From a difference of pictures in 0..1 to a loss, by `OptimizerOptions.loss`."""


def learning_rate(options: OptimizerOptions, step: int) -> float:
    """Return the rate of step 0..steps-1: a linear warm-up, then the schedule."""
    if step < options.warmup:
        return options.rate * (step + 1) / options.warmup
    if options.schedule == "step":
        halved: float = options.rate * 0.5 ** (step // options.halve_every)
        return max(options.final_rate, halved)
    span = max(1, options.steps - options.warmup)
    turn = (1 + math.cos(math.pi * (step - options.warmup) / span)) / 2
    return options.final_rate + (options.rate - options.final_rate) * turn


def make_optimizer(options: OptimizerOptions, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe."""
    if options.kind == "soap":
        return SOAP(parameters, lr=options.rate)
    return torch.optim.Adam(parameters, lr=options.rate, fused=True)
