"""Resampling of planes to any size, exact to the siting, as gathers and element-wise nodes.

Rows and columns are filtered in turn: the n-th tap of every output sample is fetched by one Gather,
multiplied by the tap's weights and added up. That needs no small period (1366 -> 1920 has one of 683) and
stays in f32 behind a bf16 network, which MatMul does not: OpenVINO computes it in bf16, and a sixth to a
third of all 8 bit samples are then 1 or 2 codes off. Behind ECBSR-M4C16 in bf16 on two cores, 960x540 to
1440x810: 25 ms a frame against 35 ms with MatMul and 18 ms without resampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from vidsr.models.graph import GraphWriter, Picture
from vidsr.models.resample import keys

__all__ = [
    "BOX",
    "KEYS",
    "LANCZOS",
    "Axis",
    "Kernel",
    "nearest_indices",
    "repeat_to",
    "resize_codes",
    "resize_plane",
]

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A filter."""

    name: str
    """For reports."""
    radius: float
    """Samples to each side at stretch 1."""
    weigh: Callable[[_Array, float], _Array]
    """Weights, not normalised, at distances in source samples, of the kernel stretched by a factor from 1."""


def _lanczos(distance: _Array, stretch: float) -> _Array:
    d = np.abs(distance / stretch)
    return np.where(d < 3, np.sinc(d) * np.sinc(d / 3), 0.0)


def _keys(distance: _Array, stretch: float) -> _Array:
    return np.asarray(np.vectorize(keys, otypes=[np.float64])(distance / stretch))


def _box(distance: _Array, stretch: float) -> _Array:
    """Return how much of each sample, one sample wide, lies in the output sample, `stretch` wide."""
    return np.clip((stretch + 1) / 2 - np.abs(distance), 0.0, 1.0)


LANCZOS = Kernel("Lanczos", 3.0, _lanczos)
"""sinc windowed by sinc, three lobes: of six kernels the best for what a network made, up and down."""

KEYS = Kernel("bicubic", 2.0, _keys)
"""As at whole scales; see `vidsr.models.resample`."""

BOX = Kernel("area", 1.0, _box)
"""The mean of the area that an output sample covers."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the samples of one axis of a plane come from; beyond the ends the end samples are repeated."""

    source: int
    """Samples there are."""
    target: int
    """Samples wanted."""
    step: Fraction
    """Source samples from one target sample to the next; above 1 the kernel is stretched by it."""
    start: Fraction
    """Place of target sample 0, in source samples."""
    kernel: Kernel

    @classmethod
    def across(cls, source: int, target: int, kernel: Kernel) -> Axis:
        """Return the axis whose target spans the whole of the source."""
        step = Fraction(source, target)
        return cls(source, target, step, (step - 1) / 2, kernel)

    @property
    def untouched(self) -> bool:
        """Whether target and source are the same samples."""
        return self.source == self.target and self.step == 1 and self.start == 0

    @property
    def reach(self) -> Fraction:
        """Source samples to each side of its place that a target sample depends on."""
        if self.untouched:
            return Fraction(0)
        stretch = max(Fraction(1), self.step)
        if self.kernel is BOX:
            return (stretch + 1) / 2
        return Fraction(self.kernel.radius) * stretch

    def taps(self) -> tuple[NDArray[np.int64], _Array]:
        """Return source indices and weights, [taps, target] each; the weights of a sample sum to 1.

        Equal phases get equal weights, to the last bit, wherever they lie: tiles equal whole frames.
        """
        # In integers: place = (step * k + start), over one denominator.
        unit = (self.step.denominator * self.start.denominator) // _common(self.step, self.start)
        places = np.arange(self.target, dtype=np.int64) * int(self.step * unit) + int(self.start * unit)
        base, rest = np.divmod(places, unit)
        phase = rest / unit
        first, last = ceil(-self.reach), floor(self.reach) + 1
        offsets = np.arange(first, last + 1)
        weights = self.kernel.weigh(phase[None] - offsets[:, None], float(max(Fraction(1), self.step)))
        weights[np.abs(weights) < 1e-12] = 0.0
        used = weights.any(axis=1)
        weights = weights[used] / weights.sum(axis=0)
        indices = np.clip(base[None] + offsets[used][:, None], 0, self.source - 1)
        return indices, weights


def _common(one: Fraction, other: Fraction) -> int:
    """Return the greatest common divisor of two denominators."""
    return int(np.gcd(one.denominator, other.denominator))


def resize_plane(writer: GraphWriter, x: Picture, down: Axis, across: Axis) -> Picture:
    """Return x [1, channels, h, w], f32, resampled downwards and across."""
    # The axis that leaves less to do for the other goes first.
    rows_first = down.target * across.source <= down.source * across.target
    for rows in (True, False) if rows_first else (False, True):
        x = _filtered(writer, x, 2, down) if rows else _filtered(writer, x, 3, across)
    return x


def _filtered(writer: GraphWriter, x: Picture, place: int, axis: Axis) -> Picture:
    if axis.untouched:
        return x
    indices, weights = axis.taps()
    parts = [
        writer.weigh(writer.gather(x, place, index), place, weight)
        for index, weight in zip(indices, weights, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = writer.add(total, part)
    return total


def resize_codes(writer: GraphWriter, codes: Picture, peak: int, down: Axis, across: Axis) -> Picture:
    """Return an integer plane resampled as by `resize_plane`, integers again."""
    return writer.to_codes(resize_plane(writer, writer.from_codes(codes), down, across), peak)


def nearest_indices(plane: int, wanted: int, source: int, target: int) -> NDArray[np.int64]:
    """Return for each of `wanted` samples of an axis the one of `plane` samples that lies under it.

    Args:
        plane: Samples of the plane.
        wanted: Samples of the larger plane.
        source: Luma samples of the axis; chroma has the ratio of luma, whatever its rounding up.
        target: Luma samples wanted.
    """
    places = (2 * np.arange(wanted, dtype=np.int64) + 1) * source // (2 * target)
    return np.minimum(places, plane - 1)


def repeat_to(
    writer: GraphWriter, x: Picture, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Picture:
    """Return the plane of any type whose samples are those of x at the indices; exact."""
    return writer.gather(writer.gather(x, 2, rows), 3, columns)
