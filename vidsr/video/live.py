"""Encoding for somebody who is watching: each frame's bytes come out before the next one goes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from typing import Any, Self

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from vidsr.errors import EncodeError
from vidsr.frame import ColorInfo, ColorRange, Matrix
from vidsr.video.convert import convert_frame
from vidsr.video.fragments import Sample, fragment, length_prefixed
from vidsr.video.sound import LAYOUT, RATE

__all__ = ["PIXELS", "PRESET", "LiveWriter", "jpeg", "shown_color", "viewable"]

PIXELS = "yuv420p"
"""What browsers decode."""
PRESET = "ultrafast"
_TICKS = 90000
_KEY_SECONDS = 2.0
"""Browsers forget what was played by whole groups of pictures."""
_LARGE = 2560 * 1440
"""Pixels from which on x264 gets several threads: a slice each, which costs bits."""
_BLOCK = 1024
_VIDEO, _SOUND = 1, 2


class LiveWriter:
    """Pictures and sound into fragmented MP4: H.264 without delay, and AAC. Use it in a ``with``.

    Attributes:
        header: What goes before everything else.
        codecs: For the browser, as RFC 6381 has it.
    """

    def __init__(
        self,
        size: tuple[int, int],
        color: ColorInfo,
        *,
        rate: Fraction | None,
        sound: bool,
        crf: float,
        threads: int = 1,
    ) -> None:
        """Open the encoders.

        Args:
            size: Width and height of the pictures, even.
            color: Of the pictures, `shown_color`.
            rate: About so many pictures a second.
            sound: Whether there is any.
            crf: x264's; smaller is better.
            threads: Of x264, where pictures are large.

        Raises:
            EncodeError: An encoder refuses.
        """
        self._number = 0
        self._samples = 0
        width, height = size
        options = {
            "preset": PRESET,
            "tune": "zerolatency",
            "crf": f"{crf:g}",
            "threads": str(threads if width * height >= _LARGE else 1),
            "g": str(max(1, round(float(rate or 25) * _KEY_SECONDS))),
        }
        sink = BytesIO()
        self._container: Any = None
        try:
            self._container = av.open(
                sink, "w", format="mp4", container_options={"movflags": "empty_moov+default_base_moof"}
            )
            video: Any = self._container.add_stream(
                "libx264", rate=round(rate) if rate and rate >= 1 else 25, options=options
            )
            video.width, video.height, video.pix_fmt = width, height, PIXELS
            video.time_base = video.codec_context.time_base = Fraction(1, _TICKS)
            context = video.codec_context
            context.color_range = 2 if color.range is ColorRange.FULL else 1
            context.colorspace, context.color_primaries = color.matrix_code, color.primaries
            context.color_trc = color.transfer
            self._video = video
            self._audio: Any = None
            self.codecs = ""
            if sound:
                self._audio = self._container.add_stream("aac", rate=RATE, layout=LAYOUT)
                self._audio.bit_rate = 160_000
            self._container.start_encoding()
            if video.time_base != Fraction(1, _TICKS):
                raise EncodeError(f"the muxer counts in {video.time_base} s")
            self.header = sink.getvalue()
            place = self.header.index(b"avcC") + 5
            profile = self.header[place : place + 3].hex()
            self.codecs = f"avc1.{profile}" + (",mp4a.40.2" if sound else "")
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            detail = getattr(error, "strerror", None) or str(error)
            raise EncodeError(f"a live stream of {width}x{height} cannot be encoded ({detail})") from error

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the encoders."""
        self.close()

    def close(self) -> None:
        """Close the encoders."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(av.FFmpegError, OSError, ValueError):
                container.close()

    def picture(self, frame: av.VideoFrame, time: Fraction, duration: Fraction) -> bytes:
        """Return the fragment of a picture.

        Args:
            frame: In `PIXELS`; may be given again.
            time: Seconds from the stream's beginning.
            duration: Seconds.

        Raises:
            EncodeError: The encoder refuses it.
        """
        begin, end = round(time * _TICKS), round((time + duration) * _TICKS)
        frame.pts, frame.time_base, frame.pict_type = begin, Fraction(1, _TICKS), 0
        try:
            packets = self._video.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise EncodeError(f"encoding failed ({error})", stage="encode") from error
        made = b""
        for packet in packets:
            sample = Sample(length_prefixed(bytes(packet)), max(1, end - begin), packet.is_keyframe)
            made += self._fragment(_VIDEO, packet.pts, [sample])
        return made

    def sound(self, read: Callable[[int], NDArray[np.float32]], until: Fraction) -> bytes:
        """Return fragments of the sound up to a time, by whole blocks.

        Args:
            read: Returns so many of the next samples.
            until: Seconds from the stream's beginning.
        """
        made: list[Sample] = []
        first = 0
        while self._audio is not None and self._samples < until * RATE:
            block = av.AudioFrame.from_ndarray(read(_BLOCK), format="fltp", layout=LAYOUT)
            block.sample_rate, block.time_base = RATE, Fraction(1, RATE)
            block.pts = self._samples
            self._samples += _BLOCK
            for packet in self._audio.encode(block):
                if packet.pts < 0:
                    continue  # the encoder's own beginning, before the first sample
                first = packet.pts if not made else first
                made.append(Sample(bytes(packet), _BLOCK))
        return self._fragment(_SOUND, first, made) if made else b""

    def _fragment(self, track: int, time: int, samples: list[Sample]) -> bytes:
        self._number += 1
        return fragment(self._number, track, time, samples)


def shown_color(color: ColorInfo) -> ColorInfo:
    """Return what becomes of a source's colour on the way to a browser: RGB becomes BT.709."""
    codes = {Matrix.BT709: 1, Matrix.BT601: 6, Matrix.BT2020: 9, Matrix.FCC: 4, Matrix.SMPTE240M: 7}
    matrix = color.matrix if color.matrix in codes else Matrix.BT709
    # Untagged, a browser would guess by the size of the picture, which is not the source's.
    code = color.matrix_code if color.matrix is matrix and color.matrix_code != 2 else codes[matrix]
    return replace(color, matrix=matrix, matrix_code=code, range=ColorRange.LIMITED)


def viewable(frame: av.VideoFrame, color: ColorInfo) -> av.VideoFrame:
    """Return a frame in `PIXELS`, in `shown_color`: itself where it is so already."""
    target = shown_color(color)
    if frame.format.name == PIXELS and color.range is target.range and color.matrix is target.matrix:
        return frame
    return convert_frame(frame, color, PIXELS, target)


def jpeg(frame: av.VideoFrame, color: ColorInfo, *, quality: int = 3) -> bytes:
    """Return a frame in `PIXELS` as JPEG, which is always BT.601 and full range.

    Args:
        frame: The picture.
        color: Its colour.
        quality: FFmpeg's scale, from 2 (best) to 31.
    """
    full = replace(color, matrix=Matrix.BT601, range=ColorRange.FULL)
    ready = convert_frame(frame, color, "yuvj420p", full)
    context: Any = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = ready.width, ready.height, "yuvj420p"
    context.time_base, context.color_range = Fraction(1, 25), 2
    context.qmin = context.qmax = quality
    ready.pts = 0
    return b"".join(bytes(p) for p in [*context.encode(ready), *context.encode(None)])
