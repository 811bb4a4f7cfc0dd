"""How hard a video was compressed, from what the decoder tells.

Networks trained on clean pictures sharpen the traces of hard compression; others, trained on coded clips,
do not, and lose to them on good sources. What decides is how coarsely the coefficients were quantised,
so that is what is looked at, on one scale for all codecs: H.264's quantiser QP, whose step doubles with
every 6 and is 1 at QP 4 (ITU-T H.264, 8.5.9), for transforms that keep the energy. The other codecs'
quantisers are brought to it by their step size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log2
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidsr.sources import Source
from vidsr.video.opening import open_source
from vidsr.video.probe import video_stream
from vidsr.video.sidedata import one_of

__all__ = ["Compression", "measure_compression"]

_PLACES = 3  # where the source is looked at, spread evenly
_FRAMES = 12  # at each of them
_MOST_FPS = 480  # Matroska states 1000 where it knows no better
_LOWEST = 10  # coefficients of a JPEG, in zigzag order
# AVVideoEncParams of FFmpeg 4.4 and later, and its blocks: libavutil/video_enc_params.h
_HEADER = np.dtype(
    [("blocks", "<u4"), ("pad", "<u4"), ("offset", "<u8"), ("size", "<u8"), ("kind", "<i4"), ("qp", "<i4")]
)
_BLOCK = np.dtype([("x", "<i4"), ("y", "<i4"), ("width", "<i4"), ("height", "<i4"), ("delta", "<i4")])
_VP9, _H264, _MPEG2 = 0, 1, 2
# Bits a pixel and frame of ordinary film as sharp as x264 makes it at crf 26, and QP per doubling of them:
# a rough guess (measured on three clips, which differed by a factor of 2), for codecs that tell nothing.
_BITS_AT_26 = {"hevc": 0.063, "av1": 0.065, "vp8": 0.1}
_QP_A_DOUBLING = 5.0


@dataclass(frozen=True, slots=True)
class Compression:
    """How hard a source was compressed."""

    codec: str
    quantiser: float | None
    """Mean over the pixels looked at, on H.264's scale; lower is better, below about 18 hardly visible.
    None: not known."""
    bits_per_pixel: float | None
    """Coded bits of video a pixel and frame."""
    source: str
    """Where `quantiser` comes from: "decoder", "encoder's note", "tables", "bits", "lossless", "unknown"."""

    def __str__(self) -> str:
        """Return a phrase such as ``h264 at QP 27 (0.11 bits a pixel)``."""
        told = {"lossless": f"{self.codec}, lossless", "unknown": f"{self.codec}, quality not known"}
        text = told.get(self.source, f"{self.codec} at QP {self.quantiser or 0:.0f}")
        if self.source == "bits":
            text = f"{self.codec} at about QP {self.quantiser or 0:.0f}"
        return text if self.bits_per_pixel is None else f"{text} ({self.bits_per_pixel:.2g} bits a pixel)"


_LOSSLESS = frozenset(
    "ffv1 rawvideo huffyuv ffvhuff utvideo png apng qtrle bmp tiff v210 ppm pgm gif".split()
)
_INTERMEDIATE = {"prores": 12.0, "dnxhd": 12.0, "cfhd": 12.0}  # made to look like the original


def measure_compression(
    path: Source, *, timeout: float | None = None, index: int | None = None, network: bool = False
) -> Compression:
    """Look at some frames from the beginning, the middle and the later part of a video.

    Args:
        path: The video.
        timeout: As for `open_source`.
        index: Of the video stream; None: the first.
        network: As for `open_source`.

    Raises:
        ProbeError: The file cannot be opened.
        UnsupportedFormatError: It has no video that can be decoded.
    """
    with open_source(path, timeout=timeout, network=network) as container:
        stream = video_stream(container, path, index)
        context = stream.codec_context
        codec: str = context.codec.canonical_name
        if codec in _LOSSLESS:
            return Compression(codec, None, None, "lossless")
        if codec == "mjpeg":
            return _from_tables(container, stream)
        context.options = {**context.options, "export_side_data": "venc_params"}
        bits, pixels, told, noted = 0, 0, [], None
        for size, frame in _looked_at(container, stream):
            bits += size * 8
            if frame is None:
                continue
            pixels += frame.width * frame.height
            if (value := _quantiser(frame)) is not None:
                told.append(value)
            noted = noted if noted is not None else _note(frame)
        rate = _bits_per_pixel(container, stream)
    if rate is None and pixels and bits:
        rate = bits / pixels  # of what was looked at, which begins at key frames: too high by some
    if codec in _INTERMEDIATE:
        return Compression(codec, _INTERMEDIATE[codec], rate, "bits")
    if told:
        return Compression(codec, float(np.mean(told)), rate, "decoder")
    if noted is not None:
        return Compression(codec, noted, rate, "encoder's note")
    if codec in _BITS_AT_26 and rate:
        guess = 26 - _QP_A_DOUBLING * log2(rate / _BITS_AT_26[codec])
        return Compression(codec, min(51.0, max(0.0, guess)), rate, "bits")
    return Compression(codec, None, rate, "unknown")


def _from_tables(container: Any, stream: Any) -> Compression:
    """Return what the first JPEG's table for luma says; its transform keeps the energy (T.81, A.3.3)."""
    rate = _bits_per_pixel(container, stream)
    for packet in container.demux(stream):
        if packet.size:
            steps = _luma_steps(bytes(packet))
            told = None if steps is None else 4 + 6 * log2(max(1.0, float(np.mean(steps))))
            return Compression("mjpeg", told, rate, "unknown" if told is None else "tables")
    return Compression("mjpeg", None, rate, "unknown")


