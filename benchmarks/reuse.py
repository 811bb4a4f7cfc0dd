"""What re-use saves on a slide show and a screen recording, and what it costs where nothing repeats.

Usage: python benchmarks/reuse.py [CLIP...] [--frames 200] [--size 1280x720] [--rounds 3] [--backends ...]

Two clips are made and coded with x264: pictures that are held for two seconds, and a desktop where somebody
types, moves the pointer and scrolls once. Clips of the command line are to be natural ones. Each is enlarged
with and without re-use, encoder left out; the table has the network's seconds of both, as the report tells
them, medians over interleaved rounds, and of the job with re-use what was repeated.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

import vidsr
from vidsr.job import NULL_OUTPUT
from vidsr.report import JobReport

RATE = 25
Picture = NDArray[np.uint8]


def slides(width: int, height: int, frames: int) -> Iterator[Picture]:
    """Yield pictures [height, width, 3] of blobs and grain, each held for two seconds."""
    rng = np.random.default_rng(1)
    for index in range(frames):
        if index % (2 * RATE) == 0:
            coarse = rng.integers(20, 235, (height // 60 + 2, width // 60 + 2, 3)).astype(np.float32)
            large = coarse.repeat(60, 0).repeat(60, 1)[:height, :width]
            smooth = sum(np.roll(large, (s, s), (0, 1)) for s in range(0, 60, 10)) / 6
            picture = np.clip(smooth + rng.normal(0, 6, large.shape), 0, 255).astype(np.uint8)
        yield picture


def screen(width: int, height: int, frames: int) -> Iterator[Picture]:
    """Yield a desktop: words appear in a window, a pointer moves in every other second, one scroll."""
    rng = np.random.default_rng(2)
    glyphs = rng.random((40, 10, 6)) < 0.45
    base = np.full((height, width, 3), (60, 90, 120), np.uint8)
    base[: height - 40, 80 : width * 3 // 4] = 250
    text = [rng.integers(0, 40, 60) for _ in range(40)]
    lines, typed, cursor = 12, 0, np.array([height / 2, width * 0.8])

    def write(line: int, letters: NDArray[np.int64]) -> None:
        for place, letter in enumerate(letters):
            y, x = 20 + 16 * line, 100 + 8 * place
            part = base[y : y + 10, x : x + 6]
            if part.shape[:2] == (10, 6):
                part[glyphs[letter]] = 20

    for line in range(lines):
        write(line, text[line])
    for index in range(frames):
        if index == frames // 2:
            base[: height - 40, 80 : width * 3 // 4] = 250
            for line in range(lines):
                write(line, text[line + 5])
            lines, typed = lines, 0
        if index % 4 == 0:
            typed += 1
            write(lines, text[lines][: typed % 60])
        if index // RATE % 2:
            cursor += (2.5, -3.0) if index // RATE % 4 == 1 else (-2.5, 3.0)
        shown = base.copy()
        y, x = map(int, cursor)
        for row in range(16):
            shown[y + row, x : x + 1 + row * 2 // 3] = (0, 0, 0)
        yield shown


def code(path: Path, pictures: Iterator[Picture]) -> Path:
    """Write pictures as an H.264 clip."""
    first = next(pictures)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "medium"})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in (first, *pictures):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def one_run(clip: Path, backend: str, reuse: str, frames: int) -> tuple[float, JobReport]:
    """Return the network's seconds and the report."""
    job = vidsr.Job(source=clip, output=NULL_OUTPUT, backend=backend, reuse=reuse, frames=frames)
    report = vidsr.run(job)
    return next(s.worked for s in report.stages if s.name == "inference"), report


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["kernel", "openvino"])
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    reports: dict[tuple[str, str], JobReport] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = [
            code(Path(folder) / f"{draw.__name__}.mp4", draw(width, height, arguments.frames))
            for draw in (slides, screen)
        ]
        for _ in range(arguments.rounds):
            for clip in (*made, *arguments.clips):
                for backend in arguments.backends:
                    without, _ = one_run(clip, backend, "off", arguments.frames)
                    having, report = one_run(clip, backend, "auto", arguments.frames)
                    seconds.setdefault((clip.name, backend), []).append((without, having))
                    reports[clip.name, backend] = report
                    print(f"{clip.name} {backend} {without:.2f} {having:.2f}", file=sys.stderr, flush=True)
    print("| clip | backend | without | with | times less | repeated | in part | of tiles | comparing |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, backend), runs in seconds.items():
        report = reports[name, backend]
        again, frames = report.reused, report.frames
        without, having = (statistics.median(run[i] for run in runs) for i in (0, 1))
        ratio = statistics.median(one / other for one, other in runs)
        computed = 1 - again.tiles_repeated / again.tiles if again.tiles else 0.0
        comparing = again.comparing / having
        print(
            f"| {name} | {backend} | {without:.2f} s | {having:.2f} s | {ratio:.2f} |"
            f" {again.repeated} of {frames} | {again.in_part} | {computed:.1%} | {comparing:.2%} |"
        )


if __name__ == "__main__":
    main()
