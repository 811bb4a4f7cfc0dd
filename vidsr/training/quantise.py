"""Fine-tuning int8 graphs with simulated rounding, where calibration alone loses too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidsr.evaluation.calibration import Patches, errors_of, results_of
from vidsr.models.quantised import Quantised
from vidsr.training.simulated import SimulatedInt8

if TYPE_CHECKING:
    import onnx

__all__ = ["fine_tuned"]


def fine_tuned(
    quantised: Quantised,
    original: onnx.ModelProto,
    patches: Patches,
    *,
    steps: int,
    batch: int = 8,
    rate: float = 0.05,
    seed: int = 0,
    told: Callable[[int, float], object] = lambda *_: None,
) -> Quantised:
    """Return an int8 graph that comes nearer to the f32 network.

    What is made small is what rounding costs in decibels: its mean square error against the f32 network's
    result, over that of this network against the truth, patch by patch. So smooth patches, where little
    noise is much, count as much as those full of detail.

    Args:
        quantised: From calibration.
        original: The f32 graph.
        patches: What it is trained on.
        steps: How long.
        batch: Patches a step.
        rate: The learning rate at the start; it ends at 0 by a cosine.
        seed: Of the order of patches.
        told: Told the step and the mean loss in dB since the last call, every 100 steps.
    """
    torch.manual_seed(seed)
    wanted = results_of(original, patches.low)
    weights = torch.from_numpy((1 / errors_of(wanted, patches)).astype(np.float32))
    lows, results = torch.from_numpy(patches.low), torch.from_numpy(wanted)
    network = SimulatedInt8(quantised)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = np.random.default_rng(seed)
    total = 0.0
    for step in range(1, steps + 1):
        chosen = torch.from_numpy(order.choice(len(lows), batch, replace=False))
        made = network(lows[chosen])
        off = (made - results[chosen]).square().mean(dim=(1, 2, 3))
        loss = torch.log1p(off * weights[chosen]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        total += float(loss.detach()) * 10 / np.log(10)
        if step % 100 == 0:
            told(step, total / 100)
            total = 0.0
    return network.quantised()
