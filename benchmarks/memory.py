"""Peak memory of a job against a plain swscale upscale into the same encoder, and of the network alone.

Usage: python benchmarks/memory.py [CLIP] [--frames 60] [--preset ultrafast] [--model ecbsr-m4c8]

Without a clip one of 7680x4320 is made. Each row is a process of its own; its peak is VmHWM, what was
resident at most. "network" is what opening the network and one frame through it add to a process that holds
the frame and the result. What vidsr may take is the plain job, the network's need and 150 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av

_PEAK = """
def peak(name="VmHWM"):
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) / 1024
"""

_PLAIN = """
import sys, av
from fractions import Fraction
from pathlib import Path
source, output, frames, preset = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
with av.open(source) as a, av.open(output, "w") as b:
    video = a.streams.video[0]
    video.thread_type = "AUTO"
    made = b.add_stream("libx264", rate=25, options={"crf": "18", "preset": preset})
    made.codec_context.thread_count = 2
    made.width, made.height, made.pix_fmt = video.width * 2, video.height * 2, "yuv420p"
    for number, frame in enumerate(a.decode(video)):
        if number == frames:
            break
        out = frame.reformat(made.width, made.height, interpolation="BICUBIC")
        out.pts, out.time_base, out.pict_type = number, Fraction(1, 25), 0
        b.mux(made.encode(out))
        del frame, out
    b.mux(made.encode(None))
"""

_JOB = """
import sys
from pathlib import Path
import vidsr
vidsr.run(vidsr.Job(source=Path(sys.argv[1]), output=Path(sys.argv[2]), frames=int(sys.argv[3]),
    preset=sys.argv[4], encoder_threads=2, **OPTIONS))
"""

_NETWORK = """
import sys
from pathlib import Path
import vidsr
from vidsr.heap import give_back_large_blocks
from vidsr.rehearsal import open_upscaler
from vidsr.planning import make_plan
job = vidsr.Job(source=Path(sys.argv[1]), output=Path("null:"), **OPTIONS)
plan = make_plan(job)
size = (plan.info.width, plan.info.height)
planes, out = (plan.info.pixel_format.allocate(*s) for s in (size, plan.target.size))
for plane in (*planes, *out):
    plane[:] = 100
give_back_large_blocks()
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before = peak("VmRSS")
with open_upscaler(job, plan) as upscaler:
    upscaler.submit(planes, out).result()
    need = peak() - before
"""


def peak_of(code: str, *arguments: object, value: str = "peak()") -> float:
    """Return MiB that a Python program tells of itself."""
    program = f"{_head(code)}\nimport json\nprint(json.dumps({value}))"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _head(code: str) -> str:
    return "from pathlib import Path\n" + _PEAK + code


def make_source(path: Path, frames: int) -> Path:
    """Write a clip of 7680x4320 that moves a little."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame(7680, 4320, "yuv420p")
            for number, plane in enumerate(frame.planes):
                row = bytes((x // 8 + index + number) % 200 + 20 for x in range(plane.line_size))
                plane.update(row * plane.height)
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--preset", default="ultrafast")
    parser.add_argument("--model", default="ecbsr-m4c8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = options.clip or make_source(Path(folder) / "in.mp4", options.frames)
        rest = (options.frames, options.preset)
        plain = peak_of(_PLAIN, source, Path(folder) / "plain.mp4", *rest)
        rows = [("plain swscale", plain, 0.0)]
        for name, choice in (("nearest", {"backend": "nearest"}), (options.model, {"model": options.model})):
            need = peak_of(_NETWORK.replace("OPTIONS", repr(choice)), source, value="need")
            took = peak_of(_JOB.replace("OPTIONS", repr(choice)), source, Path(folder) / f"{name}.mp4", *rest)
            rows.append((f"vidsr, {name}", took, need))
    print("| | peak MiB | network MiB | above plain and network MB |")
    print("|---|---|---|---|")
    for name, took, need in rows:
        print(f"| {name} | {took:.0f} | {need:.0f} | {(took - plain - need) * 1.048576:.0f} |")


if __name__ == "__main__":
    main()
