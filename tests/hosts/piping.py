"""``vidsr pipe`` as a process, between other programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from required import require

PIPE = [sys.executable, "-m", "vidsr", "pipe"]
NEAREST = ["--backend", "nearest"]


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended."""

    code: int
    out: bytes
    lines: list[str]
    """Of stderr."""


def program(name: str) -> str:
    """Return where a program is, or skip."""
    found = shutil.which(name)
    if found is None:
        require(name, f"there is no {name}; run: apt-get install {name}")
    return str(found)


def ffmpeg(*arguments: str | Path, data: bytes | None = None) -> bytes:
    """Return what FFmpeg writes."""
    command = [program("ffmpeg"), "-v", "error", "-nostdin", *map(str, arguments)]
    if data is not None:
        command.remove("-nostdin")
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def pipe(data: bytes, *options: str) -> Done:
    """Send bytes through ``vidsr pipe``."""
    done = subprocess.run([*PIPE, *options], input=data, capture_output=True, timeout=60, check=False)
    return Done(done.returncode, done.stdout, done.stderr.decode().splitlines())


def piped(data: bytes, *options: str) -> bytes:
    """Return what it makes of them; it must succeed without a word."""
    done = pipe(data, *options)
    assert (done.code, done.lines) == (0, []), done.lines
    return done.out


def hashes(data: bytes | Path, *options: str) -> list[str]:
    """Return the hashes of a video's frames, by FFmpeg."""
    read = [data] if isinstance(data, Path) else ["-"]
    told = ffmpeg("-i", *read, *options, "-f", "framemd5", "-", data=None if isinstance(data, Path) else data)
    return [line.split(",")[-1].strip() for line in told.decode().splitlines() if not line.startswith("#")]


def described(data: bytes, *entries: str) -> list[str]:
    """Return what ffprobe says of a video stream."""
    command = [program("ffprobe"), "-v", "error", "-select_streams", "v", "-of", "csv=p=0", "-show_entries"]
    done = subprocess.run(
        [*command, f"stream={','.join(entries)}", "-"], input=data, capture_output=True, check=False
    )
    return done.stdout.decode().strip().split(",")


def times(data: bytes) -> list[str]:
    """Return the times of frames in seconds, as ffprobe prints them."""
    command = [program("ffprobe"), "-v", "error", "-of", "csv=p=0", "-show_entries", "packet=pts_time", "-"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return done.stdout.decode().split()
