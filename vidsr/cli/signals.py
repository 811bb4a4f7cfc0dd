"""Ctrl-C and SIGTERM: the first unwinds the work, the second waits for that, the third ends at once."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["Terminated", "catch_signals", "ignore_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C but for the exit code."""


def catch_signals() -> None:
    """Make both signals raise in the main thread, once.

    A second one that came while the first is cleaning up would leave that half done, so it is ignored:
    cleaning up takes a frame's time. A third ends the process where it stands, as SIGKILL would.
    What the parent has set to be ignored (nohup) stays ignored.
    """
    received = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received >= 3:
            os._exit(128 + number)
        if received == 1:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def ignore_signals() -> None:
    """Let neither signal disturb the interpreter's end."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
