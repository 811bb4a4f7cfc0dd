"""Fine-tuning int8 graphs with simulated rounding, where calibration alone loses too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidsr.backends.openvino import run_graph
from vidsr.models.quantised import F32, Quantised
from vidsr.training.simulated import SimulatedInt8

if TYPE_CHECKING:
    import onnx

__all__ = ["fine_tuned"]

_FINEST = (0.5 / 255) ** 2
"""Patches that the network makes better than this count as if it made them so."""


def fine_tuned(
    quantised: Quantised,
    original: onnx.ModelProto,
    low: F32,
    high: F32,
    *,
    steps: int = 1500,
    batch: int = 16,
    rate: float = 0.1,
    seed: int = 0,
    task: bool = False,
    told: Callable[[int, float], object] = lambda *_: None,
) -> Quantised:
    """Return an int8 graph that comes nearer to the f32 network.

    What is made small is what rounding costs in decibels: its mean square error against the f32 network's
    result, over that of this network against the truth, patch by patch. So smooth patches, where little
    noise is much, count as much as those full of detail.

    Args:
        quantised: From calibration.
        original: The f32 graph.
        low: [N, 1, H, W]: patches in 0..1.
        high: What they were shrunk from.
        steps: How long.
        batch: Patches a step.
        rate: The learning rate at the start; it ends at 0 by a cosine.
        seed: Of the order of patches.
        told: Told the step and the mean loss in dB since the last call, every 100 steps.
    """
    torch.manual_seed(seed)
    wanted = np.concatenate(
        [next(iter(run_graph(original, low[i : i + 64]).values())) for i in range(0, len(low), 64)]
    )
    error = np.square(np.clip(wanted, 0, 1) - high, dtype=np.float64).mean(axis=(1, 2, 3))
    weights = torch.from_numpy((1 / np.maximum(error, _FINEST)).astype(np.float32))
    lows, results = torch.from_numpy(low), torch.from_numpy(wanted)
    highs = torch.from_numpy(high)
    network = SimulatedInt8(quantised)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = np.random.default_rng(seed)
    total = 0.0
    for step in range(1, steps + 1):
        chosen = torch.from_numpy(order.choice(len(low), batch, replace=False))
        made = network(lows[chosen])
        if task:
            off = (made - highs[chosen]).square().mean(dim=(1, 2, 3))
            loss = torch.log((off + _FINEST) * weights[chosen]).mean()
        else:
            off = (made - results[chosen]).square().mean(dim=(1, 2, 3))
            loss = torch.log1p(off * weights[chosen]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total += float(loss.detach()) * 10 / np.log(10)
        if step % 100 == 0:
            told(step, total / 100)
            total = 0.0
    return network.quantised()
