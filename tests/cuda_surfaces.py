"""NVDEC's surfaces on the stand-in for CUDA: written late, on CUDA's default stream, and given by DLPack."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cuda_pinned import POISON
from cuda_stand_in import DeviceMemory, StandInDevice, current
from cuda_streams import Op

from vidsr.frame import PixelFormat
from vidsr.resident import DevicePlanes, Rows

_PITCH = 512  # bytes, as FFmpeg's frames on a GPU


class StandInApart:
    """In the place of `vidsr.backends.cuda.apart.Apart`."""

    made = 0
    fails: Exception | None = None

    def __init__(self, info: Any, pixels: PixelFormat, folder: Any) -> None:
        if StandInApart.fails is not None:
            raise StandInApart.fails
        self._device, self._pixels, self._closed = current(), pixels, False
        self._device.live[id(self)] = "module"
        StandInApart.made += 1

    def enqueue(self, stream: int, source: DevicePlanes, planes: Sequence[int]) -> None:
        device, pixels = self._device, self._pixels
        device.require("taking a surface apart")
        if self._closed:
            device.misuse("an unloaded module is launched")
        (width, height), kind = source.size, pixels.dtype
        shapes = pixels.plane_shapes(width, height)
        read, views = [], []
        for rows, (lines, columns) in zip(
            (source.luma, source.pairs), ((height, width), (shapes[1][0], 2 * shapes[1][1])), strict=True
        ):
            memory, raw = device.find(rows.pointer, rows.pitch * lines, "taking a surface apart")
            read.append(memory)
            views.append(raw.view(kind).reshape(lines, -1)[:, :columns])
        found = [
            device.find(pointer, lines * columns * kind.itemsize, "taking a surface apart")
            for pointer, (lines, columns) in zip(planes, shapes, strict=True)
        ]

        shift = source.shift  # the work itself keeps no surface alive

        def work() -> None:
            luma, pairs = (view >> shift for view in views)
            for (_, raw), plane in zip(found, (luma, pairs[:, ::2], pairs[:, 1::2]), strict=True):
                raw[:] = np.ascontiguousarray(plane).view(np.uint8).ravel()

        op = Op("apart", work, tuple(read), tuple(memory for memory, _ in found))
        device.streams[stream].queue(op)

    def close(self) -> None:
        self._device.require("unloading a module")
        if self._closed:
            self._device.misuse("a module is unloaded twice")
        self._closed = True
        self._device.freed(self)


class StandInSurface:
    """Planes of a frame in a device's memory, filled when the default stream gets there."""

    def __init__(self, device: StandInDevice, pixels: PixelFormat, planes: Any) -> None:
        self.pixel_format, self.size, self.ordinal = pixels, planes[0].shape[::-1], device.info.ordinal
        self.shift = 8 * pixels.dtype.itemsize - pixels.bit_depth
        self.downloads = 0
        self._planes = planes
        pairs = np.stack(planes[1:], -1).reshape(planes[1].shape[0], -1)
        memory: list[DeviceMemory] = []
        self.luma, self.pairs = (placed(device, plane << self.shift, memory) for plane in (planes[0], pairs))
        weakref.finalize(self, let_go, device, memory)

    def download(self) -> Any:
        self.downloads += 1
        return tuple(self._planes)


def let_go(device: StandInDevice, memory: list[DeviceMemory]) -> None:
    """Give a surface back to the decoder, which writes the next frame there."""
    for one in memory:
        if one.pending():
            device.misuses.append("a surface is let go while work in a stream uses it")
        one.freed = True
        one.raw[:] = POISON


def placed(device: StandInDevice, plane: Any, memory: list[DeviceMemory]) -> Rows:
    """Return where a plane will be on the device, once the default stream has got there."""
    pitch = -(-plane.shape[1] * plane.itemsize // _PITCH) * _PITCH
    with device.active():
        memory.append(device.memory(plane.shape[0] * pitch))
    del device.live[id(memory[-1])]  # the decoder's, not ours to free
    raw = memory[-1].raw

    def written() -> None:
        raw.view(plane.dtype).reshape(plane.shape[0], -1)[:, : plane.shape[1]] = plane

    device.on_default(written)
    return Rows(memory[-1].pointer, pitch)


class _Managed(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int32) for name in ("device_type", "device_id", "ndim")),
        *(("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)),
        *(("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p), ("byte_offset", ctypes.c_uint64)),
        *(("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)),
    )


class StandInPlane:
    """A plane of a PyAV frame on a GPU, as far as DLPack goes; see PyAV's av/video/plane.py."""

    def __init__(self, rows: Rows, plane: Any, *, each: int, device: tuple[int, int] = (2, 0)) -> None:
        """`each` samples are one, as in pairs of chroma."""
        lines, columns = plane.shape
        size = plane.itemsize
        shape = (lines, columns) if each == 1 else (lines, columns // each, each)
        steps = (rows.pitch // size, 1) if each == 1 else (rows.pitch // size, each, 1)
        self._shape, self._steps = ((ctypes.c_int64 * len(shape))(*v) for v in (shape, steps))
        self._tensor = _Managed(
            rows.pointer,
            *device,
            len(shape),
            1,
            8 * size,
            1,
            ctypes.addressof(self._shape),
            ctypes.addressof(self._steps),
            0,
        )

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        new: Callable[..., Any] = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object  # type: ignore[attr-defined]
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)  # type: ignore[attr-defined]
        return new(ctypes.addressof(self._tensor), b"dltensor", None)
