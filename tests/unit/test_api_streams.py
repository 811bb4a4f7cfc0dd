"""Streams of vidsr.Upscaler: in order, errors once and in place, nothing left when they are abandoned."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from waiting import until

from vidsr import Upscaler, VidsrError
from vidsr.streaming import Stream


@pytest.fixture
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("ecbsr", 2, backend="nearest") as made:
        yield made


def numbered(count: int = 1000) -> Iterator[np.ndarray]:
    for index in range(count):
        yield np.full((6 + index % 2, 8), index % 256, np.uint8)


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("vidsr-")]


def test_in_order_whatever_the_sizes(upscaler: Upscaler) -> None:
    made = list(upscaler.stream(numbered(50)))
    assert [int(frame[0, 0]) for frame in made] == list(range(50))
    assert [frame.shape for frame in made[:2]] == [(12, 16), (14, 16)]
    until(lambda: threads() == [])


@pytest.mark.clock
def test_several_are_in_flight_and_few_are_read_ahead(upscaler: Upscaler) -> None:
    read = []

    def frames() -> Iterator[np.ndarray]:
        for frame in numbered():
            read.append(len(read))
            yield frame

    with upscaler.stream(frames(), ahead=3) as stream:
        next(stream)
        time.sleep(0.2)
        assert 3 < len(read) <= 3 + 3 + 4  # ready, read ahead, on the way
    until(lambda: threads() == [])


@pytest.mark.parametrize("way", ["break", "close", "drop", "leave", "upscaler"])
def test_abandoned_streams_end_their_threads_and_the_source(upscaler: Upscaler, way: str) -> None:
    ended = threading.Event()

    def frames() -> Iterator[np.ndarray]:
        try:
            yield from numbered()
        finally:
            ended.set()

    stream: Stream[np.ndarray] | None = upscaler.stream(frames())
    assert threads() != []
    if way == "break":
        for _ in stream:
            break
        stream = None
    elif way == "drop":
        stream = None
    elif way == "leave":
        with stream:
            next(stream)
    elif way == "close":
        stream.close()
        stream.close()
    else:
        upscaler.close()
    gc.collect()
    assert ended.wait(30)
    until(lambda: threads() == [])
    if stream is not None:
        assert list(stream) == []
    if way != "upscaler":
        assert upscaler.upscale(next(numbered())).shape == (12, 16)


def test_an_error_of_the_source_comes_once_behind_what_was_before_it(upscaler: Upscaler) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield from numbered(5)
        raise KeyError("lost")

    stream = upscaler.stream(frames())
    assert [int(next(stream)[0, 0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError, match="lost"):
        next(stream)
    assert list(stream) == []
    until(lambda: threads() == [])


def test_a_frame_that_is_none_comes_once_behind_what_was_before_it(upscaler: Upscaler) -> None:
    frames = [*numbered(3), np.zeros((3, 3)), *numbered(3)]
    stream = upscaler.stream(frames)
    assert [int(next(stream)[0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(VidsrError, match="float64 are no code values"):
        next(stream)
    assert list(stream) == []


def test_streams_beside_each_other(upscaler: Upscaler) -> None:
    pairs = zip(upscaler.stream(numbered(40)), upscaler.stream(numbered(40)), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_closing_waits_for_frames_in_other_threads() -> None:
    upscaler = Upscaler("ecbsr", 2)
    frame = np.zeros((400, 600), np.uint8)
    upscaler.upscale(frame)
    failed: list[BaseException] = []
    began = threading.Barrier(3)

    def work() -> None:
        began.wait()
        try:
            for _ in range(1000):
                upscaler.upscale(frame)
        except VidsrError as error:
            failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    began.wait()
    time.sleep(0.05)
    upscaler.close()
    for worker in workers:
        worker.join()
    assert [str(error) for error in failed] == ["this Upscaler is closed; use it before its close()"] * 2
