"""Frames out of an opened file, by the decoder that gives all of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.container

__all__ = ["alpha_decoder", "decoded"]

# FFmpeg's own decoders of these leave out the alpha that Matroska holds beside each frame.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def alpha_decoder(stream: Any) -> str | None:
    """Return the decoder that a stream's transparency asks for; None: FFmpeg's own gives all there is."""
    # Written by the container as alpha_mode, and by a tag that some muxers add as ALPHA_MODE.
    if "1" not in (value for key, value in stream.metadata.items() if key.lower() == "alpha_mode"):
        return None
    return _WITH_ALPHA.get(stream.codec_context.codec.canonical_name)


def decoded(container: av.container.InputContainer, stream: Any) -> Iterator[av.VideoFrame]:
    """Yield a video stream's frames in order, from where the file is.

    Raises:
        av.FFmpegError: A frame is damaged.
    """
    name = alpha_decoder(stream)
    if name is None:
        yield from container.decode(stream)
        return
    context: Any = av.CodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    context.options = dict(stream.codec_context.options)
    context.thread_count = stream.codec_context.thread_count
    for packet in container.demux(stream):
        yield from context.decode(packet)
