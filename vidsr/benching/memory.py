"""How much memory a network takes, measured in a process of its own: in one, several cannot be told apart.

    python -m vidsr.benching.memory

Such a process reads what to do as JSON from its standard input. It loads the libraries and the model, makes
the frames, and sets its high-water mark back; what opening the network and some frames raise it to is the
answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vidsr.backends.base import SessionOptions
from vidsr.benching.subjects import Setting, Subject, format_of, make_frames, through
from vidsr.errors import BackendError, VidsrError, one_line
from vidsr.heap import give_back_large_blocks

__all__ = ["main", "memory_of"]

_STATUS = Path("/proc/self/status")
_MARKS = Path("/proc/self/clear_refs")
_SECONDS = 300.0  # for a process to load a network and to make some frames
_WORDS = 200  # characters of a dead process's last line


def memory_of(
    setting: Setting, pixel_format: str, size: tuple[int, int], out: tuple[int, int], in_flight: int
) -> tuple[int, int]:
    """Return the bytes that a network needs beside its frames, at most, and those of its whole process.

    Args:
        setting: What to open.
        pixel_format: Of the frames.
        size: Their width and height.
        out: Width and height of the results.
        in_flight: How many frames are on their way at once.

    Raises:
        BackendError: This system does not tell, or the process failed.
    """
    if not (_STATUS.exists() and _MARKS.exists()):
        raise BackendError("this system does not tell how much memory a process took at most")
    subject, options = setting.subject, setting.options
    sent = {
        "name": subject.name,
        "scale": subject.scale,
        "backend": setting.name,
        "device": options.device,
        "precision": options.precision,
        "threads": options.threads,
        "pixel_format": pixel_format,
        "size": size,
        "out": out,
        "in_flight": in_flight,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(sent).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"its process took more than {_SECONDS:.0f} s") from error
    except OSError as error:
        raise BackendError(f"its process cannot be started ({error.strerror})") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        code = done.returncode
        why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        told = f" ({one_line(lines[-1][:_WORDS])})" if lines else ""
        raise BackendError(f"its process {why}{told}")
    need, whole = json.loads(done.stdout)
    return int(need), int(whole)


def main() -> int:
    """Measure what standard input asks for, and print the two numbers of `memory_of`."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no answer
    with answers:
        try:
            json.dump(_measure(json.load(sys.stdin)), answers)
        except VidsrError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    return 0


def _measure(sent: dict[str, Any]) -> tuple[int, int]:
    from vidsr.backends import get_backend

    size, out = tuple(sent["size"]), tuple(sent["out"])
    frame_format = format_of(sent["pixel_format"], size)
    subject = Subject.find(sent["name"], sent["scale"])
    _ = subject.model.proto
    backend = get_backend(sent["backend"])
    options = SessionOptions(device=sent["device"], precision=sent["precision"], threads=sent["threads"])
    setting = Setting(subject, backend, backend.name, options, backend.resolve(options))
    in_flight = sent["in_flight"]
    frames = make_frames(frame_format.pixel_format, size, out, in_flight)
    give_back_large_blocks()  # or what was needed until here would be taken again, unseen
    _MARKS.write_text("5", encoding="ascii")  # proc(5): the high-water mark is what is resident now
    before = _bytes("VmRSS")
    with setting.open(frame_format, size) as upscaler:
        through(upscaler, frames, 2 * in_flight)
        whole = _bytes("VmHWM")
    return max(0, whole - before), whole


def _bytes(name: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise BackendError(f"{_STATUS} does not tell {name}")


if __name__ == "__main__":
    sys.exit(main())
