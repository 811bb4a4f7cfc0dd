"""From a folded stack to the bytes that a path of the compiled kernels reads; see ``src/stack.h``.

Codes go in as they are: what brings them to 0..1 is in the first convolution's weights, what brings the
result back is in the last one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.kernels.folded import FoldedConv, FoldedStack

__all__ = ["PathInfo", "Source", "pack"]

F32 = NDArray[np.float32]
Packed = tuple[int, int, int, int, bytes, bytes, bytes, bytes, bytes, int]

_PAIR_TAPS = ((0, 1), (-1, 2))
"""Columns of the kernel under a pair of a pixel and its left neighbour: at the pixel, and at the next."""


class Source(IntEnum):
    """What the first convolution reads; the C side's `source_kind`."""

    F32 = 0
    BF16_PAIRS = 1
    INT16_PAIRS = 2


@dataclass(frozen=True, slots=True)
class PathInfo:
    """A path of the compiled kernels, as it tells of itself."""

    name: str
    precision: str
    """f32, bf16 or int8."""
    channels_a_unit: int
    """1: floats; 2: bfloat16, or codes of 8 bits in int16; 4: codes in uint8."""
    block: int
    """Output channels that are computed together."""
    last_blocks: tuple[int, int, int, int]
    """The same for the last convolution, by scale, from 1 on."""
    sources: tuple[bool, bool, bool]
    """Which of `Source` it reads."""

    def source_for(self, peak: int) -> Source:
        """Return what the first convolution reads of codes up to `peak`: pairs where they are exact."""
        if peak <= 255 and self.sources[Source.BF16_PAIRS]:
            return Source.BF16_PAIRS
        if peak <= 32767 and self.sources[Source.INT16_PAIRS]:
            return Source.INT16_PAIRS
        return Source.F32


def pack(stack: FoldedStack, path: PathInfo, peak: int) -> tuple[Source, list[Packed]]:
    """Return what the kernel's `stack` takes for frames whose largest code is `peak`.

    Raises:
        ValueError: The path computes in int8, and the stack has no integers.
    """
    source = path.source_for(peak)
    if path.precision == "int8" and not stack.int8:
        raise ValueError("this stack is not quantised")
    last = len(stack.convs) - 1
    packed = [_first(stack, path, source, peak)]
    packed += [_middle(stack, path, i) for i in range(1, last)]
    packed.append(_last(stack, path, peak))
    return source, packed


def _first(stack: FoldedStack, path: PathInfo, source: Source, peak: int) -> Packed:
    conv = stack.convs[0]
    following = stack.convs[1].quantised
    unit = 1.0
    zero = 0
    if path.precision == "int8" and following is not None:
        unit, zero = 1 / following.input_scale, following.input_zero
    weights = conv.weights.astype(np.float64) * (unit / peak)
    bias = conv.bias.astype(np.float64) * unit
    out = _up(len(bias), path.block)
    scale = np.ones(len(bias))
    if source is Source.F32:
        units = _units_f32(weights)
    else:
        pairs = np.stack([_pick(weights[:, 0], columns) for columns in _PAIR_TAPS], axis=2)
        # [out, row, pair, place]
        if source is Source.BF16_PAIRS:
            units = _bf16(pairs).view(np.uint32)[..., 0]
        else:
            largest = np.abs(pairs).max(axis=(1, 2, 3))
            scale = np.where(largest > 0, largest / 32767, 1.0)
            steps = np.rint(pairs / scale[:, None, None, None]).astype(np.int16)
            units = np.ascontiguousarray(steps).view(np.uint32)[..., 0]
        units = units.reshape(len(bias), -1, 1)
    return _packed(units, out, path.block, bias, conv.slopes, scale, np.zeros(len(bias)), zero)


def _middle(stack: FoldedStack, path: PathInfo, number: int) -> Packed:
    conv = stack.convs[number]
    following = stack.convs[number + 1].quantised
    inside = _up(conv.weights.shape[1], max(path.block, path.channels_a_unit))
    out = _up(len(conv.bias), max(path.block, path.channels_a_unit))
    if path.precision != "int8":
        units = _units(_widened(conv.weights, inside), path)
        return _packed(units, out, path.block, conv.bias, conv.slopes, None, None, 0)
    assert following is not None  # noqa: S101 - checked in pack
    unit = following.input_scale
    units, scale, offset = _integers(conv, inside, path)
    return _packed(
        units, out, path.block, conv.bias / unit, conv.slopes, scale / unit, offset, following.input_zero
    )


