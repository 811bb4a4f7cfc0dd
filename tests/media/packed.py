"""Pictures in FFmpeg's packed, semi-planar and palette layouts, put together by numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8] | NDArray[np.uint16]
Packer = Callable[[Sequence[Array]], list[Array]]


def _interleaved(
    order: Sequence[int | None], *, shift: int = 0, big: bool = False, fill: int = 255
) -> Packer:
    """Samples of a pixel beside each other; None: one that means nothing."""

    def pack(planes: Sequence[Array]) -> list[Array]:
        blank = np.full_like(planes[0], fill)
        samples = np.stack([blank if i is None else planes[i] << shift for i in order], axis=-1)
        rows = samples.reshape(len(samples), -1)
        return [rows.byteswap() if big else rows]

    return pack


def _semi_planar(order: Sequence[int], *, shift: int = 0) -> Packer:
    def pack(planes: Sequence[Array]) -> list[Array]:
        chroma = np.stack([planes[i] << shift for i in order], axis=-1)
        return [planes[0] << shift, chroma.reshape(len(chroma), -1)]

    return pack


def _yuyv(order: str, *, shift: int = 0) -> Packer:
    def pack(planes: Sequence[Array]) -> list[Array]:
        y, u, v = (plane << shift for plane in planes)
        parts = {"a": y[:, ::2], "b": y[:, 1::2], "u": u, "v": v}
        return [np.stack([parts[letter] for letter in order], axis=-1).reshape(len(y), -1)]

    return pack


def _x2rgb10(planes: Sequence[Array]) -> list[Array]:
    g, b, r = (plane.astype(np.uint32) for plane in planes)
    words = (np.uint32(3) << 30 | r << 20 | g << 10 | b).astype("<u4")
    return [words.view(np.uint16).reshape(len(g), -1)]


def _plain(planes: Sequence[Array], *, big: bool = False) -> list[Array]:
    return [plane.byteswap() if big else plane for plane in planes]


# What each becomes, and how it is put together from that: planes are Y, U, V or G, B, R, and A.
PACKED: dict[str, tuple[str, Packer]] = {
    "nv12": ("yuv420p", _semi_planar((1, 2))),
    "nv21": ("yuv420p", _semi_planar((2, 1))),
    "nv16": ("yuv422p", _semi_planar((1, 2))),
    "nv24": ("yuv444p", _semi_planar((1, 2))),
    "p010le": ("yuv420p10le", _semi_planar((1, 2), shift=6)),
    "p012le": ("yuv420p12le", _semi_planar((1, 2), shift=4)),
    "p016le": ("yuv420p16le", _semi_planar((1, 2))),
    "p210le": ("yuv422p10le", _semi_planar((1, 2), shift=6)),
    "p410le": ("yuv444p10le", _semi_planar((1, 2), shift=6)),
    "yuyv422": ("yuv422p", _yuyv("aubv")),
    "uyvy422": ("yuv422p", _yuyv("uavb")),
    "yvyu422": ("yuv422p", _yuyv("avbu")),
    "y210le": ("yuv422p10le", _yuyv("aubv", shift=6)),
    "vuya": ("yuva444p", _interleaved((2, 1, 0, 3))),
    "rgb24": ("gbrp", _interleaved((2, 0, 1))),
    "bgr24": ("gbrp", _interleaved((1, 0, 2))),
    "rgb0": ("gbrp", _interleaved((2, 0, 1, None))),
    "rgba": ("gbrap", _interleaved((2, 0, 1, 3))),
    "bgra": ("gbrap", _interleaved((1, 0, 2, 3))),
    "argb": ("gbrap", _interleaved((3, 2, 0, 1))),
    "rgb48le": ("gbrp16le", _interleaved((2, 0, 1))),
    "rgb48be": ("gbrp16le", _interleaved((2, 0, 1), big=True)),
    "rgba64le": ("gbrap16le", _interleaved((2, 0, 1, 3))),
    "x2rgb10le": ("gbrp10le", _x2rgb10),
    "gray16be": ("gray16le", lambda planes: _plain(planes, big=True)),
    "yuv420p10be": ("yuv420p10le", lambda planes: _plain(planes, big=True)),
    "gbrp12be": ("gbrp12le", lambda planes: _plain(planes, big=True)),
    "ya8": ("yuva444p", _interleaved((0, 3))),
    "ya16le": ("yuva444p16le", _interleaved((0, 3))),
}


def fill(frame: av.VideoFrame, arrays: Sequence[Array]) -> None:
    """Copy rows into a frame's planes."""
    for plane, rows in zip(frame.planes, arrays, strict=True):
        space = np.frombuffer(plane, np.uint8).reshape(-1, abs(plane.line_size) or rows.nbytes)  # type: ignore[arg-type]
        data = np.ascontiguousarray(rows).view(np.uint8)
        space[: len(data), : data.shape[1]] = data


def write_nut(path: Path, name: str, size: tuple[int, int], frames: Sequence[Sequence[Array]]) -> Path:
    """Write frames as they are, 25 a second."""
    with av.open(str(path), "w", format="nut") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = name
        for number, arrays in enumerate(frames):
            frame = av.VideoFrame(*size, name)
            fill(frame, arrays)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
