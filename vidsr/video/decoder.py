"""Frames out of an opened file: all of the picture, and no more than what the container shows of it."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import av
import av.container

from vidsr.video.filters import listening, through

__all__ = ["alpha_decoder", "container_crop", "cropped", "decoder_of"]

# FFmpeg's own decoders of these leave out the alpha that Matroska holds beside each frame.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_CAN_CROP = ("mov,", "matroska,")


def alpha_decoder(stream: Any) -> str | None:
    """Return the decoder that a stream's transparency asks for; None: FFmpeg's own gives all there is."""
    # Written by the container as alpha_mode, and by a tag that some muxers add as ALPHA_MODE.
    if "1" not in (value for key, value in stream.metadata.items() if key.lower() == "alpha_mode"):
        return None
    return _WITH_ALPHA.get(stream.codec_context.codec.canonical_name)


def container_crop(container: av.container.InputContainer, stream: Any) -> tuple[int, int, int, int] | None:
    """Return what a container crops off its video: left, right, top and bottom, in pixels; None: nothing.

    Matroska's PixelCrop and MP4's clean aperture. FFmpeg's library leaves it to programs, and PyAV does not
    tell; FFmpeg's description of a file does.
    """
    if not container.format.name.startswith(_CAN_CROP):
        return None
    described: Any = container
    with listening():
        told = described.dumps_format()
    own = re.split(r"^  Stream #0:(\d+)", told, flags=re.MULTILINE)
    for index, text in zip(own[1::2], own[2::2], strict=True):
        found = re.search(r"^      Frame [Cc]ropping: (\d+)/(\d+)/(\d+)/(\d+)", text, re.MULTILINE)
        if int(index) == stream.index and found:
            left, right, top, bottom = map(int, found.groups())
            return left, right, top, bottom
    return None


def decoder_of(stream: Any) -> Any:
    """Return what decodes a stream's packets: itself, or a decoder that gives its alpha as well.

    To be asked for after threads and options of the stream's codec context are set.
    """
    name = alpha_decoder(stream)
    if name is None:
        return stream
    context: Any = av.CodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    # Those of FFmpeg's own decoders are not its.
    context.options = {k: v for k, v in stream.codec_context.options.items() if k == "max_pixels"}
    context.thread_count = stream.codec_context.thread_count
    return context


def cropped(frame: av.VideoFrame, crop: tuple[int, int, int, int], time_base: Fraction) -> av.VideoFrame:
    """Return a frame without what its container crops (see `container_crop`)."""
    left, right, top, bottom = crop
    width, height = frame.width - left - right, frame.height - top - bottom
    if width < 1 or height < 1:  # a stream that changes its size
        return frame
    options = {"w": str(width), "h": str(height), "x": str(left), "y": str(top), "exact": "1"}
    return through(frame, [("crop", options)], time_base)
