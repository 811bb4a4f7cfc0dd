"""Clips whose frames are woven of two fields, and what a camera saw at the time of each field."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
from synth import add_sound

import vidsr
from vidsr.frame import PixelFormat
from vidsr.video.deinterlace import Deinterlacing, in_fields
from vidsr.video.formats import new_frame
from vidsr.video.reader import Reader, Span

SIZE = (96, 64)
MOVING = slice(0, 32)
"""Rows of luma with a bar that moves from field to field."""
STILL = slice(44, 64)
"""Rows of luma that stay, with detail from row to row, out of reach of what moves."""


Luma = list[tuple[int, np.ndarray]]
"""pts and luma of frames."""


def luma_at(field: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return luma [H, W] at the time of a field, counted from 0 over the clip."""
    width, height = size
    luma = np.full((height, width), 40, np.uint8)
    # Noise of its own at each time: what was made with wrong neighbours looks another way.
    luma[33:37] = np.random.default_rng(field).integers(36, 52, (4, width))
    luma[40:] = np.random.default_rng(7).integers(16, 236, (height - 40, width))
    left = 4 + 3 * field % (width - 16)
    luma[MOVING, left : left + 8] = 220
    return luma


def woven(frame: int, kind: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return luma of a frame: kind t, top field first; b, bottom field first; p, progressive."""
    luma = luma_at(2 * frame, size)
    if kind != "p":
        late = int(kind == "t")  # the row at which the second field begins
        luma[late::2] = luma_at(2 * frame + 1, size)[late::2]
    return luma


def make_fields(
    path: Path,
    kinds: str,
    *,
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    sizes: Sequence[tuple[int, int]] | None = None,
    formats: Sequence[str] | None = None,
    sound: bool = False,
    options: dict[str, str] | None = None,
    flagged: str = "",
) -> Path:
    """Write a lossless H.264 clip, a letter of `kinds` a frame (see `woven`).

    It is flagged as it is, or all of it as the letter `flagged` says.

    Where kind, size or format changes on the way, another encoder goes on: that needs MPEG-TS.
    """
    flags = flagged * len(kinds) or kinds
    times = range(len(kinds)) if times is None else times
    sizes = [SIZE] * len(kinds) if sizes is None else sizes
    formats = ["yuv420p"] * len(kinds) if formats is None else formats
    looks = list(zip(flags, sizes, formats, strict=True))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        _prepare(stream.codec_context, *looks[0], time_base, options)
        audio = out.add_stream("aac", rate=48000, layout="stereo") if sound else None
        out.start_encoding()
        context = stream.codec_context
        for number, (look, pts) in enumerate(zip(looks, times, strict=True)):
            kind, size, layout = look
            if number and look != looks[number - 1]:
                _mux(out, stream, context.encode(None), time_base)
                context = av.CodecContext.create("libx264", "w")
                _prepare(context, *look, time_base, options)
            frame, planes = new_frame(PixelFormat.parse(layout), *size)
            planes[0][:] = woven(number, kinds[number], size)
            planes[1][:], planes[2][:] = 110, 140
            frame = _flagged(frame, kind)
            frame.pts, frame.time_base = pts, time_base
            _mux(out, stream, context.encode(frame), time_base)
        _mux(out, stream, context.encode(None), time_base)
        if audio is not None:
            add_sound(out, audio, float((times[-1] + 1) * time_base))
    return path


def _flagged(frame: av.VideoFrame, kind: str) -> av.VideoFrame:
    """Return a frame with its field order, which x264 takes from there and PyAV has no name for."""
    graph = av.filter.Graph()
    source = graph.add(
        "buffer", video_size=f"{frame.width}x{frame.height}", pix_fmt=frame.format.name, time_base="1/25"
    )
    order = graph.add("setfield", mode={"t": "tff", "b": "bff", "p": "prog"}[kind])
    sink = graph.add("buffersink")
    source.link_to(order)
    order.link_to(sink)
    graph.configure()
    source.push(frame)
    return sink.pull()


def _prepare(
    context: av.CodecContext,
    kind: str,
    size: tuple[int, int],
    layout: str,
    time_base: Fraction,
    options: dict[str, str] | None,
) -> None:
    order = {"t": ":tff=1", "b": ":bff=1", "p": ""}[kind]
    context.width, context.height = size
    context.pix_fmt, context.time_base, context.framerate = layout, time_base, Fraction(25)
    context.options = {"qp": "0", "preset": "veryfast"} | (options or {})
    context.options = context.options | {"x264-params": f"bframes=0{order}"}


def _mux(
    out: av.container.OutputContainer, stream: av.VideoStream, packets: list[av.Packet], time_base: Fraction
) -> None:
    for packet in packets:
        packet.time_base, packet.stream = time_base, stream
        out.mux(packet)


def job(source: Path, output: Path, **options: object) -> vidsr.Job:
    """Return a job that a lossless encoder does, in segments of four frames."""
    fixed = {"backend": "nearest", "segment_frames": 4, "preset": "ultrafast", "crf": 0.0}
    return vidsr.Job(source=source, output=output, **fixed | options)


def read(path: Path, mode: str, span: Span | None = None, after: int | None = None) -> tuple[Luma, Reader]:
    """Return pts and luma of all frames, and the reader."""
    info = vidsr.probe(path)
    reader = Reader(
        in_fields(info) if mode == "field" else info, span, after=after, deinterlace=Deinterlacing(mode)
    )
    with reader:
        return [(frame.pts, frame.planes[0].copy()) for frame in reader], reader


def same(one: Luma, other: Luma) -> bool:
    """Return whether times and samples are equal."""
    return [pts for pts, _ in one] == [pts for pts, _ in other] and all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True)
    )
