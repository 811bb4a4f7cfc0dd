"""Polyphase resampling of single planes, exact to the siting, as element-wise nodes.

Kernel: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981,
a = -0.5; edge samples are repeated outwards. Rows and columns are filtered in turn with shifted
copies, weights and sums; a convolution operator would do the same in one node, but runtimes
compute it in bf16 when asked for bf16 networks, which costs up to 3 of 256 and 21 of 1024 codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor

from vidsr.models.graph import GraphWriter, Picture

__all__ = [
    "keys",
    "phase_taps",
    "reduce_plane",
    "reduction_taps",
    "upsample_codes",
    "upsample_plane",
    "upsampling_reach",
]


def keys(x: float) -> float:
    """Return Keys' cubic at distance x in samples; 0 from 2 on."""
    d = abs(x)
    if d <= 1:
        return (1.5 * d - 2.5) * d * d + 1
    return ((-0.5 * d + 2.5) * d - 4) * d + 2 if d < 2 else 0.0


def phase_taps(phase: float) -> dict[int, float]:
    """Return weights by distance from the source sample; they sum to 1."""
    base = floor(phase)
    taps = {k: keys(phase - k) for k in range(base - 1, base + 3)}
    return {k: w for k, w in taps.items() if abs(w) > 1e-12}


def upsampling_reach(phases: Sequence[float]) -> int:
    """Return how many source samples to each side the phases use at most."""
    return max(abs(k) for phase in phases for k in phase_taps(phase))


def _phases_along(writer: GraphWriter, x: Picture, axis: int, phases: Sequence[float]) -> list[Picture]:
    """Return one picture of x's size a phase, filtered along the axis (2 or 3)."""
    taps = [phase_taps(p) for p in phases]
    first, last = min(k for t in taps for k in t), max(k for t in taps for k in t)
    before, after = max(0, -first), max(0, last)
    ends = (before, after, 0, 0) if axis == 2 else (0, 0, before, after)
    padded = writer.pad(x, *ends)
    count = x.height if axis == 2 else x.width
    shifted = {
        k: writer.window(padded, axis, before + k, count) for k in sorted({k for t in taps for k in t})
    }
    return [writer.weighted_sum([shifted[k] for k in t], list(t.values())) for t in taps]


def upsample_plane(
    writer: GraphWriter,
    x: Picture,
    phases_y: Sequence[float],
    phases_x: Sequence[float],
    finish: Callable[[Picture], Picture] = lambda picture: picture,
) -> Picture:
    """Return x [1, 1, h, w], f32, enlarged ``len(phases_y)`` by ``len(phases_x)`` times.

    Args:
        writer: The graph.
        x: The plane.
        phases_y: For each output phase its distance from the source sample, downwards.
        phases_x: The same to the right.
        finish: Applied to every phase before they are interleaved (rounding is cheapest there).
    """
    pictures = [
        finish(phase)
        for row in _phases_along(writer, x, 2, phases_y)
        for phase in _phases_along(writer, row, 3, phases_x)
    ]
    return writer.interleave(pictures, len(phases_y), len(phases_x))


def upsample_codes(
    writer: GraphWriter, codes: Picture, peak: int, phases_y: Sequence[float], phases_x: Sequence[float]
) -> Picture:
    """Return an integer plane enlarged as by `upsample_plane`, integers again."""
    plane = writer.from_codes(codes)
    return upsample_plane(writer, plane, phases_y, phases_x, lambda p: writer.to_codes(p, peak))


def reduction_taps(factor: int, offset: float, *, box: bool) -> dict[int, float]:
    """Return the weights, by distance in fine samples, of coarse sample i around fine sample factor * i.

    The coarse sample lies at ``(i + offset) * factor - 0.5`` fine samples. The kernel is Keys' cubic
    stretched by the factor, symmetric about that place (linear phase), with sum 1; `box` takes the
    mean of the block of `factor` samples instead, wherever the sample is said to lie.
    """
    if factor == 1:
        return {0: 1.0}
    if box:
        return dict.fromkeys(range(factor), 1.0 / factor)
    centre = offset * factor - 0.5
    span = range(ceil(centre - 2 * factor), floor(centre + 2 * factor) + 1)
    taps = {k: keys((k - centre) / factor) for k in span}
    total = sum(taps.values())
    return {k: w / total for k, w in taps.items() if abs(w) > 1e-12}


def reduce_plane(
    writer: GraphWriter,
    x: Picture,
    taps_y: dict[int, float],
    taps_x: dict[int, float],
    size: tuple[int, int],
    step: tuple[int, int],
) -> Picture:
    """Return x [1, 1, h, w], f32, filtered and thinned to `size` (rows, columns), every `step`-th sample."""
    for axis, taps, count, stride in ((2, taps_y, size[0], step[0]), (3, taps_x, size[1], step[1])):
        length = x.height if axis == 2 else x.width
        before = max(0, -min(taps))
        after = max(0, (count - 1) * stride + max(taps) - (length - 1))
        padded = writer.pad(x, *((before, after, 0, 0) if axis == 2 else (0, 0, before, after)))
        parts = [writer.window(padded, axis, before + k, count, stride) for k in taps]
        x = writer.weighted_sum(parts, list(taps.values()))
    return x
