"""What a test must not leave behind: threads, open files, temporary files."""

from __future__ import annotations

import gc
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["SHARED", "watched"]

SHARED = tempfile.gettempdir()
"""The folder for temporary files before the tests have their own: other programs come and go in there."""

_GRACE_S = 10.0  # for threads that were told to stop and are on their way out


@contextmanager
def watched(name: str, *, pipes: bool = True) -> Iterator[None]:
    """Fail the test of a name that leaves something behind.

    Args:
        name: Said in the message.
        pipes: Whether open pipes count. Those of CUDA's driver stay with it.
    """
    before = (_threads(), _open_files(pipes), _temporary_files())
    yield
    deadline = time.monotonic() + _GRACE_S
    while (left := _left(before, pipes=pipes)) and time.monotonic() < deadline:
        gc.collect()  # a reference cycle may hold a file until the next collection
        time.sleep(0.02)
    if left:
        pytest.fail(f"{name} left behind: {'; '.join(left)}", pytrace=False)


def _left(before: tuple[set[threading.Thread], set[str], set[str]], *, pipes: bool) -> list[str]:
    threads, files, temporary = before
    return sorted(
        [f"thread {t.name}" for t in _threads() - threads]
        + [f"open file {name}" for name in _open_files(pipes) - files]
        + [f"temporary file {name}" for name in _temporary_files() - temporary]
    )


def _threads() -> set[threading.Thread]:
    """Return vidsr's threads and those that would keep the interpreter alive."""
    return {t for t in threading.enumerate() if not t.daemon or t.name.startswith("vidsr-")}


def _open_files(pipes: bool) -> set[str]:
    """Return "number -> target" for pipes, if they count, and files below the temporary or current folder.

    Other files are left out, as are those of a virtual environment in there: libraries open devices,
    fonts and other parts of theirs once and keep them.
    """
    roots = (SHARED + os.sep, str(Path.cwd()) + os.sep)
    found = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all that is wanted
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - may be no path at all
            mode = os.fstat(int(number)).st_mode
        except OSError:
            continue  # the descriptor of the listing itself
        ours = target.startswith(roots) and not target.startswith(sys.prefix + os.sep)
        if (pipes and stat.S_ISFIFO(mode)) or (stat.S_ISREG(mode) and ours):
            found.add(f"{number} -> {target}")
    return found


def _temporary_files() -> set[str]:
    """Return the names directly in the session's temporary folder, without torch's own cache."""
    names = {p.name for p in Path(tempfile.gettempdir()).iterdir()}
    return {name for name in names if not name.startswith("torchinductor_")}
