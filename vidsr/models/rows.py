"""A job for the compiled kernels: the network as a stack, and filters for the planes it does not make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidsr.color import chroma_offsets, upsampling_phases
from vidsr.kernels import FoldedStack, Phases
from vidsr.models.resample import phase_taps

if TYPE_CHECKING:
    from vidsr.models.deploy import FrameFormat
    from vidsr.models.lookup import Model

__all__ = ["RowWork", "row_work"]


@dataclass(frozen=True, slots=True)
class RowWork:
    """The work on a frame whose first plane goes through a network, and whose others are enlarged as much."""

    stack: FoldedStack
    filters: tuple[tuple[Phases, Phases], ...]
    """Downwards and across, for each plane but the first."""


def row_work(
    model: Model, frame_format: FrameFormat, size: tuple[int, int], target: tuple[int, int]
) -> RowWork | str:
    """Return the work of a model on frames of a format, or why the kernels cannot do it, in words.

    Args:
        model: The network.
        frame_format: Of the frames.
        size: Their width and height.
        target: Width and height of the results.
    """
    stack, pixels = model.stack, frame_format.pixel_format
    if isinstance(stack, str):
        return f"{model.spec.id} is no stack of folded convolutions: {stack}"
    if pixels.family == "gbr":
        return "RGB frames are converted on the way, which they do not do"
    if target != (size[0] * stack.scale, size[1] * stack.scale):
        return f"the network's scale, {stack.scale}x, is not the target's"
    offsets = [(0.5, 0.5)] * (pixels.plane_count - 1)
    if pixels.family == "yuv":
        offsets[:2] = [chroma_offsets(frame_format.chroma_location, *pixels.chroma_shifts)] * 2
    if frame_format.chroma == "nearest":
        repeated = (1, 0, np.ones(stack.scale, np.float32).tobytes())
        return RowWork(stack, ((repeated, repeated),) * len(offsets))
    return RowWork(stack, tuple((_phases(stack.scale, y), _phases(stack.scale, x)) for x, y in offsets))


def _phases(scale: int, offset: float) -> Phases:
    """Return the filter of an axis; see `vidsr.color.upsampling_phases`."""
    taps = [phase_taps(phase) for phase in upsampling_phases(scale, offset)]
    first = min(min(t) for t in taps)
    count = max(max(t) for t in taps) - first + 1
    weights = np.zeros((scale, count), np.float32)
    for row, phase in zip(weights, taps, strict=True):
        for place, weight in phase.items():
            row[place - first] = weight
    return count, first, weights.tobytes()
