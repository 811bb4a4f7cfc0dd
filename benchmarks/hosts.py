"""How fast vidsr is inside other programs, as a share of the command line's speed without encoding.

Usage: python benchmarks/hosts.py CLIP [--model 2x-ecbsr-m4c16] [--frames 300] [--rounds 5]

`vidsr upscale CLIP -o null:` decodes the clip itself; `vidsr pipe` gets it from an ffmpeg that does, and
writes through a pipe into `cat > /dev/null`. Ways take turns, forwards and backwards; frames a second are
those that each tells of its own run, start-up left out. Printed are medians, and of the ratio to the command
line within a round. Re-use is off: every frame is computed.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable

VIDSR = f"{shlex.quote(sys.executable)} -m vidsr"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a pipeline; the first failure in it is one of the whole."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], check=True, capture_output=True, text=True
    )


def by_command_line(clip: str, frames: int, options: str) -> float:
    """Return frames a second of the command line into nothing."""
    command = f"{VIDSR} upscale {clip} -o null: --frames {frames} --json --no-progress {options}"
    return float(json.loads(shell(command).stdout)["fps"])


def by_pipe(clip: str, frames: int, form: str, options: str) -> float:
    """Return frames a second of the pipe."""
    decode = f"ffmpeg -v error -i {clip} -frames:v {frames} {form} -"
    said = shell(f"{decode} | {VIDSR} pipe --progress {options} | cat >/dev/null").stderr
    return float(re.findall(r"([\d.]+) fps;", said)[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--model", default="2x-ecbsr-m4c16")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    clip, options = shlex.quote(asked.clip), f"--reuse off --model {shlex.quote(asked.model)}"
    ways: dict[str, Callable[[], float]] = {
        "upscale -o null:": lambda: by_command_line(clip, asked.frames, options),
        "pipe, Y4M": lambda: by_pipe(clip, asked.frames, "-strict -1 -f yuv4mpegpipe", options),
        "pipe, NUT": lambda: by_pipe(clip, asked.frames, "-c:v rawvideo -an -f nut", options),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(asked.rounds):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            rates[name].append(ways[name]())
            print(f"round {turn + 1}: {name} {rates[name][-1]:.1f}", file=sys.stderr)
    base = rates["upscale -o null:"]
    print(f"{asked.clip}, {asked.model}, {asked.frames} frames, {asked.rounds} rounds")
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, base, strict=True))
        print(f"{name:17} {statistics.median(found):7.1f} fps  {ratio:6.3f}")


if __name__ == "__main__":
    main()