def _luma_steps(data: bytes) -> NDArray[np.float64] | None:
    """Return the steps of a JPEG's lowest coefficients, which hold nearly all that can be seen."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDB and length >= 67 and data[at + 4] in (0x00, 0x10):
            wide = ">u2" if data[at + 4] else "u1"
            return np.frombuffer(data, wide, _LOWEST, at + 5).astype(np.float64)
        at += 2 + length
    return None


def _bits_per_pixel(container: Any, stream: Any) -> float | None:
    """Return what the container says of the whole stream, or leaves for it.

    Matroska knows no rate of a stream but what mkvmerge notes; what the file has, less what its other streams
    are known to have, is a little too much then.
    """
    frames, context = stream.average_rate, stream.codec_context
    noted = stream.metadata.get("BPS", stream.metadata.get("BPS-eng", ""))
    rate = stream.bit_rate or (int(noted) if noted.isdecimal() else 0)
    if not rate:
        others = (other for other in container.streams if other.index != stream.index)
        rate = (container.bit_rate or 0) - sum(getattr(other, "bit_rate", 0) or 0 for other in others)
    if not (rate > 0 and frames and frames <= _MOST_FPS and context.width and context.height):
        return None
    return float(rate / frames / (context.width * context.height))


def _looked_at(container: Any, stream: Any) -> Iterator[tuple[int, av.VideoFrame | None]]:
    """Yield packet sizes and decoded frames from some places of the stream; errors end a place."""
    length = stream.duration or 0
    for place in range(_PLACES if length else 1):
        try:
            if place:
                container.seek((stream.start_time or 0) + length * place // _PLACES, stream=stream)
            left = _FRAMES
            for packet in container.demux(stream):
                size = packet.size
                for frame in packet.decode():
                    yield size, frame
                    size, left = 0, left - 1
                if size:
                    yield size, None
                if left <= 0:
                    break
        except (av.FFmpegError, OSError):  # damage is the reader's to report
            continue


def _quantiser(frame: av.VideoFrame) -> float | None:
    """Return a frame's mean quantiser on H.264's scale, where its decoder tells."""
    raw = one_of(frame, "VIDEO_ENC_PARAMS")
    if raw is None:
        return None
    header = np.frombuffer(raw, _HEADER, 1)[0]
    count, kind, base = int(header["blocks"]), int(header["kind"]), float(header["qp"])
    deltas, areas = np.zeros(1), np.ones(1)
    if count and int(header["size"]) >= _BLOCK.itemsize:
        spaced: Any = np.dtype(_spaced(int(header["size"])))
        blocks = np.frombuffer(raw, spaced, count, int(header["offset"]))
        deltas, areas = blocks["delta"].astype(float), blocks["width"].astype(float) * blocks["height"]
    if not areas.any():
        return None
    mean = base + float(np.average(deltas, weights=areas))
    if kind == _H264:
        # FFmpeg counts from the lowest, and each bit above 8 adds 6 below zero (ITU-T H.264, QpBdOffset).
        return mean - 6 * (frame.format.components[0].bits - 8)
    if kind == _MPEG2 and mean > 0:
        # FFmpeg tells twice the scale, which is the step (ISO 13818-2, 7.4.2; H.263, 6.2.1).
        return 4 + 6 * log2(mean)
    if kind == _VP9:
        return 4 + 6 * log2(_vp9_step(mean))
    return None


def _spaced(size: int) -> Any:
    """Return the layout of blocks that lie `size` bytes apart: newer FFmpegs may have longer ones."""
    names = list(_BLOCK.names or ())
    return {"names": names, "formats": ["<i4"] * 5, "offsets": [0, 4, 8, 12, 16], "itemsize": size}


def _vp9_step(index: float) -> float:
    """Return VP9's AC step at a quantiser index, in orthonormal units (its transforms are 8 times larger).

    The table of the specification (ac_qlookup) is index + 7 up to 95 and grows by 1.8 % a step above.
    """
    coded = index + 7 if index <= 95 else 102 * exp(0.01803 * (index - 95))
    return max(1.0, coded / 8)


def _note(frame: av.VideoFrame) -> float | None:
    """Return the constant-quality value that x264 or x265 wrote into the stream about itself."""
    data = one_of(frame, "SEI_UNREGISTERED")
    match = None if data is None else re.search(rb"[ /](?:crf|qp)=(\d+(?:\.\d+)?)", data)
    return float(match[1]) if match else None
