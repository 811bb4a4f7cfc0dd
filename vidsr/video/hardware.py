"""Decoding on an NVIDIA GPU (NVDEC): where it gives the CPU's samples, and what is done where it does not.

H.264, HEVC, VP8, VP9 and AV1 are specified to the last bit, so a sound stream gives the same planes on a
GPU. Others (MPEG-2, MPEG-4, MJPEG) leave room in their transform, and stay on the CPU.

*Damage.* FFmpeg reads headers itself, so packets that are missing or cannot be parsed are found here too;
then the file is read again by the CPU, as ever. What lies within a picture only the GPU reads, and NVDEC
patches it without a word. `--on-error conceal` means FFmpeg's patches, so it decodes on the CPU from the
start. This is why `none` is the default: with a GPU, whether `stop` sees all damage would depend on the
machine.

*Frames in GPU memory.* With `HWAccel(is_hw_owned=True)` PyAV leaves frames there and gives their planes by
DLPack (`vidsr.video.surface`). They are copies that FFmpeg made of the decoder's own surfaces, of which there
are few: so they may wait in queues. What the network cannot take from there is downloaded, frame by frame.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import av
from av.codec.hwaccel import HWAccel

from vidsr.backends.cuda.driver import primary_context
from vidsr.backends.cuda.layer import CudaError
from vidsr.errors import HardwareError
from vidsr.frame import VideoInfo
from vidsr.job import Job
from vidsr.resident import can_stay
from vidsr.video.formats import nearest_planar
from vidsr.video.gpu import Gpu, find_gpu
from vidsr.video.surface import is_surface, layout_of, planar_of

__all__ = ["Decoding", "FellBackError", "HardwareDecoder", "gpu_to_decode", "open_context", "plan_decoding"]

_DEEP = tuple(f"yuv{layout}p{depth}" for layout in ("420", "422", "444") for depth in ("", "10le", "12le"))
_TAKEN = {
    # Above 8 bits of 4:2:0 since Blackwell: FFmpeg says so with the first frame, see `FellBackError`.
    "h264": ("yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le"),
    "hevc": _DEEP,
    "vp8": ("yuv420p",),
    "vp9": ("yuv420p", "yuv420p10le", "yuv420p12le"),
    "av1": ("yuv420p", "yuv420p10le"),
}
"""What NVDECs decode, by codec; older ones less."""
_ORDINAL = 0  # FFmpeg takes CUDA's first GPU
_CODED_AS_IT_IS = ("vp8", "vp9", "av1")
"""Codecs whose heights are not rounded up. FFmpeg's nvdec.c asks NVDEC for that many rows, and takes chroma
to begin after as many, odd or not."""
_INEXACT = ("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v3", "mjpeg", "h263")


@dataclass(frozen=True, slots=True)
class Decoding:
    """What decodes a job's source."""

    codec: str
    gpu: str = ""
    """Name of the GPU; empty: the CPU does it."""
    why: str = ""
    """In words; empty where nothing was asked for."""
    resident: bool = False
    """Whether its frames stay in the GPU's memory, where they can."""

    @property
    def sentence(self) -> str:
        """Say what decodes, and why."""
        where = f"on the GPU (NVDEC of {self.gpu})" if self.gpu else "on the CPU"
        where += ", in whose memory the frames stay" if self.resident else ""
        return f"{self.codec} {where}" + (f": {self.why}" if self.why else "")

    def staying(self, takes_from: int | None) -> Decoding:
        """Return what decodes for a network that takes frames from a GPU's memory; None: from none."""
        return replace(self, resident=bool(self.gpu) and takes_from == _ORDINAL)

    def notes(self, job: Job) -> list[str]:
        """Return what whoever asked for a GPU should know."""
        return [f"decoded on the CPU: {self.why}"] if self.why and job.hwaccel == "cuda" else []


class FellBackError(Exception):
    """The GPU does not decode this stream; its message says why. No frame was handed out."""


def gpu_to_decode() -> Gpu:
    """Return the GPU that would decode; tests put another in its place."""
    return find_gpu("nvcuvid")


def plan_decoding(job: Job, info: VideoInfo) -> Decoding:
    """Decide what decodes.

    Args:
        job: What was asked for.
        info: The source.

    Raises:
        HardwareError: A GPU was asked for, and there is none that works.
    """
    if job.hwaccel == "none":
        return Decoding(info.codec)
    gpu = gpu_to_decode()
    lacks = gpu.lacks
    unfit = _unfit(job, info)
    if not (lacks or unfit):
        try:
            _new_context(info.codec)
        except (av.FFmpegError, OSError, ValueError, NotImplementedError) as error:
            lacks = f"{gpu.name} cannot be opened for decoding ({getattr(error, 'strerror', None) or error})"
    if lacks and job.hwaccel == "cuda":
        raise HardwareError(
            f"--hwaccel cuda cannot work here: {lacks}",
            hint="--hwaccel none decodes on the CPU; auto takes a GPU only where one works",
        )
    if lacks or unfit:
        return Decoding(info.codec, why=lacks or unfit)
    return Decoding(info.codec, gpu.name)


