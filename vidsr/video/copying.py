"""Adding a stream to a file as a copy of another's, and which muxers take it."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

__all__ = ["COVERS", "FORMS", "add_copy", "fitting_forms"]

FORMS = ("mp4", "mov", "matroska", "webm")
"""FFmpeg's names of the muxers that vidsr writes with."""

COVERS = {"mp4": ("mjpeg", "png", "bmp"), "matroska": ("mjpeg", "png", "gif", "tiff")}
"""Codecs of pictures that are read back as cover art. QuickTime's muxer drops them without a word."""

# A codec that the muxer takes, to begin a stream with whose parameters are then replaced.
_STAND_INS = {
    ("audio", "webm"): "opus",
    ("subtitle", "matroska"): "subrip",
    ("subtitle", "webm"): "webvtt",
    ("audio", ""): "aac",
    ("subtitle", ""): "mov_text",
    ("video", "webm"): "vp9",
    ("video", ""): "h264",
}


def add_copy(out: Any, stream: Any, codec: str, *, bare: bool = False) -> Any:
    """Add a stream for the packets of `stream` to an output container.

    Args:
        out: The container; its header is not written yet.
        stream: Of an open source.
        codec: `OtherStream.codec` of it.
        bare: Whether to copy the parameters past PyAV's question whether the muxer knows the codec: WAVE's
            codecs fit Matroska, whose muxer says so only to programs that accept what is not official.

    Raises:
        ValueError, av.FFmpegError: The muxer does not take it.
    """
    if bare or (stream.codec_context is None and stream.type in ("audio", "video", "subtitle")):
        if codec == "webvtt":  # where FFmpeg has no name for it, there are no parameters either
            return out.add_mux_stream("webvtt", time_base=stream.time_base)
        kind, form = stream.type, out.format.name
        stand_in = _STAND_INS.get((kind, form)) or _STAND_INS[kind, ""]
        added = out.add_mux_stream(stand_in, time_base=stream.time_base)
        BitStreamFilterContext("null", stream, added)
        return added
    return out.add_stream_from_template(stream, opaque=True)


def fitting_forms(stream: Any, codec: str, *, wave: bool) -> frozenset[str]:
    """Return which of `FORMS` write a header with a copy of `stream`, tried in memory."""
    fits = {form for form in FORMS if _fits(stream, codec, form, bare=wave and form == "matroska")}
    if codec.startswith("pcm_") and stream.layout.name.endswith(" channels"):
        fits.discard("mp4")  # which must say where each channel is heard, and finds out in its trailer
    return frozenset(fits)


def _fits(stream: Any, codec: str, form: str, *, bare: bool) -> bool:
    # Below, codecs that PyAV's template cannot describe raise AttributeError or ValueError.
    out = av.open(io.BytesIO(), "w", format=form)
    try:
        add_copy(out, stream, codec, bare=bare)
        out.start_encoding()
    except (av.FFmpegError, OSError, ValueError, AttributeError):
        return False
    finally:
        # The trailer of a file without packets may be refused; nothing of it is used.
        with suppress(av.FFmpegError, OSError, ValueError):
            out.close()
    return True
