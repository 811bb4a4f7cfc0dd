"""Make examples/clip.mp4: a synthetic landscape with sound, subtitles and chapters, small enough for git.

    python examples/make_clip.py [clip.mp4]

The scene is drawn at 640x360 and shrunk to 320x180, so there is fine detail to restore: stone, conifers,
grass, a lattice in motion, a striped balloon, and text from large to hardly legible. A lamp flashes and
a click sounds once a second, which shows whether sound and picture are still together. Everything comes
from numpy, matplotlib (extra ``dev``) and one seed; nothing is read from a file.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scenery import (
    HEIGHT,
    MILL_X,
    MILL_Y,
    SIGN_X,
    WIDTH,
    balloon,
    forest,
    lamp,
    meadow,
    mountains,
    over,
    sails,
    sky,
    window,
)

from vidsr.evaluation.bicubic import downscale

RATE, SECONDS = 24, 6
TRAVEL = 264  # pixels that the foreground moves in the whole clip
SOUND_RATE = 48000
CUES = [
    (0.5, 1.75, "A meadow below the mountains"),
    (2.5, 1.75, "The mill turns,"),
    (4.5, 1.25, "the lamp ticks."),
]


def frames() -> list[NDArray[np.uint8]]:
    """Return all pictures, [180, 320, 3] each."""
    back, hills = sky(WIDTH + 40), mountains(WIDTH + 80)
    wood, front, flyer = forest(WIDTH + 150), meadow(WIDTH + TRAVEL + 4), balloon()
    glow = lamp()
    count = RATE * SECONDS
    pictures = []
    for k in range(count):
        t = k / count
        picture = window(back, 20 * t).copy()
        over(picture, window(hills, 60 * t))
        over(picture, flyer, round(60 + 330 * t), round(34 + 14 * np.sin(2 * np.pi * t)))
        over(picture, window(wood, 130 * t))
        over(picture, sails(0.2 + 1.1 * k / RATE), round(MILL_X - 130 * t) - 60, MILL_Y - 62)
        over(picture, window(front, TRAVEL * t))
        if k % RATE < 2:
            over(picture, glow, round(SIGN_X + 112 - TRAVEL * t) - 30, 140 - 30)
        codes = np.rint(np.clip(picture[..., :3], 0, 1) * 255).astype(np.uint8)
        pictures.append(downscale(codes, 2))
    return pictures


def sound() -> NDArray[np.float32]:
    """Return stereo sound [2, samples]: plucked chords, and a click at every whole second."""
    total = np.zeros((2, SOUND_RATE * SECONDS), dtype=np.float64)
    chords = [
        (57, 60, 64, 69),
        (53, 57, 60, 65),
        (55, 59, 62, 67),
        (48, 55, 60, 64),
        (53, 57, 60, 69),
        (48, 55, 60, 72),
    ]
    for second, chord in enumerate(chords):
        for i, note in enumerate((*chord, *chord[::-1])):
            start = int((second + i / 8) * SOUND_RATE)
            t = np.arange(total.shape[1] - start) / SOUND_RATE
            pitch = 440 * 2 ** ((note - 69) / 12)
            tone = sum(np.sin(2 * np.pi * pitch * h * t) * np.exp(-t * (2 + 2 * h)) / h for h in range(1, 6))
            pan = 0.5 + 0.3 * np.sin(1.7 * i + second)
            total[:, start:] += 0.11 * np.outer([1 - pan, pan], tone)
        t = np.arange(int(0.03 * SOUND_RATE)) / SOUND_RATE
        click = 0.5 * np.sin(2 * np.pi * 2400 * t) * np.exp(-t * 220)
        total[:, second * SOUND_RATE : second * SOUND_RATE + t.size] += click
    return np.clip(total, -1, 1).astype(np.float32)


def write(path: Path) -> None:
    """Encode everything into one MP4."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        out.metadata.update(title="Mill Meadow", comment="synthetic, made by examples/make_clip.py")
        second = Fraction(1, 1000)
        out.set_chapters(
            [
                {"id": i, "start": a, "end": b, "time_base": second, "metadata": {"title": title}}
                for i, (a, b, title) in enumerate([(0, 3000, "Mountains"), (3000, 6000, "The sign")], 1)
            ]
        )
        # x264's macroblock tree, as built into PyAV 18.1, gives other bytes for other garbage in memory.
        options = {"crf": "15", "preset": "slow", "threads": "1", "x264-params": "mbtree=0"}
        video = out.add_stream("libx264", rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = WIDTH // 2, HEIGHT // 2, "yuv420p"
        context = video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited
        context.time_base = Fraction(1, RATE)
        audio = out.add_stream("aac", rate=SOUND_RATE, layout="stereo", options={"b": "96000"})
        audio.metadata["language"] = "und"
        text = out.add_mux_stream("mov_text", time_base=second)
        text.metadata["language"] = "eng"
        out.start_encoding()
        for k, picture in enumerate(frames()):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = k, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(sound(), "fltp", "stereo")
        block.sample_rate, block.pts, block.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        out.mux(audio.encode(block))
        out.mux(audio.encode(None))
        for start, length, words in CUES:
            body = words.encode()
            packet = av.Packet(len(body).to_bytes(2, "big") + body)
            packet.stream, packet.time_base = text, second
            packet.pts = packet.dts = int(start * 1000)
            packet.duration = int(length * 1000)
            out.mux(packet)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("clip.mp4"))
