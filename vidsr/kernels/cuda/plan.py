"""The tiles of the fused kernel: what they cost and which fit a GPU. `ecbsr.cu` says how it works.

Shared memory decides. A tile's two maps are as large as fits, since what is computed around a tile, again and
again, falls with its size: 1.3 times the work in all for M4C16 with the 227 KiB of an H100, 1.55 times with
the 99 KiB of a consumer's GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil

from vidsr.kernels.folded import FoldedStack

__all__ = ["FEATURES", "Network", "Tiling", "lacks", "network_of", "shared_bytes", "tiling"]

FEATURES = (8, 16, 32)
"""Numbers of features that the kernel is written for."""

_SCALES = (1, 2, 3, 4)
_STRIP = 16
_MOST_STRIPS = 12
_SHARED_KIB = {70: 96, 72: 96, 75: 64, 80: 163, 86: 99, 87: 163, 88: 163, 89: 99, 90: 227, 100: 227, 103: 227}
_SHARED_KIB |= {110: 227, 120: 99, 121: 99}
_BANKS_FROM, _BANKS_TO = 10, 22

_MULTIPLY_CLOCKS = 1.6
"""Of a multiprocessor for an m16n8k16, by mma.sync on an H100: 62 % of what its tensor cores could do."""
_ISSUE = 4
"""Instructions of warps that a multiprocessor issues in a clock."""


@dataclass(frozen=True, slots=True)
class Network:
    """What of a stack decides the kernel's code."""

    features: int
    depth: int
    """Convolutions."""
    scale: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a block cuts the plane; the names are the kernel's."""

    strips: int
    rows: int
    parts: int
    warps: int
    shared: int
    """Bytes."""
    clocks: float
    """Estimated, of a multiprocessor for a pixel of the source."""
    overhead: float
    """Multiplications computed for each that a tile of any size would need."""
    width: int
    """Of what a block makes, in pixels of the source."""
    height: int

    @property
    def defines(self) -> dict[str, int]:
        """What the source is compiled with."""
        return {"STRIPS": self.strips, "ROWS": self.rows, "PARTS": self.parts, "WARPS": self.warps}


def network_of(stack: FoldedStack) -> Network:
    """Return what of a stack decides the kernel's code."""
    return Network(stack.channels, len(stack.convs), stack.scale)


def lacks(stack: FoldedStack, capability: tuple[int, int] | None = None) -> str | None:
    """Return why the kernel cannot run a stack, in words; None: it can.

    Args:
        stack: The network.
        capability: Of the GPU; None: of the one with the most shared memory.
    """
    network = network_of(stack)
    if network.features not in FEATURES or any(len(c.bias) != network.features for c in stack.convs[:-1]):
        return f"the fused kernel does networks of 8, 16 or 32 features, and this has {network.features}"
    if network.scale not in _SCALES:
        return f"the fused kernel does not know the scale {network.scale}"
    shared = max(_SHARED_KIB.values()) << 10 if capability is None else shared_bytes(capability)
    if tiling(network, shared) is None:
        return f"{network.depth} convolutions of {network.features} features do not fit a GPU's shared memory"
    return None


def shared_bytes(capability: tuple[int, int]) -> int:
    """Return the shared memory that a block can have; of unknown GPUs what all since 8.6 have at least."""
    return _SHARED_KIB.get(10 * capability[0] + capability[1], 99) << 10


@cache
def tiling(network: Network, shared: int) -> Tiling | None:
    """Return the tiles that cost least; None: none fits `shared` bytes."""
    best: Tiling | None = None
    for strips in range(1, _MOST_STRIPS + 1):
        rows = _most_rows(network, strips, shared)
        # Fewer rows may fit the warps better than the most that the memory holds.
        for fewer in range(min(rows, 8)):
            for parts in range(1, 1 + _warps(network)):
                found = _tiling(network, strips, rows - fewer, parts)
                if found is not None and (best is None or found.clocks < best.clocks):
                    best = found
    return best


def _warps(network: Network) -> int:
    """Return the warps of a block: as many as registers allow; 8 features have few mma to wait behind."""
    return 32 if network.features == 8 and network.scale <= 2 else 16


def _shared(network: Network, strips: int, rows: int) -> int:
    width = _STRIP * strips + 2
    pitch = 2 * network.features * width
    pairs = width
    while not _BANKS_FROM <= pairs % 32 <= _BANKS_TO:
        pairs += 1
    return rows * pitch + max((rows - 2) * pitch, (rows + 2) * pairs * 4)


def _most_rows(network: Network, strips: int, shared: int) -> int:
    rows = 0
    while rows < 512 and _shared(network, strips, rows + 1) <= shared:
        rows += 1
    return rows


def _tiling(network: Network, strips: int, rows: int, parts: int) -> Tiling | None:
    halo = network.depth - 1
    width, height = _STRIP * strips - 2 * halo, rows - 2 * halo
    if width <= 0 or height < 2 * parts:
        return None
    groups = network.features // 8
    results = ceil(network.scale**2 / 8)
    warps = _warps(network)
    made = _layer(warps, rows, strips * parts, parts, groups * _MULTIPLY_CLOCKS, 14 + 11 * groups, 0)
    ideal = float(groups)
    for layer in range(2, network.depth + 1):
        last = layer == network.depth
        blocks = (1 if groups == 4 else groups) if not last else (1 if groups == 4 else results)
        items = (results if last else groups) // blocks
        multiplications = 9 * groups / 2 * blocks
        loads = ceil(3 * groups / 2)
        other = 16 + 50 * blocks if last else 10 + 11 * blocks  # by the compiled code for 9.0
        clocks = multiplications * _MULTIPLY_CLOCKS
        made += _layer(
            warps,
            rows - 2 * layer + 2,
            strips * parts * items,
            parts,
            clocks,
            multiplications + loads + other,
            2 * loads,
        )
        ideal += multiplications * items
    area = width * height
    # Filling and emptying a tile is not hidden by another block: two waits for the device's memory.
    clocks = (made + 2500 + (rows + 2) * (_STRIP * strips + 3) / 32 * 12 / _ISSUE) / area
    overhead = _multiplications(network, strips, rows) / (ideal * area / _STRIP)
    shared = _shared(network, strips, rows)
    return Tiling(strips, rows, parts, warps, shared, clocks, overhead, width, height)


def _multiplications(network: Network, strips: int, rows: int) -> float:
    groups, results = network.features // 8, ceil(network.scale**2 / 8)
    total = float(strips * rows * groups)
    for layer in range(2, network.depth + 1):
        out = results if layer == network.depth else groups
        total += strips * (rows - 2 * layer + 2) * 9 * groups / 2 * out
    return total


def _layer(
    warps: int, rows: int, items: int, parts: int, multiply: float, issued: float, extra_loads: float
) -> float:
    """Return the clocks of a convolution: the slowest warp's share, at the rate of what limits it."""
    turns = ceil(items / warps) * warps
    share = ceil(rows / parts) * turns  # rows of 16 pixels, as if all warps did the most of any
    return share * max(multiply, issued / _ISSUE) + turns * extra_loads + 150
