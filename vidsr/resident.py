"""Frames that a decoder left in a GPU's memory, and what a session needs to take them from there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Protocol, TypeAlias, runtime_checkable

from vidsr.frame import ColorInfo, Frame, PixelFormat, Planes

__all__ = ["DevicePlanes", "ResidentFrame", "Rows", "Source", "can_stay", "check_source", "source_of"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples in a GPU's memory, row by row."""

    pointer: int
    """A multiple of 8."""
    pitch: int
    """Bytes from a row to the next, another."""


@runtime_checkable
class DevicePlanes(Protocol):
    """Planes of YUV 4:2:0 in a GPU's memory, chroma in pairs (NV12, P010, P016), as long as this lives.

    They may still be being written by what was queued on CUDA's default stream.
    """

    ordinal: int
    """Of the GPU, as in `vidsr.backends.cuda.layer.DeviceInfo`."""
    pixel_format: PixelFormat
    """Whose codes they hold."""
    size: tuple[int, int]
    """Width and height, in luma pixels."""
    shift: int
    """By how many bits samples lie above their codes: 6 in P010, 0 in NV12."""

    @property
    def luma(self) -> Rows:
        """uint8 or uint16 [height, width]."""

    @property
    def pairs(self) -> Rows:
        """The same of U and V in turns: [ceil(height / 2), 2 * ceil(width / 2)]."""

    def download(self) -> Planes:
        """Return them as planes in memory."""


def can_stay(pixel_format: PixelFormat) -> bool:
    """Tell whether frames of a source in this format may stay: PyAV gives only 4:2:0 in pairs by DLPack."""
    return pixel_format.family == "yuv" and pixel_format.chroma_shifts == (1, 1) and not pixel_format.alpha


Source: TypeAlias = "Planes | DevicePlanes"
"""What is to be upscaled, wherever it is."""


class ResidentFrame(Frame):
    """A frame in a GPU's memory. Whoever looks at its planes gets a copy of them, made then and kept."""

    # No slots: `planes` is cached in the instance, over the field of the same name.

    def __init__(
        self,
        source: DevicePlanes,
        color: ColorInfo,
        *,
        pts: int,
        duration: int,
        time_base: Fraction,
        shift: int,
        key: bool,
    ) -> None:
        """Describe it; see `vidsr.frame.Frame`."""
        for name, value in (
            ("source", source),
            ("pixel_format", source.pixel_format),
            ("color", color),
            ("pts", pts),
            ("duration", duration),
            ("time_base", time_base),
            ("shift", shift),
            ("key", key),
            ("origin", source),
        ):
            object.__setattr__(self, name, value)

    source: DevicePlanes

    @cached_property
    def planes(self) -> Planes:
        """Code values, copied from the GPU when they are first asked for."""
        return self.source.download()

    @property
    def width(self) -> int:
        """Columns of the first plane, in pixels."""
        return self.source.size[0]

    @property
    def height(self) -> int:
        """Rows of the first plane, in pixels."""
        return self.source.size[1]

    @property
    def nbytes(self) -> int:
        """Bytes of code values, wherever they are."""
        return self.pixel_format.frame_bytes(*self.source.size)


def check_source(pixel_format: PixelFormat, source: Source, size: tuple[int, int]) -> None:
    """Check what is to be upscaled, wherever it is.

    Raises:
        ValueError: It is not of this format and size.
    """
    if not isinstance(source, DevicePlanes):
        pixel_format.check(source, *size)
    elif (source.pixel_format, source.size) != (pixel_format, size):
        own, wanted = (
            f"{layout.name} {width}x{height}"
            for layout, (width, height) in ((source.pixel_format, source.size), (pixel_format, size))
        )
        raise ValueError(f"the planes on the GPU are of {own}, not {wanted}")


def source_of(frame: Frame) -> Source:
    """Return a frame's planes where they are."""
    return frame.source if isinstance(frame, ResidentFrame) else frame.planes
