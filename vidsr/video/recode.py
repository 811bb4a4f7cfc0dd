"""Frames through an encoder and back: what compression does to them.

For training models on compressed video and for measuring them on it, so it is repeatable: no threads unless
asked for, and nothing between the planes and the encoder. `recode` stays in memory and is cheap to start;
`write_coded` makes a file, for clips that are too long to be held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.codec
import numpy as np

from vidsr.errors import EncodeError, OptionsError
from vidsr.frame import PixelFormat, Planes
from vidsr.video.coding import encoder_formats
from vidsr.video.formats import new_frame, planes_of
from vidsr.video.priority import ordinary_priority

__all__ = ["Recoded", "recode", "write_coded"]

_X264_PRESETS = "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo".split()
_PRESETS = {"libx264": _X264_PRESETS, "libx265": _X264_PRESETS}

_DECODERS = {"av1": "libdav1d"}  # FFmpeg's own needs hardware


@dataclass(frozen=True, slots=True)
class Recoded:
    """What came back."""

    frames: list[Planes]
    """As many as went in, in the same order: views of the decoder's buffers, whose rows may be padded."""
    bytes: int
    """Of the coded stream, its headers included (x264 writes about 700 bytes about itself)."""


def recode(
    frames: Iterable[Planes],
    pixel_format: PixelFormat,
    *,
    codec: str = "libx264",
    crf: float | None = None,
    preset: str | None = "medium",
    options: Mapping[str, str] | None = None,
    frame_rate: Fraction = Fraction(25),
    threads: int = 1,
) -> Recoded:
    """Encode frames, decode what comes out, and return it.

    With `threads` 1 equal frames give equal results. x264's ``mbtree`` is an exception at some widths, where
    it reads memory that it never set: the option ``mbtree=0`` makes those repeatable as well.

    Args:
        frames: Planes of one size and of `pixel_format`; each is read before the next is asked for.
        pixel_format: Must be one that the encoder takes; nothing is converted.
        codec: FFmpeg's name of an encoder.
        crf: Its constant-quality value; None: its own default, or none where it knows no such thing.
        preset: The encoder's preset; None: its own default.
        options: Further options of the encoder, such as ``{"g": "12", "bf": "3"}``. ``x265-params`` are added
            to those that keep x265 to itself.
        frame_rate: Frames a second; constant-quality coders judge motion by it.
        threads: Of the encoder and of the decoder; 0: as many as FFmpeg likes.

    Raises:
        OptionsError: There is no frame, the encoder is unknown, or does not take an option, the pixel format
            or the size.
        EncodeError: The encoder or the decoder failed, or another number of frames came back.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise OptionsError("there is no frame to encode")
    height, width = first[0].shape
    wanted = _options(codec, crf, preset, options or {}, threads)
    _check_format(codec, pixel_format)
    encoder: Any = av.CodecContext.create(codec, "w")
    _open_encoder(encoder, pixel_format, (width, height), wanted, frame_rate, threads)
    name = encoder.codec.canonical_name
    decoder: Any = av.CodecContext.create(_DECODERS.get(name, name), "r")
    decoder.thread_count = threads
    decoder.width, decoder.height = width, height
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    count, size, back = 0, 0, []
    try:
        for packet in _packets(encoder, first, iterator, pixel_format, (width, height)):
            if packet is not None:
                size += packet.size
                count += 1
            back += decoder.decode(packet)
    except (av.FFmpegError, OSError) as error:
        raise EncodeError(f"{codec} failed on {width}x{height} frames ({error.strerror})") from error
    if len(back) != count or [f.pts for f in back] != sorted({f.pts for f in back}):
        raise EncodeError(f"{codec} made {count} frames, of which {len(back)} could be decoded")
    return Recoded([_planes(frame, pixel_format, codec) for frame in back], size)


def write_coded(
    path: Path,
    frames: Iterable[Planes],
    pixel_format: PixelFormat,
    *,
    codec: str = "libx264",
    crf: float,
    preset: str | None = "medium",
    frame_rate: Fraction = Fraction(25),
    threads: int = 1,
) -> int:
    """Encode frames into a file and return the coded stream's bytes; the pictures are those of `recode`.

    They play at a constant rate, and the file holds nothing else.

    Args:
        path: The file; its suffix names the container.
        frames: As for `recode`; only what the encoder looks ahead is held at once.
        pixel_format: As for `recode`, and so are the others.
        codec: FFmpeg's name of an encoder.
        crf: Its constant-quality value.
        preset: The encoder's preset; None: its own default.
        frame_rate: Frames a second.
        threads: Of the encoder; 0: as many as FFmpeg likes.

    Raises:
        OptionsError: As `recode`; or the container does not hold the codec.
        EncodeError: The encoder failed, or the file cannot be written.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise OptionsError("there is no frame to encode")
    height, width = first[0].shape
    wanted = _options(codec, crf, preset, {}, threads)
    _check_format(codec, pixel_format)
    size = 0
    try:
        with av.open(str(path), "w") as out:
            try:
                stream: Any = out.add_stream(codec, rate=frame_rate)
            except ValueError as error:
                raise OptionsError(f"{codec} cannot be put into {path.suffix} files") from error
            _open_encoder(stream.codec_context, pixel_format, (width, height), wanted, frame_rate, threads)
            for packet in _packets(stream.codec_context, first, iterator, pixel_format, (width, height)):
                if packet is not None:
                    size += packet.size
                    packet.stream = stream
                    out.mux(packet)
    except (av.FFmpegError, OSError) as error:
        raise EncodeError(f"{codec} failed on {width}x{height} frames ({error.strerror})") from error
    return size


