"""Ctrl-C while a stage's thread begins or ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import sleep

import pytest
from test_prefetch import thread_of

from vidsr.prefetch import Prefetch


def test_interrupted_start_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        begin(thread)
        raise KeyboardInterrupt  # as a signal handler may while the main thread waits for the other

    def endless() -> Iterator[int]:
        while True:
            yield 1

    begin = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    source = endless()
    with pytest.raises(KeyboardInterrupt):
        Prefetch(source, 1, name="begun")
    assert thread_of("begun") is None
    source.close()  # no thread is in it: that would be a ValueError


def test_interrupted_close_still_waits_for_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def slow() -> Iterator[int]:
        while True:
            sleep(0.02)
            yield 1

    items = Prefetch(slow(), 1, name="slow")
    next(items)
    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        items.close()
    assert thread_of("slow") is None
