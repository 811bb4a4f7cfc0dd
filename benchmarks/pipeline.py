"""The whole pipeline on real clips: frames a second, and how busy the cores were.

Usage: python benchmarks/pipeline.py CLIP... [--rounds 3] [--encode]

Without --encode frames are dropped before the encoder (null sink). "busy" is the CPU time of the process
between the first and the last frame, divided by wall time and the number of usable cores. Rounds are
interleaved over clips and precisions; the median is printed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import vidsr
from vidsr.cores import usable_cores
from vidsr.job import NULL_OUTPUT
from vidsr.pipeline import Progress


def one_run(clip: Path, precision: str, output: Path, frames: int | None) -> tuple[float, float, str]:
    """Return frames a second, the share of the cores that was busy, and what limited the run."""
    marks: list[tuple[int, float, float]] = []

    def note(progress: Progress) -> None:
        if progress.phase == "frames":
            marks.append((progress.frames, time.perf_counter(), time.process_time()))

    job = vidsr.Job(
        source=clip, output=output, precision=precision, preset="veryfast", overwrite=True, frames=frames
    )
    report = vidsr.run(job, progress=note)
    # From the tenth frame on: opening files and filling the queues is not what is measured.
    (first, wall, cpu), (last, wall_end, cpu_end) = marks[min(10, len(marks) - 2)], marks[-1]
    seconds = wall_end - wall
    return (last - first) / seconds, (cpu_end - cpu) / seconds / usable_cores(), report.limited_by


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--encode", action="store_true", help="encode with x264 veryfast as well")
    arguments = parser.parse_args()
    results: dict[tuple[Path, str], list[tuple[float, float, str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.mkv" if arguments.encode else NULL_OUTPUT
        for _ in range(arguments.rounds):
            for clip in arguments.clips:
                for precision in ("bf16", "f32"):
                    run = one_run(clip, precision, output, arguments.frames)
                    results.setdefault((clip, precision), []).append(run)
    print("| clip | precision | fps | cores busy | |")
    print("|---|---|---|---|---|")
    for (clip, precision), runs in results.items():
        fps, busy = (statistics.median(run[i] for run in runs) for i in (0, 1))
        info = vidsr.probe(clip)
        name = f"{clip.name} {info.width}x{info.height}"
        print(f"| {name} | {precision} | {fps:.1f} | {busy:.0%} | {runs[-1][2]} |")


if __name__ == "__main__":
    main()
