"""Where the samples of a deployed graph's planes lie: which axis of which plane is resampled how.

There are three lattices of luma samples, each spanning the same picture: the source's, that of what the
network makes (`made`: source times the network's scale, or the target where the network works there), and
the target's.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

from vidsr.color import chroma_offsets
from vidsr.models.resize import BOX, KEYS, LANCZOS, Axis
from vidsr.target import tile_step

if TYPE_CHECKING:
    from vidsr.models.card import ModelSpec
    from vidsr.models.deploy import FrameFormat

__all__ = ["Axes", "Lattice", "Size"]

Size = tuple[int, int]
"""(rows, columns)."""

Axes = tuple[Axis, Axis]
"""Downwards, across."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The lattices of one deployed graph."""

    form: FrameFormat
    source: Size
    made: Size
    target: Size
    own_scale: int | None
    """The network's, where it leads to the target; everything is then interleaved from phases."""

    @classmethod
    def of(cls, spec: ModelSpec, form: FrameFormat, source: Size, target: Size) -> Lattice:
        """Return the lattices of a model that brings `source` to `target`."""
        if spec.input == "target":
            return cls(form, source, target, target, None)
        made = (source[0] * spec.scale, source[1] * spec.scale)
        return cls(form, source, made, target, spec.scale if made == target else None)

    @property
    def factors(self) -> tuple[int, int]:
        """Luma samples a chroma sample, downwards and across."""
        pixels = self.form.pixel_format
        return 1 << pixels.chroma_shift_y, 1 << pixels.chroma_shift_x

    @property
    def offsets(self) -> tuple[float, float]:
        """Where chroma sample 0 lies from the corner, in chroma samples, downwards and across."""
        pixels = self.form.pixel_format
        across, down = chroma_offsets(self.form.chroma_location, pixels.chroma_shift_x, pixels.chroma_shift_y)
        return down, across

    def settled(self) -> Axes:
        """Return the axes from what the network makes to the target."""
        down, across = (Axis.across(m, t, LANCZOS) for m, t in zip(self.made, self.target, strict=True))
        return down, across

    def direct(self, plane: Size, wanted: Size, offsets: tuple[float, float]) -> Axes:
        """Return the axes from a plane of the source to the same plane of the target.

        Args:
            plane: Rows and columns of the source's.
            wanted: Of the target's.
            offsets: Where sample 0 lies, as `offsets`; half a sample for planes of luma's size.
        """
        down, across = (
            Axis(p, w, step := Fraction(s, t), (step - 1) * Fraction(o), KEYS)
            for p, w, s, t, o in zip(plane, wanted, self.source, self.target, offsets, strict=True)
        )
        return down, across

    def thinned(self, wanted: Size) -> Axes:
        """Return the axes from what the network makes to the target's chroma, `wanted` rows and columns."""
        box = self.form.chroma == "nearest"
        down, across = (
            Axis.across(m, t, LANCZOS)
            if factor == 1
            else Axis(
                m,
                w,
                step := Fraction(m * factor, t),
                (Fraction(1, 2) if box else Fraction(o)) * step - Fraction(1, 2),
                BOX if box else KEYS,
            )
            for m, t, w, factor, o in zip(
                self.made, self.target, wanted, self.factors, self.offsets, strict=True
            )
        )
        return down, across

    def halo(self, spec: ModelSpec) -> int:
        """Return the luma samples of the source on each side that an output sample depends on, at most."""
        pixels = self.form.pixel_format
        shapes = pixels.plane_shapes(self.target[1], self.target[0])
        per_made = [Fraction(s, m) for s, m in zip(self.source, self.made, strict=True)]

        def reach(axes: Axes, units: list[Fraction]) -> Fraction:
            return max(axis.reach * unit for axis, unit in zip(axes, units, strict=True))

        network = Fraction(spec.halo)
        if spec.input == "target":
            network = spec.halo * max(per_made) + Fraction(KEYS.radius)
        far = network + reach(self.settled(), per_made)
        subsampled = [Fraction(f) for f in self.factors]
        margin = max(self.factors) - 1
        if spec.channels == 3 and pixels.subsampled:
            up = Fraction(KEYS.radius) * max(self.factors) + margin
            far = max(far, up + network + reach(self.thinned(shapes[1]), per_made))
        elif pixels.family != "gray":
            chroma = self.direct(self._plane(1), shapes[1], self.offsets)
            far = max(far, reach(chroma, subsampled) + margin)
        if pixels.alpha:
            far = max(far, Fraction(KEYS.radius))
        return ceil(far)

    def steps(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the steps of tiles' origins in luma samples, downwards and across; see `tile_step`."""
        multiple = spec.multiple if spec.input == "low" else 1
        down, across = (
            tile_step(s, t, factor=f, multiple=multiple)
            for s, t, f in zip(self.source, self.target, self.factors, strict=True)
        )
        return down, across

    def _plane(self, number: int) -> Size:
        return self.form.pixel_format.plane_shapes(self.source[1], self.source[0])[number]
