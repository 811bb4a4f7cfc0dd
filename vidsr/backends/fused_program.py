"""The fused kernel on a device: its code, weights and filters there, and the launches for a frame.

Launches are cuda-bindings' `cuLaunchKernel` on the runner's streams.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.cuda.driver import bindings, call, launch
from vidsr.errors import EngineBuildError
from vidsr.kernels.cuda.compile import compiled
from vidsr.kernels.cuda.packing import filters, pack
from vidsr.kernels.cuda.plan import lacks, network_of

if TYPE_CHECKING:
    from vidsr.backends.cuda.layer import Device
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["FusedProgram"]

_INT, _FLOAT, _POINTER = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
_ECBSR = (_POINTER, _POINTER, _POINTER, _INT, _INT, _INT, _INT, _FLOAT)
_ENLARGE = (_POINTER, _POINTER, _POINTER, _INT, _INT, _INT, _INT, _INT, _INT, _FLOAT)
_BLOCK = (32, 32)  # samples of the source that a block of `enlarge` makes the target's from
_THREADS = 256
_ALIGNED = 256


@dataclass(frozen=True, slots=True)
class _Launch:
    """A kernel for a plane; what is missing are the planes' pointers."""

    function: Any
    grid: tuple[int, int]
    threads: int
    shared: int
    types: tuple[Any, ...]
    arguments: tuple[int | float, ...]
    """All but the first two."""


class FusedProgram:
    """A `vidsr.backends.cuda.layer.Program`: luma through the network, the other planes through filters."""

    def __init__(self, device: Device, deployed: Deployed, work: RowWork, folder: Path | None) -> None:
        """Compile the kernels or find them compiled, and bring everything to the device.

        Args:
            device: The GPU, current on this thread.
            deployed: For the planes' shapes and codes.
            work: What is done with them.
            folder: Where compiled kernels are kept; None: nowhere.

        Raises:
            EngineBuildError: The kernels cannot do this network on this GPU, or cannot be compiled.
            CudaError: The device refuses.
            OutOfMemory: There is no memory for the weights.
        """
        pixels = deployed.format.pixel_format
        size, peak = pixels.dtype.itemsize, pixels.peak
        self.input_bytes = tuple(rows * columns * size for rows, columns in deployed.input_shapes)
        self.output_bytes = tuple(rows * columns * size for rows, columns in deployed.output_shapes)
        if why := lacks(work.stack, device.info.capability):
            raise EngineBuildError(why, stage="inference", hint="use --backend auto")
        network = network_of(work.stack)
        made = compiled(network, size, device.info.capability, folder)
        try:
            tables: list[NDArray[Any]] = [pack(work.stack, peak)]
            tables += [filters(phases, network.scale) for phases in work.filters]
        except ValueError as error:
            raise EngineBuildError(
                f"the fused kernel cannot run this model ({error})", stage="inference"
            ) from error
        with ExitStack() as opened:
            module = call("cuModuleLoadData", made.cubin)
            opened.callback(call, "cuModuleUnload", module)
            ecbsr, enlarge = (call("cuModuleGetFunction", module, name) for name in (b"ecbsr", b"enlarge"))
            attribute = bindings().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            call("cuFuncSetAttribute", ecbsr, attribute, made.tiling.shared)
            places = _uploaded(device, tables, opened)
            shapes = list(zip(deployed.input_shapes, deployed.output_shapes, strict=True))
            (rows, columns), (_, out_columns) = shapes[0]
            tile = made.tiling
            self.launches = [
                _Launch(
                    ecbsr,
                    (-(-columns // tile.width), -(-rows // tile.height)),
                    32 * tile.warps,
                    tile.shared,
                    _ECBSR,
                    (places[0], columns * size, out_columns * size, columns, rows, peak),
                )
            ]
            for ((rows, columns), (out_rows, out_columns)), place in zip(shapes[1:], places[1:], strict=True):
                pitches = (columns * size, out_columns * size)
                self.launches.append(
                    _Launch(
                        enlarge,
                        (-(-columns // _BLOCK[0]), -(-rows // _BLOCK[1])),
                        _THREADS,
                        0,
                        _ENLARGE,
                        (place, *pitches, columns, rows, out_columns, out_rows, peak),
                    )
                )
            self._opened = opened.pop_all()

    def work(self) -> _Work:
        """Return the launches for a stream: there is nothing in them that streams could not share."""
        return _Work(self.launches)

    def close(self) -> None:
        """Free everything; closing again does nothing."""
        self._opened.close()


class _Work:
    def __init__(self, launches: Sequence[_Launch]) -> None:
        self._launches = launches

    def enqueue(self, stream: int, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        for one, source, target in zip(self._launches, inputs, outputs, strict=True):
            arguments = (source, target, *one.arguments)
            launch(one.function, one.grid, one.threads, stream, arguments, one.types, shared=one.shared)

    def close(self) -> None:
        self._launches = ()


def _uploaded(device: Device, tables: Sequence[NDArray[Any]], opened: ExitStack) -> list[int]:
    """Return pointers to copies of tables on the device, in one piece of memory that `opened` frees."""
    places, end = [], 0
    for table in tables:
        places.append(end)
        end += -(-table.nbytes // _ALIGNED) * _ALIGNED
    memory = device.memory(end)
    opened.callback(memory.free)
    with ExitStack() as passing:
        staging = device.host(end)
        passing.callback(staging.free)
        staging.array[...] = 0
        for place, table in zip(places, tables, strict=True):
            staging.array[place : place + table.nbytes] = (
                np.ascontiguousarray(table).reshape(-1).view(np.uint8)
            )
        stream = device.stream()
        passing.callback(stream.close)
        device.copy_in(memory, staging, stream)
        stream.synchronize()
    return [memory.pointer + place for place in places]
