"""Runs the CUDA kernels' own sources on the CPU, thread by thread; see ``cuda/emulator.h``."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from vidsr.kernels import FoldedStack
from vidsr.kernels.cuda.packing import filters, pack
from vidsr.kernels.cuda.plan import Tiling, network_of, tiling

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "vidsr" / "kernels" / "cuda"
FLAGS = (
    "-std=c++17 -O2 -Wall -Wextra -Werror -Wno-parentheses -U_FORTIFY_SOURCE -ffp-contract=off -fPIC -shared"
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
        found = tiling(network, shared)
        assert found is not None
        self.tiling: Tiling = found
        self.kind, self._stack = np.dtype(kind), stack
        defines = {
            "FEATURES": network.features,
            "DEPTH": network.depth,
            "SCALE": network.scale,
            "BYTES": self.kind.itemsize,
            **found.defines,
        }
        for name in ("ecbsr.cu", "enlarge.cu"):
            text = (SOURCES / name).read_text(encoding="utf-8")
            for old, new in edits:
                text = text.replace(old, new)
            (folder / name).write_text(text, encoding="utf-8")
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
        self._library = ctypes.CDLL(str(self._program))
        self._library.run_ecbsr.restype = self._library.run_enlarge.restype = ctypes.c_char_p

    def upscale(self, plane: Any, target: Any, peak: int, seed: int = 1) -> None:
        """Run the network on `plane` [h, w] into `target`; rows of both may be any distance apart."""
        height, width = plane.shape
        weights = pack(self._stack, peak)
        one = self.tiling
        sides = (-(-width // one.width), -(-height // one.height))
        call = _Ecbsr(
            plane.ctypes.data,
            target.ctypes.data,
            weights.ctypes.data,
            plane.strides[0],
            target.strides[0],
            width,
            height,
            peak,
        )
        shared, size = ctypes.c_size_t(one.shared), ctypes.c_size_t(weights.nbytes)
        fault = self._library.run_ecbsr(
            ctypes.byref(call), *sides, 32 * one.warps, shared, size, ctypes.c_uint(seed)
        )
        assert fault is None, fault.decode()

    def enlarge(self, plane: Any, target: Any, phases: Any, peak: int) -> None:
        """Filter `plane` to the scale's size, cropped to `target`."""
        (height, width), (out_height, out_width) = plane.shape, target.shape
        weights = filters(phases, self._stack.scale)
        call = _Enlarge(
            plane.ctypes.data,
            target.ctypes.data,
            weights.ctypes.data,
            plane.strides[0],
            target.strides[0],
            width,
            height,
            out_width,
            out_height,
            peak,
        )
        fault = self._library.run_enlarge(ctypes.byref(call), -(-width // 32), -(-height // 8), 256)
        assert fault is None, fault.decode()