def _unfit(job: Job, info: VideoInfo) -> str:
    """Say why a GPU would not give the CPU's frames of a source; empty: it may."""
    if info.codec in _INEXACT:
        return f"{info.codec} is not specified to the last bit, so a GPU's samples would differ"
    if info.codec not in _TAKEN or info.still:
        return f"NVDEC is not for {info.codec}"
    if info.source_format.replace("yuvj", "yuv") not in _TAKEN[info.codec]:
        return f"NVDEC does not decode {info.codec} in {info.source_format}"
    if info.height % 2 and info.codec in _CODED_AS_IT_IS:
        return f"FFmpeg may look for the chroma of an odd height ({info.height}) where NVDEC did not put it"
    if job.on_error == "conceal":
        return "--on-error conceal is about what the CPU's decoder patches"
    return ""


def _new_context(codec: str, *, resident: bool = False) -> Any:
    """Return a decoder on the GPU; FFmpeg's own of the codec, since others (libdav1d) know no hardware."""
    options: dict[str, object] = {}
    current: AbstractContextManager[None] = nullcontext()
    if resident:
        # The sessions' context. FFmpeg takes the primary one itself only where nobody used it before with
        # other flags than its own, but the current one as it is.
        options, current = {"primary_ctx": "0", "current_ctx": "1"}, primary_context(_ORDINAL)
    with current:
        device = HWAccel("cuda", allow_software_fallback=True, options=options, is_hw_owned=resident)
        context: Any = av.CodecContext.create(codec, "r", device)
    if not context.is_hwaccel:
        raise NotImplementedError(f"this FFmpeg has no NVDEC for {codec}")
    return context


def open_context(codec: str, *, resident: bool = False) -> Any:
    """Return what frames come out of, in nv12, p010 and the like; the one place that needs a GPU.

    Args:
        codec: FFmpeg's name.
        resident: Whether frames stay on the GPU.

    Raises:
        FellBackError: It cannot be opened, which worked a moment ago.
    """
    try:
        return _new_context(codec, resident=resident)
    except (CudaError, av.FFmpegError, OSError, ValueError, NotImplementedError) as error:
        raise FellBackError(f"the GPU cannot be opened again ({error})") from error


class HardwareDecoder:
    """Decodes a stream's packets on a GPU into planar frames, as the stream's own does, or surfaces."""

    def __init__(self, stream: Any, info: VideoInfo, *, resident: bool = False) -> None:
        """Open it.

        Args:
            stream: The video, with its options set and nothing decoded yet.
            info: What the CPU's decoder said of it.
            resident: Whether frames may stay on the GPU.

        Raises:
            FellBackError: The GPU cannot be opened.
        """
        own = stream.codec_context
        self._layout, self._begun = info.pixel_format, False
        # What the container crops is still in its frames.
        left, right, top, bottom = info.crop or (0, 0, 0, 0)
        # Of `info` fields are woven to frames already.
        rows = info.height // 2 if info.fields else info.height
        self._size = (info.width + left + right, rows + top + bottom)
        # What crops and weaves frames is made for the host's.
        fit = info.crop is None and not info.fields and can_stay(info.pixel_format)
        self._resident = resident and fit
        self._context = context = open_context(info.codec, resident=self._resident)
        context.extradata = own.extradata
        # H.264 takes its picture's size from the container where that crops it.
        context.width, context.height = own.width, own.height
        context.options, context.flags = dict(own.options), own.flags
        # Without it the first frames of an H.264 stream come out before their turn.
        context.reorder_depth = own.reorder_depth
        # Each of FFmpeg's threads would want surfaces of its own, of which there are 32.
        context.thread_count = 1

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        """Return the frames that are ready.

        Raises:
            FellBackError: The first ones are not what the CPU would give.
            av.FFmpegError: As any decoder's.
        """
        return [self._taken(frame) for frame in self._context.decode(packet)]

    def flush_buffers(self) -> None:
        """Forget what was decoded."""
        self._context.flush_buffers()

    def _taken(self, frame: av.VideoFrame) -> av.VideoFrame:
        if not self._begun:
            self._begun = True
            if self._context.pix_fmt != "cuda":
                # FFmpeg took the CPU, and one thread of it.
                raise FellBackError(f"this GPU does not decode it in {self._layout.name}")
            layout = nearest_planar(layout_of(frame))
            depths = layout.bit_depth >= self._layout.bit_depth
            if layout.chroma_shifts != self._layout.chroma_shifts or not depths:
                # A newer GPU and an older FFmpeg: 4:2:2 would come as nv12.
                raise FellBackError(f"this FFmpeg gets it as {layout_of(frame)}")
            if (frame.width, frame.height) != self._size:
                # FFmpeg crops a GPU's frames at the right and the bottom only.
                raise FellBackError("it is cropped at the left or the top, which a GPU does not do")
        if is_surface(frame) and not frame.interlaced_frame:
            return frame
        return planar_of(frame, self._layout)
