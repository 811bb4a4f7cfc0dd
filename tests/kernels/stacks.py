"""Random stacks, and what they make of a plane: numpy in float64, integers where they are quantised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.kernels import FoldedConv, FoldedStack, QuantisedConv

Plane = NDArray[Any]


def random_stack(
    rng: np.random.Generator, blocks: int, channels: int, scale: int, *, quantised: bool = False
) -> FoldedStack:
    """Return a stack whose values stay about as large as its input."""
    convs = []
    for number in range(blocks + 2):
        inside = 1 if number == 0 else channels
        last = number == blocks + 1
        out = scale * scale if last else channels
        weights = rng.standard_normal((out, inside, 3, 3)) / np.sqrt(9 * inside)
        bias = (0.1 * rng.standard_normal(out)).astype(np.float32)
        slopes = None if last else rng.uniform(-0.2, 1.2, out).astype(np.float32)
        integers = None
        if quantised and number:
            steps = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            codes = np.rint(weights / steps[:, None, None, None]).astype(np.int8)
            integers = QuantisedConv(codes, steps, float(rng.uniform(0.01, 0.03)), int(rng.integers(0, 200)))
            weights = codes * steps[:, None, None, None]
        convs.append(FoldedConv(weights.astype(np.float32), bias, slopes, integers))
    return FoldedStack(tuple(convs), scale)


def conv3x3(x: Plane, weights: Plane) -> Plane:
    """Return [out, H, W] of x [in, H, W] with a border of zeros."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    total = np.zeros((len(weights), height, width), x.dtype)
    for row in range(3):
        for column in range(3):
            part = padded[:, row : row + height, column : column + width]
            total += np.einsum("oi,ihw->ohw", weights[:, :, row, column].astype(x.dtype), part)
    return total


def shuffled(x: Plane, scale: int) -> Plane:
    """Return [H * scale, W * scale] of [scale * scale, H, W]."""
    height, width = x.shape[1:]
    parts = x.reshape(scale, scale, height, width).transpose(2, 0, 3, 1)
    return np.asarray(parts.reshape(height * scale, width * scale))


def expected(stack: FoldedStack, plane: Plane, peak: int) -> NDArray[np.float64]:
    """Return what the stack makes of a plane of codes, before it is rounded, in code values."""
    source = plane.astype(np.float64)[None] / peak
    x = source
    for conv in stack.convs:
        x = conv3x3(x, conv.weights) + conv.bias.astype(np.float64)[:, None, None]
        if conv.slopes is not None:
            x = np.where(x < 0, x * conv.slopes.astype(np.float64)[:, None, None], x)
    return shuffled(x + source, stack.scale) * peak


def expected_int8(stack: FoldedStack, plane: Plane, peak: int) -> NDArray[np.float64]:
    """Return the same in integers, every float rounded to float32 where the kernels round it.

    The first convolution's weights are 16 bit integers, as for codes below 32768.
    """
    f32 = np.float32

    def column(values: Any) -> NDArray[np.float64]:
        return np.asarray(values, np.float64)[:, None, None]

    codes, zero = plane.astype(np.int64)[None], 0
    for number, conv in enumerate(stack.convs):
        after = stack.convs[number + 1].quantised if number + 1 < len(stack.convs) else None
        unit = 1 / after.input_scale if after else peak
        if conv.quantised is None:
            weights = conv.weights.astype(np.float64) * unit / peak
            steps = np.abs(weights).max(axis=(1, 2, 3)) / 32767
            integers, worth = np.rint(weights / column(steps)[..., None]).astype(np.int64), steps
        else:
            integers = conv.quantised.codes.astype(np.int64)
            worth = conv.quantised.scales * f32(conv.quantised.input_scale) * unit
        total = conv3x3(codes - zero, integers).astype(f32).astype(np.float64)
        bias = (conv.bias.astype(np.float64) * unit).astype(f32)
        x = (total * column(worth.astype(f32)) + column(bias)).astype(f32).astype(np.float64)
        if after is None:
            break
        slopes = (conv.slopes.astype(np.float64) - 1).astype(f32) if conv.slopes is not None else 0
        x = (np.minimum(x, 0) * column(slopes) + x).astype(f32)
        zero = after.input_zero
        codes = np.clip(np.rint(x).astype(np.int64) + zero, 0, 255)
    return shuffled((x + plane.astype(np.float64)[None]).astype(f32), stack.scale).astype(np.float64)


def rounded(values: NDArray[np.float64], peak: int, kind: Any) -> Plane:
    """Return codes."""
    return np.clip(np.rint(values), 0, peak).astype(kind)


def picture(rng: np.random.Generator, height: int, width: int, peak: int, kind: Any) -> Plane:
    """Return codes that are smooth here and noisy there, all of the range used."""
    y, x = np.mgrid[:height, :width]
    smooth = 0.5 + 0.6 * np.sin(y / 7 + rng.uniform(0, 6)) * np.cos(x / 5)
    noise = 0.1 * rng.standard_normal((height, width))
    return np.clip(np.rint(peak * (smooth + noise)), 0, peak).astype(kind)
