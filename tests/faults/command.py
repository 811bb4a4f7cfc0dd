"""The real command line as a process, and what may be there after it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from waiting import until

ROOT = Path(__file__).parents[2]
# The real command line; at the frame that VIDSR_TEST_HOLD names it waits until the file "go" is there.
_MAIN = """
import os, sys, time
from pathlib import Path
from vidsr.cli import main
hold = os.environ.get("VIDSR_TEST_HOLD")
if hold:
    import vidsr.video.video_sink as sinks
    from vidsr.video.pictures import PictureSink
    count = 0
    def held(write):
        def slow(self, out):
            global count
            count += 1
            while count == int(hold) and not Path("go").exists():
                Path("held").touch()
                time.sleep(0.01)
            write(self, out)
        return slow
    for kind in (sinks.VideoSink, PictureSink):
        kind.write = held(kind.write)
exec(os.environ.get("VIDSR_TEST_BEFORE", ""))
sys.argv[0] = "vidsr"
main()
"""
USUAL = "--backend nearest --segment-frames 10 --preset ultrafast --encoder-threads 1 --no-progress".split()


@dataclass(frozen=True, slots=True)
class Whole:
    """The clip and what becomes of it."""

    FRAMES: ClassVar[int] = 60
    source: Path
    result: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended."""

    code: int
    out: str
    lines: list[str]
    """Of stderr."""


@dataclass
class Command:
    """``vidsr upscale in.mp4 -o out.mp4`` in a folder."""

    folder: Path
    source: str = "in.mp4"
    target: str = "out.mp4"
    usual: list[str] = field(default_factory=lambda: list(USUAL))

    @property
    def output(self) -> Path:
        return self.folder / self.target

    @property
    def work(self) -> Path:
        return self.folder / f"{self.target}.vidsr"

    def start(
        self,
        *more: str,
        hold: int = 0,
        before: str = "",
        limits: dict[int, int] | None = None,
        also: Callable[[], None] = lambda: None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start it.

        Args:
            more: Further arguments.
            hold: The frame to wait before; 0: none.
            before: Python to run first.
            limits: RLIMIT_... and their values.
            also: Called in the new process.
            stdout: As for Popen.
            stderr: As for Popen.
        """

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs have it ignored
            for limit, value in (limits or {}).items():
                resource.setrlimit(limit, (value, value))
            also()

        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, "upscale", self.source, "-o", self.target, *self.usual, *more],
            cwd=self.folder,
            env=os.environ
            | {"VIDSR_TEST_HOLD": str(hold or ""), "VIDSR_TEST_BEFORE": before, "PYTHONPATH": str(ROOT)},
            stdout=stdout,
            stderr=stderr,
            text=True,
            errors="surrogateescape",
            preexec_fn=prepare,
        )

    def run(self, *more: str, timeout: float = 60, **how: object) -> Done:
        """Run it to its end; a hang is a failure."""
        return finished(self.start(*more, **how), timeout)  # type: ignore[arg-type]

    def held(self, *more: str, hold: int = 35, **how: object) -> subprocess.Popen[str]:
        """Start it and wait until it stands before a frame."""
        process = self.start(*more, hold=hold, **how)  # type: ignore[arg-type]
        mark = self.folder / "held"
        until(mark.exists, process)
        mark.unlink()
        return process

    def go_on(self) -> None:
        """Let it go on."""
        (self.folder / "go").touch()

    def failed(self, done: Done, *words: str, code: int = 1) -> str:
        """Check all that is the same for every failure; return the one line."""
        assert done.code == code, done
        assert done.out == ""
        assert len(done.lines) == 1, done.lines
        assert done.lines[0].startswith("vidsr: ")
        for word in words:
            assert word in done.lines[0], done.lines
        assert not os.path.lexists(self.output)
        return done.lines[0]

    def finishes(self, whole: Whole, *more: str) -> None:
        """The same command, run again, makes what an uninterrupted run makes, and leaves nothing else."""
        (self.folder / "go").touch()
        done = self.run(*more)
        assert done.code == 0, done
        assert self.output.read_bytes() == whole.result
        assert not self.work.exists()


def finished(process: subprocess.Popen[str], timeout: float = 60) -> Done:
    """Wait for a process's end; kill it and fail if it hangs."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out or "", (err or "").splitlines())