def _check_format(codec: str, layout: PixelFormat) -> None:
    known = encoder_formats(codec)
    if known and layout.name not in known:
        raise OptionsError(f"{codec} cannot encode '{layout.name}'", hint=f"it takes {', '.join(known)}")


def _packets(
    encoder: Any, first: Planes, rest: Iterator[Planes], layout: PixelFormat, size: tuple[int, int]
) -> Iterator[Any]:
    """Yield each packet, then None. All frames are in when this ends.

    Raises:
        EncodeError: Frames got lost on the way.
    """
    given = made = 0
    planes: Planes | None = first
    while planes is not None:
        frame, target = new_frame(layout, *size)
        try:
            layout.check(planes, *size)
        except ValueError as error:
            raise OptionsError(f"frame {given} differs from the first: {error}") from error
        for one, other in zip(planes, target, strict=True):
            np.copyto(other, one)
        frame.pts, frame.time_base = given, encoder.time_base
        given += 1
        for packet in encoder.encode(frame):
            made += 1
            yield packet
        planes = next(rest, None)
    for packet in encoder.encode(None):
        made += 1
        yield packet
    if made != given:
        raise EncodeError(f"{encoder.name} took {given} frames and gave {made}")
    yield None


def _open_encoder(
    context: Any,
    layout: PixelFormat,
    size: tuple[int, int],
    options: dict[str, str],
    frame_rate: Fraction,
    threads: int,
) -> None:
    name = context.name  # which PyAV 19 cannot tell of a context that did not open
    context.width, context.height = size
    context.pix_fmt = layout.name
    context.framerate, context.time_base = frame_rate, 1 / frame_rate
    context.thread_count = threads
    context.options = options
    try:
        with ordinary_priority():
            context.open()
    except (av.FFmpegError, OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        told = ", ".join(f"{k}={v}" for k, v in options.items()) or "no options"
        raise OptionsError(
            f"{name} cannot encode {size[0]}x{size[1]} {layout.name} with {told} ({detail})"
        ) from error
    if unknown := sorted(context.options):
        raise OptionsError(f"{name} does not know the option '{unknown[0]}'")


def _options(
    codec: str, crf: float | None, preset: str | None, further: Mapping[str, str], threads: int
) -> dict[str, str]:
    options = dict(further)
    if crf is not None:
        options["crf"] = f"{crf:g}"
    if preset is not None:
        # x264 itself writes to stderr when it is given another.
        known = _PRESETS.get(codec)
        if known and preset not in known:
            raise OptionsError(f"{codec} has no preset '{preset}'", hint=f"it has {', '.join(known)}")
        options["preset"] = preset
    if codec == "libx265":
        own = "log-level=error" + (":pools=none:frame-threads=1" if threads == 1 else "")
        options["x265-params"] = ":".join(filter(None, (own, options.get("x265-params"))))
    return options


def _planes(frame: av.VideoFrame, layout: PixelFormat, codec: str) -> Planes:
    """Return the frame's planes, as they are or not at all."""
    name = frame.format.name.replace("yuvj", "yuv")
    # Some decoders give gray pictures empty chroma.
    gray = layout.family == "gray" and PixelFormat.parse(name).bit_depth == layout.bit_depth
    if name != layout.name and not gray:
        raise EncodeError(f"{codec} was given {layout.name} and {name} was decoded")
    return planes_of(frame)[: layout.plane_count]
