"""A GPU that is none: FFmpeg's CPU decoder, whose frames come as if from NVDEC, downloaded or still there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from cuda_stand_in import DeviceMemory, StandInDevice
from cuda_surfaces import StandInPlane, let_go, placed

from vidsr.frame import PixelFormat
from vidsr.video import hardware, sidedata
from vidsr.video.formats import planes_of
from vidsr.video.gpu import Gpu

GPU = Gpu("NVIDIA L4", "12.8")
SEMI = {
    "yuv420p": "nv12",
    "yuv420p10le": "p010le",
    "yuv420p12le": "p016le",
    "yuv422p": "nv16",
    "yuv422p10le": "p210le",
    "yuv444p10le": "yuv444p16le",
    "yuv444p12le": "yuv444p12msble",
}


def downloaded(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a frame in the layout that NVDEC gives, made sample by sample, with all that it carries."""
    layout = PixelFormat.parse(frame.format.name.replace("yuvj", "yuv"))
    name = SEMI.get(layout.name, layout.name)
    # Only `reformat` takes the frame's properties along; its samples are written over.
    made = frame.reformat(format=name) if name != frame.format.name else frame
    # It tags frames with what it was told.
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    planes: list[np.ndarray] = list(planes_of(frame))
    if len(made.planes) == 2:
        pair = np.stack(planes[1:], axis=-1)
        planes[1:] = [pair.reshape(pair.shape[0], -1)]
    bits = 8 if layout.bit_depth == 8 else 16
    for plane, samples in zip(made.planes, planes, strict=True):
        rows = np.frombuffer(plane, layout.dtype).reshape(plane.height, -1)
        rows[:, : samples.shape[1]] = samples << (bits - layout.bit_depth)
    return made


class FakeSurface:
    """A frame on a GPU, as PyAV has it; what it carries is another frame's, `soft`."""

    def __init__(self, device: StandInDevice, soft: av.VideoFrame) -> None:
        self.soft = soft
        self.format, self.sw_format = av.VideoFormat("cuda", soft.width, soft.height), soft.format
        memory: list[DeviceMemory] = []
        self.planes = []
        for number, plane in enumerate(soft.planes):
            samples = np.frombuffer(plane, "u1" if soft.format.components[0].bits == 8 else "<u2")
            each = 1 + (number == 1 and len(soft.planes) == 2)
            columns = soft.width if number == 0 else plane.width * each
            samples = samples.reshape(plane.height, -1)[:, :columns].copy()
            kind = (2, device.info.ordinal)
            self.planes.append(
                StandInPlane(placed(device, samples, memory), samples, each=each, device=kind)
                if len(soft.planes) == 2
                else Unsupported()
            )
        weakref.finalize(self, let_go, device, memory)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.soft, name)

    def reformat(self, format: str) -> av.VideoFrame:
        return self.soft.reformat(format=format)


class Unsupported:
    """A plane of a format that PyAV does not give."""

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        raise NotImplementedError("unsupported sw_format for DLPack export")


def resident_on(device: Callable[[], StandInDevice]) -> Callable[[av.VideoFrame], FakeSurface]:
    """Return what leaves frames on a GPU."""
    return lambda frame: FakeSurface(device(), downloaded(frame))


class FakeContext:
    """A decoder as `hardware.open_context` returns it.

    `decoded` counts the frames of all of them, `given` is what the last one was told.
    """

    decoded = 0
    given: ClassVar[dict[str, Any]] = {}
    pix_fmt = "cuda"
    device: ClassVar[Callable[[], StandInDevice]] = StandInDevice
    """Gives the GPU that frames stay on."""

    def __init__(
        self, codec: str, change: Callable[[av.VideoFrame], Any] = downloaded, *, resident: bool = False
    ) -> None:
        if resident:
            change = resident_on(FakeContext.device)
        self.__dict__["own"] = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
        self.__dict__["change"] = change

    def __setattr__(self, name: str, value: Any) -> None:
        FakeContext.given[name] = value
        setattr(self.own, name, value)

    def decode(self, packet: Any) -> list[Any]:
        frames = self.own.decode(packet)
        FakeContext.decoded += len(frames)
        return [self.change(frame) for frame in frames]

    def flush_buffers(self) -> None:
        self.own.flush_buffers()


def install(patch: pytest.MonkeyPatch, context: Any = FakeContext) -> None:
    """Put the fake where frames come from the codec, and a driver where there is none."""
    FakeContext.decoded = 0
    patch.setattr(hardware, "gpu_to_decode", lambda: GPU)
    patch.setattr(hardware, "_new_context", context)
    # It makes the container from PyAV's own frame.
    container = sidedata._container
    patch.setattr(sidedata, "_container", lambda frame: container(getattr(frame, "soft", frame)))
