"""What segments cost, in time and bytes, against the same job in one piece.

Usage: python benchmarks/segments.py CLIP... [--codec libx264] [--lengths 30 60 120 240 480] [--rounds 3]

Each clip is made smaller (--height), played forwards and backwards in turn until there are --frames frames,
and coded nearly without loss, with a key frame every --keys frames and nowhere else. So nothing happens where
segments begin, which is the worst case: at a cut between scenes an encoder begins anew by itself. Then it is
enlarged in one piece and in segments of each length, each run a process of its own. A round goes through the
lengths in turn, every other one backwards. Time is the CPU time of the process from the job's begin to its
end: the median over rounds of its ratio to the run in one piece of the same round; "wall" is the same of wall
time. Bytes are those of the video's packets. An encoder may spend less and give less, so "at equal PSNR"
sets the loss of PSNR (all luma, against the same frames without loss) off at the price of a dB between two
crf.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

import vidsr

_RUN = """
import json, os, sys, time
from pathlib import Path
import vidsr
import vidsr.video.video_sink as sinks
made, record = [], sinks.VideoSink._record
def noting(self, part):
    made.append(len(part.pts))
    record(self, part)
sinks.VideoSink._record = noting
job = vidsr.Job.load(Path(sys.argv[1]))
wall, before = time.perf_counter(), os.times()
vidsr.run(job)
wall, after = time.perf_counter() - wall, os.times()
print(json.dumps([sum(after[:2]) - sum(before[:2]), wall, len(made)]))
"""


def to_and_fro(clip: Path, height: int) -> Iterator[av.VideoFrame]:
    """Yield a clip's frames forwards and backwards without end."""
    with av.open(str(clip)) as file:
        stream = file.streams.video[0]
        width = round(stream.width * height / stream.height / 2) * 2
        frames = [f.reformat(width, height, "yuv420p", interpolation="AREA") for f in file.decode(stream)]
    while True:
        yield from frames[:-1]
        yield from frames[:0:-1]


def lengthen(clip: Path, target: Path, *, frames: int, height: int, keys: int) -> None:
    """Write a long clip of a short one, at its frame rate."""
    rate = Fraction(vidsr.probe(clip).frame_rate or 25).limit_denominator(1001)
    options = {"crf": "8", "preset": "veryfast", "x264-params": f"keyint={keys}:min-keyint={keys}:scenecut=0"}
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options=options)
        for number, frame in enumerate(islice(to_and_fro(clip, height), frames)):
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pts, frame.time_base, frame.pict_type = number, 1 / rate, av.video.frame.PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@dataclass(frozen=True)
class Run:
    """What one run took and gave."""

    cpu: float
    wall: float
    segments: int
    size: int


def one_run(job: vidsr.Job) -> Run:
    """Do a job in a process of its own."""
    output = job.output or Path()
    file = output.with_name("job.toml")
    file.write_text(job.to_toml(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(file)], stdout=subprocess.PIPE, text=True, check=True
    )
    cpu, wall, segments = json.loads(done.stdout)
    with av.open(str(output)) as result:
        return Run(cpu, wall, segments, sum(packet.size for packet in result.demux(video=0)))


def psnr(result: Path, exact: Path) -> float:
    """Return the PSNR of all luma of a video against another."""
    errors = []
    with av.open(str(result)) as a, av.open(str(exact)) as b:
        for frame, other in zip(a.decode(video=0), b.decode(video=0), strict=True):
            luma, wanted = (f.to_ndarray()[: f.height].astype(np.int16) for f in (frame, other))
            errors.append(np.square(luma - wanted).mean())
    return float(10 * np.log10(255**2 / np.mean(errors)))


def measure(source: Path, lengths: list[int], rounds: int, options: dict[str, Any]) -> list[str]:
    """Return a row of the table for each length but the first, without the clip's name."""
    output, exact = source.with_name("out.mp4"), source.with_name("exact.mkv")
    vidsr.run(vidsr.Job(source=source, output=exact, **options | {"codec": "ffv1", "crf": None}))
    runs: dict[int, list[Run]] = {length: [] for length in lengths}
    quality: dict[int, float] = {}
    for number in range(rounds):
        for length in lengths[:: -1 if number % 2 else 1]:
            job = vidsr.Job(source=source, output=output, segment_frames=length, overwrite=True, **options)
            run = one_run(job)
            runs[length].append(run)
            if length not in quality:
                quality[length] = psnr(output, exact)
            print(source.stem, length, run, quality[length], file=sys.stderr, flush=True)
    (first, whole), *others = runs.items()
    coarser = options | {"crf": options["crf"] + 1}
    worse = one_run(vidsr.Job(source=source, output=output, segment_frames=first, overwrite=True, **coarser))
    # Bytes a dB: the logarithm of their ratio.
    price = np.log(whole[0].size / worse.size) / (quality[first] - psnr(output, exact))
    rows = []
    for length, taken in others:
        pairs = list(zip(taken, whole, strict=True))
        cpu = statistics.median(run.cpu / one.cpu - 1 for run, one in pairs)
        wall = statistics.median(run.wall / one.wall - 1 for run, one in pairs)
        size, gain = taken[0].size / whole[0].size, quality[length] - quality[first]
        equal = size / np.exp(gain * price)
        rows.append(
            f"{length} | {taken[0].segments} | {cpu:+.1%} | {wall:+.1%}"
            f" | {size - 1:+.1%} | {gain:+.2f} | {equal - 1:+.1%} |"
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--crf", type=float, default=18)
    parser.add_argument("--lengths", nargs="+", type=int, default=[30, 60, 120, 240, 480])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=1680)
    parser.add_argument(
        "--height", type=int, default=120, help="of the source; the result has twice as many rows"
    )
    parser.add_argument("--keys", type=int, default=30)
    parser.add_argument("--model", default="ecbsr-m4c8")
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    job = {
        "codec": arguments.codec,
        "crf": arguments.crf,
        "model": arguments.model,
        "backend": arguments.backend,
    }
    rows = []
    for clip in arguments.clips:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"{clip.stem}.mkv"
            lengthen(clip, source, frames=arguments.frames, height=arguments.height, keys=arguments.keys)
            found = measure(source, [arguments.frames, *arguments.lengths], arguments.rounds, job)
            rows += [f"| {clip.stem} | {arguments.codec} | {row}" for row in found]
    print("| clip | codec | frames | segments | CPU time | wall | bytes | PSNR, dB | bytes at equal PSNR |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