def _last(stack: FoldedStack, path: PathInfo, peak: int) -> Packed:
    conv = stack.convs[-1]
    inside = _up(conv.weights.shape[1], max(path.block, path.channels_a_unit))
    block = path.last_blocks[stack.scale - 1]
    out = _up(len(conv.bias), block)
    bias = conv.bias.astype(np.float64) * peak
    if path.precision != "int8":
        weights = (conv.weights.astype(np.float64) * peak).astype(np.float32)
        return _packed(_units(_widened(weights, inside), path), out, block, bias, None, None, None, 0)
    units, scale, offset = _integers(conv, inside, path)
    return _packed(units, out, block, bias, None, scale * peak, offset, 0)


def _units(weights: F32, path: PathInfo) -> NDArray[np.uint32]:
    return _units_f32(weights) if path.channels_a_unit == 1 else _units_bf16(weights)


def _units_f32(weights: NDArray[Any]) -> NDArray[np.uint32]:
    """Return [out, tap, in] of weights [out, in, 3, 3]."""
    rows = weights.reshape(*weights.shape[:2], 9).transpose(0, 2, 1)
    return np.ascontiguousarray(rows, dtype=np.float32).view(np.uint32)


def _units_bf16(weights: F32) -> NDArray[np.uint32]:
    """Return [out, tap, in / 2]."""
    rows = weights.reshape(*weights.shape[:2], 9).transpose(0, 2, 1)
    return _bf16(rows).view(np.uint32)


def _integers(
    conv: FoldedConv, inside: int, path: PathInfo
) -> tuple[NDArray[np.uint32], F32, NDArray[np.int64]]:
    """Return units [out, tap, group], what an accumulated step is worth, and what sums begin with."""
    quantised = conv.quantised
    assert quantised is not None  # noqa: S101 - checked in pack
    codes = _widened(quantised.codes, inside)
    rows = codes.reshape(*codes.shape[:2], 9).transpose(0, 2, 1)
    if path.channels_a_unit == 2:
        rows = rows.astype(np.int16)
    offset = -quantised.input_zero * codes.astype(np.int64).sum(axis=(1, 2, 3))
    return np.ascontiguousarray(rows).view(np.uint32), quantised.scales * quantised.input_scale, offset


def _bf16(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the nearest bfloat16, halves to even, of finite values."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return np.ascontiguousarray(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16))


def _pick(rows: NDArray[Any], columns: tuple[int, ...]) -> NDArray[Any]:
    """Return [out, row, place] of kernels [out, row, column]; 0 where the column is -1."""
    return np.stack([rows[:, :, c] if c >= 0 else np.zeros_like(rows[:, :, 0]) for c in columns], axis=2)


def _widened(weights: NDArray[Any], inside: int) -> NDArray[Any]:
    return np.pad(weights, ((0, 0), (0, inside - weights.shape[1]), (0, 0), (0, 0)))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _packed(
    units: NDArray[np.uint32],
    out: int,
    block: int,
    bias: NDArray[Any],
    slopes: F32 | None,
    scale: NDArray[Any] | None,
    offset: NDArray[Any] | None,
    zero: int,
) -> Packed:
    """Return one convolution of units [out, tap, group], with rows of zeros up to `out` channels."""
    taps, groups = units.shape[1:]
    filled = np.zeros((out, taps, groups), np.uint32)
    filled[: len(units)] = units
    blocks = filled.reshape(out // block, block, taps, groups).transpose(0, 2, 3, 1)

    def column(values: NDArray[Any] | None, kind: type[np.float32] | type[np.int32]) -> bytes:
        whole = np.zeros(out, kind)
        if values is not None:
            whole[: len(values)] = values
        return whole.tobytes()

    slope = None if slopes is None else slopes.astype(np.float64) - 1
    return (
        out,
        groups,
        block,
        taps,
        np.ascontiguousarray(blocks).tobytes(),
        column(bias, np.float32),
        column(slope, np.float32),
        column(scale, np.float32),
        column(offset, np.int32),
        zero,
    )
