"""The three standard streams: closed ones, and text that they cannot hold."""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["mend_streams", "silence_stdout"]


def mend_streams() -> None:
    """Open what the caller closed, and make printing never fail for a name's characters.

    Without this the first file that is opened gets the number of a closed stream, and whatever a library
    prints there goes into a video.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        # File names need not be UTF-8, and a terminal need not be either.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")


def silence_stdout() -> None:
    """Send what is still buffered nowhere: its reader has gone away, and Python would complain at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the process's whole life
