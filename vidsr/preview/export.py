"""Export: ``vidsr upscale`` as a process of its own, with what is being seen; one at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidsr.errors import OptionsError
from vidsr.planning import default_output
from vidsr.preview.clip import Clip
from vidsr.target import resolve_target

__all__ = ["Export", "ExportWish", "Exports", "command_of", "output_of"]

_PROGRESS = re.compile(r"(\d+)/(\d+) ?\[|(\d+) frames \[")
_ENDING_S = 10.0
_TOLD_BYTES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """What is to be written."""

    model: str
    scale: Fraction
    start: float | None = None
    """Second of the clip; None: its beginning."""
    end: float | None = None
    overwrite: bool = False


def output_of(clip: Clip, scale: Fraction) -> Path:
    """Return the result's name: beside the source, as ``vidsr upscale`` itself would call it."""
    pixels = clip.info.pixel_format
    rounding = (1 << pixels.chroma_shift_x, 1 << pixels.chroma_shift_y)
    return default_output(clip.job, clip.info, resolve_target(clip.info, scale, None, rounding=rounding))


def command_of(clip: Clip, wish: ExportWish, output: Path) -> list[str]:
    """Return the command line; `vidsr` is this very one."""
    job = clip.job
    source = job.source if isinstance(job.source, str) else str(Path(job.source).absolute())
    options: list[tuple[str, object]] = [
        ("-o", output.absolute()),
        ("--model", wish.model),
        ("--scale", wish.scale),
        ("--backend", job.backend),
        ("--device", job.device),
        ("--precision", job.precision),
        ("--tile", job.tile),
        ("--threads", job.threads),
        ("--chroma", job.chroma),
        ("--deinterlace", job.deinterlace),
        ("--hwaccel", job.hwaccel),
    ]
    optional: list[tuple[str, object]] = [
        ("--start", wish.start),
        ("--end", wish.end),
        ("--video-stream", job.video_stream),
        ("--model-range", job.model_range if wish.model == job.model else None),
    ]
    options += [(name, value) for name, value in optional if value is not None]
    words = [f"{name}={value}" if name.startswith("--") else f"{name}{value}" for name, value in options]
    flags = {"--fast": job.fast, "--overwrite": wish.overwrite, "--allow-network": job.allow_network}
    words += [name for name, wanted in flags.items() if wanted]
    return [sys.executable, "-m", "vidsr", "upscale", *words, "--", source]


class Export:
    """One export, running or over."""

    def __init__(self, command: Sequence[str], output: Path) -> None:
        """Start it.

        Args:
            command: The command line.
            output: What it writes.
        """
        self._output = output
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {"state": "running", "output": output.name, "frames": 0, "total": None}
        self._cancelled = False
        # On a terminal the bar moves five times a second; elsewhere every ten seconds.
        master, slave = pty.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=slave,
                start_new_session=True,  # Ctrl-C is passed on once, by `close`
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self._thread = threading.Thread(target=self._follow, args=(master,), name="vidsr-export", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def told(self) -> dict[str, Any]:
        """Return how far it is: state, frames, total, output, text."""
        with self._lock:
            return dict(self._state)

    def close(self) -> None:
        """Cancel what is running, as Ctrl-C would: the same export goes on there. Waits for the end."""
        self._cancelled = self._cancelled or self.running
        for number in (signal.SIGINT, signal.SIGKILL):
            if self._process.poll() is None:
                with suppress(ProcessLookupError):
                    self._process.send_signal(number)
            self._thread.join(_ENDING_S)

    def _follow(self, terminal: int) -> None:
        """Read what it says until it ends."""
        text = ""
        with os.fdopen(terminal, "rb", buffering=0) as stream:
            while data := _read(stream.fileno()):
                text = (text + data.decode(errors="replace"))[-_TOLD_BYTES:]
                found = _PROGRESS.findall(text)
                if found:
                    frames, total, alone = found[-1]
                    self._tell(frames=int(frames or alone), total=int(total) if total else None)
        code = self._process.wait()
        if code == 0:
            self._tell(state="done")
        elif self._cancelled:
            self._tell(state="cancelled")
        else:
            lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
            said = (
                [line for line in lines if line.startswith("vidsr: ")] or lines[-1:] or [f"exit code {code}"]
            )
            self._tell(state="failed", text=said[-1])

    def _tell(self, **facts: object) -> None:
        with self._lock:
            self._state |= facts


class Exports:
    """The one export that a server has."""

    def __init__(self, clip: Clip) -> None:
        """Begin with none."""
        self._clip = clip
        self._lock = threading.Lock()
        self._now: Export | None = None

    def start(
        self, wish: ExportWish, *, command: Callable[[Clip, ExportWish, Path], list[str]] = command_of
    ) -> dict[str, Any]:
        """Start one; return how it is, or ``exists`` with a name that would be replaced.

        Raises:
            OptionsError: There is one at work.
        """
        with self._lock:
            if self._now is not None and self._now.running:
                raise OptionsError("an export is running", hint="wait for it, or cancel it")
            output = output_of(self._clip, wish.scale)
            if output.exists() and not wish.overwrite:
                return {"state": "exists", "output": output.name}
            self._now = Export(command(self._clip, wish, output), output)
            return self._now.told()

    def told(self) -> dict[str, Any]:
        """Return how the last one is."""
        return {"state": "none"} if self._now is None else self._now.told()

    def cancel(self) -> dict[str, Any]:
        """Cancel it; what it has made stays for the next try."""
        with self._lock:
            if self._now is not None:
                self._now.close()
        return self.told()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError as error:
        if error.errno == errno.EIO:  # what Linux says when the other side is closed
            return b""
        raise
