"""Frames in a GPU's memory as NVDEC left them, taken apart to a program's planes by a kernel of our own."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidsr.backends.cuda.driver import call, launch
from vidsr.kernels.cuda.compile import compiled_apart

if TYPE_CHECKING:
    from vidsr.backends.cuda.layer import DeviceInfo
    from vidsr.frame import PixelFormat
    from vidsr.resident import DevicePlanes

__all__ = ["Apart"]

_TYPES = (*[ctypes.c_void_p] * 5, *[ctypes.c_int] * 5)
_THREADS = 256
_ROWS = 8  # of a block
_BYTES = 32 * 8  # of a row, a block


class Apart:
    """The kernel on a GPU; all calls with its context current."""

    def __init__(self, info: DeviceInfo, pixel_format: PixelFormat, folder: Path | None) -> None:
        """Compile it or find it compiled, and load it.

        Args:
            info: The GPU, current on this thread.
            pixel_format: Of the frames, one that `vidsr.resident.can_stay` says yes to.
            folder: Where compiled kernels are kept; None: nowhere.

        Raises:
            EngineBuildError: It cannot be compiled.
            CudaError: The GPU refuses it.
        """
        self._bytes = pixel_format.dtype.itemsize
        self._module = call("cuModuleLoadData", compiled_apart(self._bytes, info.capability, folder))
        self._function = call("cuModuleGetFunction", self._module, b"apart")

    def enqueue(self, stream: int, source: DevicePlanes, planes: Sequence[int]) -> None:
        """Queue the work for a frame.

        Args:
            stream: A stream's handle; what wrote the frame was queued before, or `Device.follow_default`.
            source: The frame, alive until the work is done.
            planes: Pointers to the three planes, without padding between rows.

        Raises:
            CudaError: It cannot be queued.
        """
        width, height = source.size
        luma, pairs = source.luma, source.pairs
        across, small = (width + 1) // 2 * 2 * self._bytes, (height + 1) // 2
        grid = (-(-across // _BYTES), -(-height // _ROWS) - (-small // _ROWS))
        arguments = (luma.pointer, pairs.pointer, *planes, luma.pitch, pairs.pitch, width, height)
        launch(self._function, grid, _THREADS, stream, (*arguments, source.shift), _TYPES)

    def close(self) -> None:
        """Unload it; none of its work is in a stream any more.

        Raises:
            CudaError: The GPU failed.
        """
        call("cuModuleUnload", self._module)
