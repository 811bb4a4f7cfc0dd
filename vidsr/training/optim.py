"""What is minimised and how: losses, learning rates, optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidsr.training.recipe import OptimizerOptions
from vidsr.training.soap import SOAP

__all__ = ["LOSSES", "Loss", "learning_rate", "make_optimizer"]

_FINE_ENOUGH = 2e-5  # a mean square of 47 dB: what is better hardly counts any more


@dataclass(frozen=True, slots=True)
class Loss:
    """What is minimised."""

    of: Callable[[Tensor], Tensor]
    """From a difference of pictures in 0..1, patches first, to one number."""
    name: str
    """In words, for the card."""
    unit: str
    """Of what is shown."""
    shown: float
    """What the number is multiplied by to be shown."""


def _l1(difference: Tensor) -> Tensor:
    return difference.abs().mean()


def _charbonnier(difference: Tensor) -> Tensor:
    return (difference * difference + 1e-6).sqrt().mean()


def _l2(difference: Tensor) -> Tensor:
    return (difference * difference).mean()


def _psnr(difference: Tensor) -> Tensor:
    """Return the mean logarithm of each patch's mean square: with the other sign, its PSNR in bel.

    L. Chen, X. Lu, J. Zhang, X. Chu, C. Chen, "HINet: Half Instance Normalization Network for Image
    Restoration", CVPRW 2021, train on it. Easy patches weigh as much as hard ones, as pictures do in tables.
    """
    return (difference.square().flatten(1).mean(1) + _FINE_ENOUGH).log10().mean()


def _root(difference: Tensor) -> Tensor:
    """Return the mean of the fourth roots of the patches' mean squares.

    A patch then weighs by the power -3/4 of its mean square, between RMSE's -1/2 and PSNR's -1.
    """
    return (difference.square().flatten(1).mean(1) + 1e-8).pow(0.25).mean()


LOSSES = {
    "l1": Loss(_l1, "L1", "code values", 255),
    "charbonnier": Loss(_charbonnier, "Charbonnier", "code values", 255),
    "l2": Loss(_l2, "mean squared error", "code values squared", 255**2),
    "root": Loss(_root, "fourth root of each patch's mean square", "roots of code values", 255**0.5),
    "psnr": Loss(_psnr, "PSNR of each patch", "dB", 10),
}
"""By `OptimizerOptions.loss`."""


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
