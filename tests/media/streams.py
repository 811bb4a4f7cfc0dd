"""Small files with many streams: sound of many codecs, subtitles, pictures, data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from synth import make_clip

from vidsr.video.opening import LENIENT

RATE = 48000


@contextmanager
def extended(source: Path, target: Path, form: str | None = None) -> Iterator[tuple[Any, list[Any]]]:
    """Copy a file, with what the block adds: streams to the output, and calls for after the copying."""
    later: list[Callable[[], None]] = []
    with av.open(str(source)) as file, av.open(str(target), "w", format=form) as out:
        copies = {}
        for stream in file.streams:
            copy = out.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            copies[stream.index] = copy
        yield out, later
        out.start_encoding()
        for packet in file.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
        for call in later:
            call()


def add_tone(
    out: Any,
    later: list[Callable[[], None]],
    codec: str,
    *,
    rate: int = RATE,
    layout: str = "stereo",
    seconds: float = 0.5,
) -> Any:
    """Add a tone in a codec to what `extended` yields."""
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}; version 18 has it")
    stream = out.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
    if codec == "libopencore_amrnb":
        stream.bit_rate = 12200
    if codec.startswith("wma"):
        stream.bit_rate = 128000

    def encode() -> None:
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=rate)
        for start in range(0, int(rate * seconds) - size + 1, size):
            wave = (np.sin((np.arange(size) + start) * (2 * np.pi * 440 / rate)) * 8000).astype(np.int16)
            channels = 1 if layout == "mono" else 2
            samples = np.repeat(wave[:, None], channels, axis=1).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for part in resampler.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))

    later.append(encode)
    return stream


def add_packets(
    out: Any, later: list[Callable[[], None]], codec: str, cues: Sequence[tuple[int, int, bytes]]
) -> Any:
    """Add subtitles as packets: (begin, length, data), in ms."""
    stream = out.add_mux_stream(codec, time_base=Fraction(1, 1000))

    def mux() -> None:
        for begin, length, data in cues:
            packet = av.Packet(data)
            packet.pts = packet.dts = begin
            packet.duration, packet.time_base, packet.stream = length, Fraction(1, 1000), stream
            out.mux(packet)

    later.append(mux)
    return stream


def picture(codec: str) -> bytes:
    """Return a picture of 32x32: mjpeg or png."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.time_base = 32, 32, Fraction(1, 25)
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    frame = av.VideoFrame(32, 32, context.pix_fmt)
    frame.pts = 0
    for plane in frame.planes:
        plane.update(bytes(range(256)) * (plane.buffer_size // 256) + bytes(plane.buffer_size % 256))
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def add_cover(out: Any, later: list[Callable[[], None]], folder: Path, codec: str) -> None:
    """Add a picture as cover art: MP4's way."""
    file = folder / f"picture.{codec}"
    file.write_bytes(picture(codec))
    with av.open(str(file), format="image2", options={"pattern_type": "none"}) as source:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
    stream.disposition = av.stream.Disposition.attached_pic

    def mux() -> None:
        packet = av.Packet(file.read_bytes())
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream = Fraction(1, 25), stream
        out.mux(packet)

    later.append(mux)


def add_video(out: Any, later: list[Callable[[], None]], source: Path) -> Any:
    """Add another video track, of a file that is kept open until it is copied."""
    file = av.open(str(source))
    stream = out.add_stream_from_template(file.streams.video[0], opaque=True)

    def copy() -> None:
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
        file.close()

    later.append(copy)
    return stream


def make_gopro(path: Path) -> Path:
    """Write an MP4 file with a track of telemetry, tag gpmd: a text track under other names."""
    data = bytearray(make_clip(path, times=10, subtitles="mov_text").read_bytes())
    for old, new in ((b"tx3g", b"gpmd"), (b"sbtl", b"meta")):
        place = data.index(old)
        data[place : place + 4] = new
    path.write_bytes(data)
    return path


def packets_of(path: Path, index: int) -> list[bytes]:
    """Return the data of a stream's packets."""
    with av.open(str(path), **LENIENT) as file:
        return [bytes(packet) for packet in file.demux(file.streams[index]) if packet.size]


def decoded_sound(path: Path, index: int) -> tuple[int, bytes]:
    """Return the number of samples of a stream, and all of them."""
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray().tobytes() for frame in file.decode(file.streams[index])]
        return sum(map(len, frames)), b"".join(frames)


def codecs_of(path: Path) -> list[str]:
    """Return the codec of each stream; "attachment" for attached files, "data" for data."""
    with av.open(str(path), **LENIENT) as file:
        return [
            "cover"
            if s.disposition & av.stream.Disposition.attached_pic
            else s.codec_context.codec.canonical_name
            if s.codec_context
            else s.type
            for s in file.streams
        ]
