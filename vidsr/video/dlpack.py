"""Where a plane of PyAV's lies, by DLPack: on a GPU there is no other way to know.

The structures are those of dlpack.h, version 0.8 and before (https://dmlc.github.io/dlpack/latest/c_api.html),
which PyAV gives.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CPU", "CUDA", "Tensor", "tensor_of"]

CPU, CUDA = 1, 2
"""Kinds of device: kDLCPU, kDLCUDA."""
_NAME = b"dltensor"


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class Tensor:
    """Memory that lives as long as this."""

    pointer: int
    device: tuple[int, int]
    """Kind and number."""
    itemsize: int
    """Bytes of a sample."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In bytes."""
    owner: Any = field(repr=False)


def tensor_of(plane: Any) -> Tensor:
    """Return where a plane lies.

    Args:
        plane: Anything with ``__dlpack__``.

    Raises:
        ValueError: It is not made of plain integers, or has no strides.
        NotImplementedError: PyAV does not give this format.
    """
    capsule = plane.__dlpack__()
    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype, read.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    # A DLManagedTensor begins with its DLTensor. The capsule is not renamed, so its memory stays its own.
    found = _Tensor.from_address(read(capsule, _NAME))
    if found.lanes != 1 or found.bits % 8 or found.code > 1 or not found.strides:
        raise ValueError("a plane is not made of plain integers")
    itemsize = found.bits // 8
    return Tensor(
        (found.data or 0) + found.byte_offset,
        (found.device_type, found.device_id),
        itemsize,
        tuple(found.shape[: found.ndim]),
        tuple(step * itemsize for step in found.strides[: found.ndim]),
        capsule,
    )
