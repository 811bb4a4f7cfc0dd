"""Frames as NVDEC leaves them in a GPU's memory: what can stay there, and the way down for the rest."""

from __future__ import annotations

from typing import Any

import av
import numpy as np

from vidsr.frame import PixelFormat, Planes
from vidsr.resident import Rows
from vidsr.video.convert import to_planar
from vidsr.video.dlpack import CUDA, tensor_of
from vidsr.video.formats import nearest_planar, planes_of

__all__ = ["Surface", "downloaded", "in_memory", "is_surface", "layout_of", "planar_of"]

_ALIGNED = 8  # what `Rows` asks for


class Surface:
    """A `vidsr.resident.DevicePlanes`: the surface lives as long as this does."""

    def __init__(self, frame: av.VideoFrame, expected: PixelFormat) -> None:
        """Find out where it is.

        Args:
            frame: One that `is_surface` says yes to.
            expected: The source's layout, as the CPU's decoder would give it.

        Raises:
            ValueError: It cannot be taken from where it is; `planar_of` brings it down.
        """
        self.pixel_format, self.size = expected, (frame.width, frame.height)
        self._frame = frame
        try:
            tensors = [tensor_of(plane) for plane in frame.planes]
        except NotImplementedError as error:  # not 4:2:0
            raise ValueError(str(error)) from error
        size, columns = expected.dtype.itemsize, frame.width
        kind, self.ordinal = tensors[0].device
        self.shift = 8 * size - expected.bit_depth
        plain = len(tensors) == 2 and kind == CUDA
        plain = plain and all(t.device == tensors[0].device and t.itemsize == size for t in tensors)
        plain = plain and tensors[0].strides[1:] == (size,) and tensors[1].strides[1:] == (2 * size, size)
        wide = [columns * size, (columns + 1) // 2 * 2 * size]
        if not plain or any(t.strides[0] < row for t, row in zip(tensors, wide, strict=True)):
            raise ValueError("it is not laid out as NV12 is")
        if any(t.pointer % _ALIGNED or t.strides[0] % _ALIGNED for t in tensors):
            raise ValueError("its rows are not aligned")
        self._tensors = tensors
        self.luma, self.pairs = (Rows(t.pointer, t.strides[0]) for t in tensors)

    def download(self) -> Planes:
        """Return it as planes in memory."""
        return planes_of(planar_of(self._frame, self.pixel_format))


def is_surface(frame: av.VideoFrame) -> bool:
    """Tell whether a frame is in a GPU's memory."""
    return frame.format.name == "cuda"


def layout_of(frame: av.VideoFrame) -> str:
    """Return FFmpeg's name of how a frame's samples lie, wherever it is."""
    form: Any = frame.sw_format if is_surface(frame) else frame.format
    return str(form.name)


def downloaded(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a frame in memory as it lies on the GPU, with all that it carries; one that is there, itself."""
    if not is_surface(frame):
        return frame
    tags = frame.color_range, frame.colorspace
    made = frame.reformat(format=layout_of(frame))
    made.color_range, made.colorspace = tags
    return made


def in_memory(frame: av.VideoFrame, expected: PixelFormat) -> av.VideoFrame:
    """Return a frame itself; one on a GPU as `planar_of` brings it down."""
    return planar_of(frame, expected) if is_surface(frame) else frame


def planar_of(frame: av.VideoFrame, expected: PixelFormat) -> av.VideoFrame:
    """Return a frame of NVDEC in the planar format that the CPU's decoder would give, sample by sample.

    Args:
        frame: In nv12, p010, ..., on the GPU or downloaded. One that is planar is returned itself.
        expected: The source's layout. NVDEC may give 16 bits for any depth above 8, with the samples in the
            upper bits.
    """
    frame = downloaded(frame)
    layout = nearest_planar(frame.format.name)
    alike = (layout.family, layout.chroma_shifts) == (expected.family, expected.chroma_shifts)
    wide = alike and layout.bit_depth == 16 > expected.bit_depth > 8
    if wide:
        layout = expected
    made = to_planar(frame, layout, frame.width, frame.height)
    if wide and frame.format.name == "yuv444p16le":
        # Planar already, so swscale would round.
        for plane, source in zip(planes_of(made), planes_of(frame), strict=True):
            np.right_shift(source, 16 - layout.bit_depth, out=plane)
    return made
