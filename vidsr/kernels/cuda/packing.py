"""From a folded stack to the words that the fused kernel's lanes read; see `Weights` in ``ecbsr.cu``.

A record has a convolution's weights for one block of results, as every lane of a warp keeps them in
registers: FP16 pairs in the order of B fragments, then biases and slopes less one in FP32, padded to 16
bytes. Records lie in fours of words, lane by lane, so that a warp reads 512 bytes at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.kernels.folded import FoldedStack

__all__ = ["filters", "pack"]

Words = NDArray[np.uint32]

_TAPS = 5
_LANES = np.arange(32)
_RESULT = _LANES // 4
_PAIR = _LANES % 4 * 2


def pack(stack: FoldedStack, peak: int) -> Words:
    """Return all records of a stack for planes whose largest code is `peak`.

    Raises:
        ValueError: A weight is not finite in FP16.
    """
    groups = stack.channels // 8
    records = [_first(stack, peak, groups)]
    for number, conv in enumerate(stack.convs[1:], 2):
        last = number == len(stack.convs)
        out = -(-len(conv.bias) // 8)
        blocks = 1 if groups == 4 else out
        weights = np.zeros((8 * out, 8 * groups, 3, 3))
        weights[: len(conv.bias)] = conv.weights
        for block in range(0, out, blocks):
            parts = [
                _pairs(weights[8 * n : 8 * n + 8, 8 * group : 8 * group + 8, row, column].T)
                for row in range(3)
                for n in range(block, block + blocks)
                for column in range(3)
                for group in range(groups)
            ]
            floats = _floats(conv.bias, None if last else conv.slopes, block, blocks)
            records.append(_record(parts, floats))
    return np.concatenate([record.reshape(-1) for record in records])


def filters(phases: tuple[tuple[int, int, bytes], tuple[int, int, bytes]], scale: int) -> NDArray[np.float32]:
    """Return [2, scale, 5], downwards and across: weights for samples from 2 before to 2 behind.

    Raises:
        ValueError: A filter reaches further.
    """
    made = np.zeros((2, scale, _TAPS), np.float32)
    for one, (taps, first, weights) in zip(made, phases, strict=True):
        if first < -2 or first + taps > 3:
            raise ValueError(f"a filter from {first} to {first + taps - 1} is wider than the kernel's")
        one[:, first + 2 : first + 2 + taps] = np.frombuffer(weights, np.float32).reshape(scale, taps)
    return made


def _first(stack: FoldedStack, peak: int, groups: int) -> Words:
    conv = stack.convs[0]
    taps = np.zeros((4, 4, len(conv.bias)))  # the kernel reads code / (peak + 1), and four columns a row
    taps[:3, :3] = conv.weights[:, 0].transpose(1, 2, 0) * ((peak + 1) / peak)
    inputs = taps.reshape(16, -1)
    parts = [
        _pairs(inputs[8 * half : 8 * half + 8, 8 * n : 8 * n + 8]) for n in range(groups) for half in (0, 1)
    ]
    return _record(parts, _floats(conv.bias, conv.slopes, 0, groups))


def _pairs(inputs: NDArray[Any]) -> Words:
    """Return a word a lane of inputs [8, results 8]."""
    with np.errstate(over="ignore"):
        half = inputs.astype(np.float32).astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError("a weight is too large for FP16")
    bits = half.view(np.uint16).astype(np.uint32)
    return np.asarray(bits[_PAIR, _RESULT] | bits[_PAIR + 1, _RESULT] << 16, np.uint32)


def _floats(bias: NDArray[Any], slopes: NDArray[Any] | None, block: int, blocks: int) -> list[Words]:
    """Return biases as sums begin with them (both pixels' two results) and slopes less one."""
    made = []
    less = np.zeros(0) if slopes is None else slopes - np.float32(1)
    for values, places in ((bias, (0, 1, 0, 1)), (less, (0, 1))):
        padded = np.zeros(8 * (block + blocks), np.float32)
        given = values[: len(padded)]
        padded[: len(given)] = given
        made += [
            padded[8 * n + _PAIR + k].view(np.uint32) for n in range(block, block + blocks) for k in places
        ]
    return made


def _record(parts: list[Words], floats: list[Words]) -> Words:
    words = np.stack([*parts, *floats])
    words = np.pad(words, ((0, -len(words) % 4), (0, 0)))
    return np.ascontiguousarray(words.reshape(-1, 4, 32).transpose(0, 2, 1))
