"""Small media files made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidsr.frame import PixelFormat
from vidsr.video.formats import new_frame

SUBTITLES = ((0, 400, "first words"), (500, 900, "more words"))


def planes_at(layout: PixelFormat, size: tuple[int, int], index: int) -> list[np.ndarray]:
    """Return planes with structure in both directions that moves with the frame's index."""
    planes = []
    for number, (rows, columns) in enumerate(layout.plane_shapes(*size)):
        y, x = np.mgrid[:rows, :columns]
        wave = (
            np.sin((x + 3 * index) / 5.0 + number) + np.cos((y - 2 * index) / 7.0) + ((x * 7 + y * 3) % 5) / 5
        )
        span = wave / 3.2 * 0.4 + 0.5
        planes.append((span * layout.peak).clip(0, layout.peak).astype(layout.dtype))
    return planes


def make_clip(
    path: Path,
    *,
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] | int = 10,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    sound: bool = False,
    subtitles: str = "",
    colors: tuple[int, int, int, int] = (1, 1, 1, 1),
    aspect: Fraction | None = None,
    rotation: int = 0,
    chapters: bool = False,
    title: str = "",
    tags: dict[str, str] | None = None,
) -> Path:
    """Write a clip; `times` are pts or their number, `colors` range, matrix, primaries and transfer."""
    stamps = list(range(times)) if isinstance(times, int) else list(times)
    layout = PixelFormat.parse(pixel_format)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25, options=options or {})
        video.width, video.height = size
        video.pix_fmt = pixel_format
        context = video.codec_context
        context.time_base = time_base
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = colors
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        audio = out.add_stream("aac", rate=48000, layout="stereo") if sound else None
        text = out.add_mux_stream(subtitles, time_base=Fraction(1, 1000)) if subtitles else None
        for stream, language in ((audio, "fra"), (text, "ita")):
            if stream is not None:
                stream.metadata["language"] = language
        out.metadata.update(tags or {})
        if title:
            out.metadata["title"] = title
        if chapters:
            half = {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000)}
            rest = {"id": 2, "start": 200, "end": 400, "time_base": Fraction(1, 1000)}
            out.set_chapters([half | {"metadata": {"title": "one"}}, rest | {"metadata": {"title": "two"}}])
        out.start_encoding()
        for index, pts in enumerate(stamps):
            frame, planes = new_frame(layout, *size)
            for plane, values in zip(planes, planes_at(layout, size, index), strict=True):
                plane[:] = values
            frame.pts, frame.time_base = pts, time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            add_sound(out, audio, float((stamps[-1] + 1) * time_base))
        if text is not None:
            for start, stop, words in SUBTITLES:
                packet = av.Packet(_wrapped(words, subtitles))
                packet.pts = packet.dts = start
                packet.duration, packet.time_base, packet.stream = stop - start, Fraction(1, 1000), text
                out.mux(packet)
    return path


def add_sound(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    """Add a tone to a file whose header is written."""
    for start in range(0, int(seconds * 48000), 1024):
        phase = (np.arange(1024) + start) * (2 * np.pi * 440 / 48000)
        wave = (np.sin(phase) * 0.3).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _wrapped(words: str, codec: str) -> bytes:
    data = words.encode()
    return len(data).to_bytes(2, "big") + data if codec == "mov_text" else data
