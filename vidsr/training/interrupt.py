"""Ctrl-C between two steps of a run, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["held_back"]


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Hold SIGINT back; the function that is yielded raises the KeyboardInterrupt that is due.

    A step that is cut off halfway has moved the weights but not their average, and a run that goes on
    from there is not the run that was interrupted. Outside the main thread, or where the caller
    handles SIGINT in a way of its own, nothing is changed.
    """
    due = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal due
        due = True

    def check() -> None:
        nonlocal due
        if due:
            due = False
            raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT)
    ours = usual is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        if ours:
            signal.signal(signal.SIGINT, usual)
    check()  # one that came after the last look
