"""Compiled kernels for the hot path, and their Python face. numpy only; the rest of vidsr is above.

The extension is optional: without a compiler the package installs all the same, and `missing` says so.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.kernels.folded import FoldedConv, FoldedStack, QuantisedConv
from vidsr.kernels.packing import PathInfo, pack

__all__ = [
    "FoldedConv",
    "FoldedStack",
    "PathInfo",
    "Phases",
    "QuantisedConv",
    "RowKernel",
    "aligned_memory",
    "cache_bytes",
    "missing",
    "paths",
    "peak",
    "resample",
    "resample_workspace",
]

Phases = tuple[int, int, bytes]
"""Taps, the first one's distance from the source sample, and weights [scale, taps], f32."""

_DEFAULT_CACHE = 512 << 10
_LEVEL_2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


@cache
def _module() -> Any:
    return importlib.import_module("vidsr.kernels._rows")


@cache
def missing() -> str | None:
    """Return why the compiled kernels are not there; None: they are."""
    try:
        _module()
    except ImportError as error:
        first = str(error).splitlines()[0]
        return f"vidsr was installed without its compiled kernels, for want of a C compiler ({first})"
    return None


@cache
def paths() -> tuple[PathInfo, ...]:
    """Return the paths that this machine can take, slower ones first; none where the kernels are missing."""
    if missing():
        return ()
    return tuple(PathInfo(*entry) for entry in _module().paths())


@cache
def cache_bytes() -> int:
    """Return the size of a core's second-level cache; half a megabyte where the system does not tell."""
    try:
        told = _LEVEL_2.read_text(encoding="ascii").strip()  # virtual machines tell sysconf nothing
        return int(told.removesuffix("K")) << 10
    except (ValueError, OSError):
        return _DEFAULT_CACHE


def peak(path: str, seconds: float = 0.05) -> float:
    """Return what this core's registers do on a path's instruction, in operations a second; 0: not known.

    A multiplication and its addition are two operations. Releases the GIL, so that all cores can be
    measured together.
    """
    return float(_module().peak(path, seconds))


def aligned_memory(size: int) -> NDArray[np.uint8]:
    """Return `size` bytes that begin at a multiple of 64, not set to anything."""
    whole = np.empty(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + size]


class RowKernel:
    """A stack, packed for a path and for planes with a largest code. Thread-safe: it remembers nothing."""

    def __init__(self, stack: FoldedStack, path: PathInfo, peak: int, *, cache: int | None = None) -> None:
        """Pack the weights.

        Args:
            stack: The network.
            path: One of `paths`.
            peak: The largest code of the planes, up to 65535.
            cache: Bytes that the living rows may take; None: `cache_bytes`. It decides speed, no sample.

        Raises:
            ValueError: The path computes in int8, and the stack has no integers; or it has too many
                channels or layers.
        """
        source, convs = pack(stack, path, peak)
        self._stack = _module().stack(path.name, stack.scale, int(source), convs)
        self._peak, self._cache = peak, cache_bytes() if cache is None else cache
        self.source = source
        self.scale = stack.scale

    def workspace_bytes(self, width: int) -> int:
        """Return the bytes of working memory that planes of a width want, for each thread."""
        return int(_module().workspace(self._stack, width, self._cache))

    def run(
        self, source: NDArray[Any], target: NDArray[Any], first: int, end: int, memory: NDArray[np.uint8]
    ) -> None:
        """Upscale rows ``first..end`` of a plane; releases the GIL.

        Args:
            source: [H, W] uint8 or uint16; rows may be any distance apart.
            target: [H * scale, W * scale] of the same type; rows ``first * scale..end * scale`` are written.
            first: Row of the source.
            end: Row of the source.
            memory: From `aligned_memory`, used by no other thread meanwhile.

        Raises:
            ValueError: Shapes, types, rows or memory do not fit.
        """
        _module().upscale(self._stack, source, target, self._peak, first, end, self._cache, memory)


def resample_workspace(width: int, scale: int, taps: int) -> int:
    """Return the bytes of working memory that `resample` wants for planes of a width."""
    return int(_module().resample_workspace(width, scale, taps))


def resample(
    path: PathInfo,
    source: NDArray[Any],
    target: NDArray[Any],
    scale: int,
    down: Phases,
    across: Phases,
    peak: int,
    rows: tuple[int, int],
    memory: NDArray[np.uint8],
) -> None:
    """Write `rows` of `target`, a plane filtered to `scale` times its size; releases the GIL.

    Args:
        path: Whose instructions are used.
        source: [h, w] uint8 or uint16.
        target: [<= h * scale, <= w * scale] of the same type; what is cropped is less than `scale`.
        scale: 1 to 4.
        down: The filter of each output phase.
        across: The same to the right.
        peak: The largest code.
        rows: First and end, of the target.
        memory: As for `RowKernel.run`.

    Raises:
        ValueError: Shapes, types, rows, filters or memory do not fit.
    """
    _module().resample(path.name, source, target, scale, down, across, peak, *rows, memory)
