"""What the kernels run: a stack of folded 3x3 convolutions with PReLU between them, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FoldedConv", "FoldedStack", "QuantisedConv"]

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class QuantisedConv:
    """The integers of a convolution: the sum of ``(x - input_zero) * codes`` stands for real values."""

    codes: NDArray[np.int8]
    """[out, in, 3, 3], -127..127."""
    scales: F32
    """[out]: what a step of a channel's codes is worth."""
    input_scale: float
    """What a step of the input's codes is worth."""
    input_zero: int
    """The input's code for 0, 0..255."""


@dataclass(frozen=True, slots=True)
class FoldedConv:
    """A convolution of 3x3 taps with a border of zeros, and what follows it."""

    weights: F32
    """[out, in, 3, 3]."""
    bias: F32
    """[out]."""
    slopes: F32 | None
    """[out] of the PReLU behind it; None: there is none, it is the last."""
    quantised: QuantisedConv | None = None
    """For int8; the first convolution has none: it reads the picture's own codes."""


@dataclass(frozen=True, slots=True)
class FoldedStack:
    """A luma network: ``shuffle(last(... prelu(first(x))) + x)``, x in 0..1."""

    convs: tuple[FoldedConv, ...]
    """At least two. The first reads one channel, the last makes ``scale * scale``."""
    scale: int

    @property
    def channels(self) -> int:
        """Of the layers between."""
        return len(self.convs[0].bias)

    @property
    def int8(self) -> bool:
        """Whether all convolutions but the first have integers."""
        return all(conv.quantised is not None for conv in self.convs[1:])

    @property
    def macs(self) -> int:
        """Multiplications for a pixel of the source."""
        return sum(conv.weights.size for conv in self.convs)
