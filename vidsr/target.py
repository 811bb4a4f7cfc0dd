"""How large a result becomes, and which pixels of it lie where. Pure arithmetic.

The picture's borders stay its borders: the result's side of W samples spans what the source's side of w
samples spans, so output sample k lies at source sample ``(k + 0.5) * w / W - 0.5``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor, gcd, lcm
from typing import Protocol

from vidsr.errors import OptionsError
from vidsr.job import MAX_SCALE, parse_size

__all__ = ["Shown", "Size", "Target", "resolve_target", "scale_label", "tile_step"]

MAX_SIDE = 1 << 16
_MAX_ASPECT_TERM = 65535  # H.264 stores the terms of a pixel's shape in 16 bits each


class Shown(Protocol):
    """What of a source decides the result's size: a `vidsr.frame.VideoInfo`, or a `Size`."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def rotation(self) -> int:
        """Degrees that the player turns it."""

    @property
    def sample_aspect_ratio(self) -> Fraction:
        """Width of a pixel divided by its height; 0: not known."""


@dataclass(frozen=True, slots=True)
class Size:
    """A `Shown` of square pixels that nobody turns."""

    width: int
    height: int
    rotation: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Target:
    """The result's size."""

    width: int
    """Pixels, before any rotation by the player, as `VideoInfo.width`."""
    height: int
    label: str
    """For names and reports: "1.5x", or "1920x1080" as it is shown."""
    sample_aspect_ratio: Fraction
    """Width of a pixel divided by its height; 0: not known."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def scale_label(scale: Fraction | int) -> str:
    """Return "2x", "1.5x" or "1.333x"."""
    return f"{float(scale):.4g}x"


def resolve_target(
    info: Shown,
    scale: Fraction | int | None,
    size: str | None,
    *,
    rounding: tuple[int, int] = (1, 1),
    coded: tuple[int, int] = (1, 1),
) -> Target:
    """Return the size that a scale or a wanted size comes to for a source.

    A whole scale multiplies both sides. Sides that another scale or the picture's proportions give are
    rounded to the nearest multiple of `rounding`; sides that were named are taken as they are.

    Args:
        info: The source.
        scale: As `Job.scale`.
        size: As `Job.size`: as the picture is shown, so swapped for a source that the player turns.
        rounding: Across and down, in pixels: what subsampled chroma makes sensible.
        coded: Across and down: what the encoder demands.

    Raises:
        OptionsError: The result would be smaller than the source along a side, too large, or of a size that
            the encoder cannot code.
    """
    if size is None:
        factor = Fraction(1 if scale is None else scale)
        if factor.denominator == 1:
            width, height = info.width * factor.numerator, info.height * factor.numerator
        else:
            width = _rounded(info.width * factor, info.width, rounding[0])
            height = _rounded(info.height * factor, info.height, rounding[1])
        target = Target(width, height, scale_label(factor), info.sample_aspect_ratio)
    else:
        target = _sized(info, size, rounding, coded)
    _check(info, target)
    return target


def _sized(info: Shown, size: str, rounding: tuple[int, int], coded: tuple[int, int]) -> Target:
    turned = info.rotation % 180 == 90
    sides = parse_size(size)
    wanted = sides[::-1] if turned else sides
    for side, step in zip(wanted, coded, strict=True):
        if side is not None and side % step:
            named = "x".join("" if s is None else str(s) for s in sides)
            raise OptionsError(
                f"--size {named}: the encoder takes multiples of {step} here, not {side}",
                hint=f"ask for {side - side % step} or {side - side % step + step}, or for another --pix-fmt",
            )
    width, height = wanted
    if width is None:
        assert height is not None  # parse_size gives at least one side
        width = _rounded(info.width * Fraction(height, info.height), info.width, rounding[0])
    elif height is None:
        height = _rounded(info.height * Fraction(width, info.width), info.height, rounding[1])
    label = f"{height}x{width}" if turned else f"{width}x{height}"
    if _same_shape(info, width, height, rounding):
        return Target(width, height, label, info.sample_aspect_ratio)
    shape = (info.sample_aspect_ratio or 1) * Fraction(info.width * height, info.height * width)
    shape = _short(shape)
    note = (
        f"{width}x{height} is not the shape of {info.width}x{info.height}: its pixels are marked as"
        f" {shape.numerator}:{shape.denominator}, so that the picture is shown undistorted"
    )
    return Target(width, height, label, shape, (note,))


def _rounded(side: Fraction, least: int, step: int) -> int:
    """Return the multiple of `step` nearest to `side`, halves up; not below `least` by rounding alone."""
    near = floor(side / step + Fraction(1, 2)) * step
    return near + step if near < least <= side else near


def _same_shape(info: Shown, width: int, height: int, rounding: tuple[int, int]) -> bool:
    """Tell whether the proportions are the source's, but for rounding."""
    off_x = abs(width - Fraction(height * info.width, info.height))
    off_y = abs(height - Fraction(width * info.height, info.width))
    near = off_x < rounding[0] or off_y < rounding[1]
    return near and off_x * 100 <= width


def _short(shape: Fraction) -> Fraction:
    """Return the nearest ratio whose terms fit into 16 bits."""
    if shape > 1:
        return 1 / _short(1 / shape)
    return shape.limit_denominator(_MAX_ASPECT_TERM)


def _check(info: Shown, target: Target) -> None:
    was = f"{info.width}x{info.height}"
    if target.width < info.width or target.height < info.height:
        raise OptionsError(
            f"the result would be {target.width}x{target.height}, smaller than the source's {was}",
            hint="ask for a larger --size or --scale; vidsr only enlarges",
        )
    if target.width > MAX_SCALE * info.width or target.height > MAX_SCALE * info.height:
        raise OptionsError(
            f"{target.width}x{target.height} is more than {MAX_SCALE} times the source's {was}",
            hint="ask for less",
        )
    if max(target.size) > MAX_SIDE:
        raise OptionsError(
            f"a result of {target.width}x{target.height} is too large",
            hint=f"a side has at most {MAX_SIDE} pixels",
        )


def tile_step(source: int, target: int, *, factor: int = 1, multiple: int = 1) -> int:
    """Return the step of origins, in source samples, at which a cut falls on a whole output sample.

    Both the origin and its image are multiples of `factor` (luma samples a chroma sample), the origin of
    `multiple` as well. All tiles that begin there have the same filter phases.

    Args:
        source: Samples of the axis.
        target: Samples it becomes.
        factor: Luma samples a chroma sample.
        multiple: What the network demands.
    """
    common = gcd(source, target)
    before, after = source // common, target // common
    align = lcm(factor, multiple)
    return before * lcm(align // gcd(align, before), factor // gcd(factor, after))
