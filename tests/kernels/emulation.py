"""Runs the CUDA kernels' own sources on the CPU, thread by thread; see ``cuda/emulator.h``."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vidsr.kernels import FoldedStack
from vidsr.kernels.cuda.packing import filters, pack
from vidsr.kernels.cuda.plan import Tiling, network_of, tiling

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "vidsr" / "kernels" / "cuda"
FLAGS = (
    "-std=c++17 -O1 -Wall -Wextra -Werror -Wno-parentheses -U_FORTIFY_SOURCE -ffp-contract=off -fPIC -shared"
)


class _Ecbsr(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("source", "target", "weights")),
        *((name, ctypes.c_int) for name in ("source_pitch", "target_pitch", "width", "height")),
        ("peak", ctypes.c_float),
    )


class _Enlarge(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("source", "target", "filters")),
        *((n, ctypes.c_int) for n in "source_pitch target_pitch width height out_width out_height".split()),
        ("peak", ctypes.c_float),
    )


class Emulation:
    """Both kernels for a stack's shape and a kind of samples."""

    def __init__(self, stack: FoldedStack, kind: Any, shared: int, folder: Path, edits: Any = ()) -> None:
        """Compile them.

        Args:
            stack: The network.
            kind: uint8 or uint16.
            shared: Bytes that the tiles may take.
            folder: For what is compiled.
            edits: Pairs of texts; the first is replaced by the second in the sources, to break them.
        """
        network = network_of(stack)
        tiles = tiling(network, shared)
        assert tiles is not None
        self.tiling: Tiling = tiles
        self.kind, self.scale, self._stack = np.dtype(kind), stack.scale, stack
        defines = {
            "FEATURES": network.features,
            "DEPTH": network.depth,
            "SCALE": network.scale,
            "BYTES": self.kind.itemsize,
            **tiles.defines,
        }
        found = 0
        for name in ("samples.cuh", "tile.cuh", "sweep.cuh", "ecbsr.cu", "enlarge.cu"):
            text = (SOURCES / name).read_text(encoding="utf-8")
            for old, new in edits:
                found += text.count(old)
                text = text.replace(old, new)
            (folder / name).write_text(text, encoding="utf-8")
        if found < len(edits):
            raise RuntimeError("what is to be replaced is not in the sources")
        for name in ("emulator.h", "emulated.cpp"):
            (folder / name).write_bytes((HERE / "cuda" / name).read_bytes())
        self._program = folder / "emulated.so"
        command = ["g++", *FLAGS.split(), *(f"-D{k}={v}" for k, v in defines.items())]
        done = subprocess.run(
            [*command, str(folder / "emulated.cpp"), "-o", str(self._program)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)  # no AssertionError: it is no fault that was seen
        self._library = ctypes.PyDLL(str(self._program))  # one thread at a time
        self._library.run_ecbsr.restype = self._library.run_enlarge.restype = ctypes.c_char_p

    def call(self, kernel: str) -> tuple[type[ctypes.Structure], Callable[..., None], int]:
        """Return a kernel's arguments, what runs it, and the bytes of its third argument."""
        if kernel == "ecbsr":
            return _Ecbsr, self.run_ecbsr, pack(self._stack, 255).nbytes
        return _Enlarge, self.run_enlarge, 2 * self.scale * 5 * 4

    def run_ecbsr(
        self, call: ctypes.Structure, grid: tuple[int, int], threads: int, shared: int, seed: int = 1
    ) -> None:
        """Run every block of a grid; warps run in an order by `seed`."""
        weights = pack(self._stack, 255).nbytes
        more = (ctypes.c_size_t(shared), ctypes.c_size_t(weights), ctypes.c_uint(seed))
        fault = self._library.run_ecbsr(ctypes.byref(call), *grid, threads, *more)
        assert fault is None, fault.decode()

    def run_enlarge(
        self, call: ctypes.Structure, grid: tuple[int, int], threads: int, shared: int = 0
    ) -> None:
        """Run every block of a grid."""
        fault = self._library.run_enlarge(ctypes.byref(call), *grid, threads)
        assert fault is None, fault.decode()

    def upscale(self, plane: Any, target: Any, peak: int, seed: int = 1) -> None:
        """Run the network on `plane` [h, w] into `target`; rows of both may be any distance apart."""
        height, width = plane.shape
        weights = pack(self._stack, peak)
        places = (one.ctypes.data for one in (plane, target, weights))
        call = _Ecbsr(*places, plane.strides[0], target.strides[0], width, height, peak)
        grid = (-(-width // self.tiling.width), -(-height // self.tiling.height))
        self.run_ecbsr(call, grid, 32 * self.tiling.warps, self.tiling.shared, seed)

    def enlarge(self, plane: Any, target: Any, phases: Any, peak: int) -> None:
        """Filter `plane` to the scale's size, cropped to `target`."""
        (height, width), (out_height, out_width) = plane.shape, target.shape
        weights = filters(phases, self.scale)
        places = (one.ctypes.data for one in (plane, target, weights))
        pitches = (plane.strides[0], target.strides[0])
        call = _Enlarge(*places, *pitches, width, height, out_width, out_height, peak)
        self.run_enlarge(call, (-(-width // 32), -(-height // 32)), 256)
