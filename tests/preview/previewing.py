"""What the preview's tests share: a server beside the test, a clip that flashes and beeps."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import vidsr.preview.serving as serving
from vidsr.preview.server import Preview
from vidsr.preview.serving import listening, serve

TOKEN = "t" * 32


@contextmanager
def served(preview: Preview) -> Iterator[int]:
    """Serve in a thread; yield the port."""
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    ready, servers = threading.Event(), []

    class Kept(serving._Server):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            servers.append(self)

    with ExitStack() as stack:
        patch = pytest.MonkeyPatch()
        stack.callback(patch.undo)
        patch.setattr(serving, "_Server", Kept)
        thread = threading.Thread(target=serve, args=(preview, listener), kwargs={"ready": ready.set})
        thread.start()
        assert ready.wait(60)
        try:
            yield port
        finally:
            servers[0].should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def flash_and_beep(path: Path, *, seconds: int = 6) -> Path:
    """Each whole second a white picture of 100 ms and a beep of 100 ms."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "g": "30"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        audio = out.add_stream("aac", rate=48000, layout="stereo")
        for index in range(30 * seconds):
            white = index >= 30 and index % 30 < 3
            frame = av.VideoFrame.from_ndarray(
                np.full((96, 160, 3), 235 if white else 16, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, 30)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for start in range(0, 48000 * seconds, 1024):
            place = np.arange(start, start + 1024)
            on = (place >= 48000) & (place % 48000 < 4800)
            wave = (np.sin(place * (2 * np.pi * 1000 / 48000)) * 0.6 * on).astype(np.float32)
            block = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    return path


def words_of(data: bytes) -> tuple[list[dict], list[str]]:
    """Return what is told in a stream, and its boxes' names."""
    words, names, place = [], [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8].decode()
        names.append(kind)
        if kind == "uuid":
            words.append(json.loads(data[place + 24 : place + size]))
        place += size
    assert place == len(data)
    return words, names
