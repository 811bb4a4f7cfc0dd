"""The stages together: overlap, order, errors, threads, times and how many frames are alive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter, sleep
from types import SimpleNamespace

import numpy as np
import pytest

from vidsr import stages as pipeline_stages
from vidsr.errors import DecodeError, EncodeError, InferenceError, VidsrError
from vidsr.report import StageTimes, limiting_stage

SIZE = 64  # bytes of a plane
HUGE = 1 << 30  # bytes of a frame that make queues one place deep


class Counted:
    """A frame; the class knows how many of its kind are alive and were at most."""

    def __init__(self, alive: Alive) -> None:
        self.planes = (np.zeros(SIZE, np.uint8),)
        self.nbytes = SIZE
        self.pts = self.duration = self.shift = 0
        self.key = False
        self._alive = alive
        alive.change(1)

    def __del__(self) -> None:
        self._alive.change(-1)


@dataclass
class Alive:
    """A count with its peak."""

    now: int = 0
    peak: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def change(self, by: int) -> None:
        with self.lock:
            self.now += by
            self.peak = max(self.peak, self.now)


@dataclass
class Stages:
    """Reader, upscaler and sink at once: each sleeps, and may fail at a frame."""

    decode: float = 0.0
    inference: float = 0.0
    encode: float = 0.0
    frames: int = 60
    frame_bytes: int = SIZE
    in_flight: int = 1
    fail: dict[str, tuple[int, Exception]] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    sources: Alive = field(default_factory=Alive)
    results: Alive = field(default_factory=Alive)
    alive: list[int] = field(default_factory=list)
    """Results that there are when each frame's inference ends."""
    ended: bool = False
    slept: dict[str, dict[int, list[tuple[float, float]]]] = field(default_factory=dict)
    """When each piece of work began and how long it took, in seconds, by stage and thread."""

    @property
    def output_bytes(self) -> int:
        return 4 * self.frame_bytes

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.in_flight, thread_name_prefix="test-pool")

    def work(self, stage: str, number: int, seconds: float) -> None:
        self.threads.add(f"{stage} in {threading.current_thread().name}")
        began = perf_counter()
        sleep(seconds)
        here = self.slept.setdefault(stage, {}).setdefault(threading.get_ident(), [])
        here.append((began, perf_counter() - began))
        when, error = self.fail.get(stage, (-1, None))
        if error is not None and when == number:
            raise error

    def __iter__(self) -> Iterator[Counted]:
        try:
            for number in range(self.frames):
                self.work("decode", number, self.decode)
                frame = Counted(self.sources)
                frame.pts, frame.duration = number * 3, 3
                frame.planes[0][:] = number
                yield frame
                del frame
        finally:
            self.ended = True

    def submit(self, src: tuple[np.ndarray, ...], dst: tuple[np.ndarray, ...]) -> SimpleNamespace:
        number = int(src[0][0])
        self.work("submit", number, 0.0)
        future: Future[None] = self.pool.submit(self._infer, number, src, dst)
        return SimpleNamespace(result=partial(future.result, 60))

    def _infer(self, number: int, src: tuple[np.ndarray, ...], dst: tuple[np.ndarray, ...]) -> None:
        self.work("inference", number, self.inference * self.in_flight)
        self.alive.append(self.results.now)
        dst[0][:] = src[0]

    def allocate(self) -> Counted:
        return Counted(self.results)

    def write(self, out: Counted) -> None:
        number = int(out.planes[0][0])
        assert (out.pts, out.duration) == (number * 3, 3)
        self.work("encode", number, self.encode)
        self.made.append(number)

    def worked(self, stage: str) -> float:
        """Return the seconds of a stage's work; what runs in parallel counts once."""
        of_threads = [sum(took for _, took in pieces) for pieces in self.slept[stage].values()]
        return sum(of_threads) / len(of_threads)

    def share(self, stage: str) -> float:
        """Return the share of its time that a stage works, without a fifth of the pauses, the longest.

        What a sleep really takes here, and when a thread is woken, is not the pipeline's doing.
        """
        took = sum(seconds for pieces in self.slept[stage].values() for _, seconds in pieces[:-1])
        pauses = sorted(
            after[0] - sum(piece)
            for pieces in self.slept[stage].values()
            for piece, after in pairwise(pieces)
        )
        return took / (took + sum(pauses[: len(pauses) * 4 // 5]))

    def flow(self) -> tuple[int, list[StageTimes], list[int]]:
        told: list[int] = []
        try:
            made, times = pipeline_stages.flow(self, self, self, told.append)  # type: ignore[arg-type]
        finally:
            self.pool.shutdown()
        return made, times, told


def _names() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("vidsr-")}


@pytest.mark.clock
@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize(
    ("milliseconds", "slowest"),
    [((12, 20, 8), "inference"), ((20, 12, 8), "decode"), ((8, 12, 20), "encode")],
)
def test_as_fast_as_the_slowest_stage(
    milliseconds: tuple[int, int, int], slowest: str, in_flight: int
) -> None:
    stages = Stages(*(m / 1000 for m in milliseconds), in_flight=in_flight)
    made, times, told = stages.flow()
    assert (made, stages.made, told) == (60, list(range(60)), list(range(1, 61)))
    assert len({name.split(" in ")[1] for name in stages.threads if "submit" not in name}) >= 3
    assert stages.share(slowest) >= 0.95
    assert max(times, key=lambda t: t.worked).name == slowest
    assert f"{max(t.worked for t in times) / times[0].wall:.0%}" in limiting_stage(times)


@pytest.mark.clock
def test_times_add_up() -> None:
    stages = Stages(0.004, 0.008, 0.006, frames=160, frame_bytes=24 << 20)
    _, times, _ = stages.flow()
    assert [t.name for t in times] == ["decode", "inference", "encode"]
    for stage in times:
        total = stage.worked + stage.waited_for_input + stage.waited_for_room
        assert total == pytest.approx(stage.wall, rel=0.1)
        assert stages.worked(stage.name) <= stage.worked <= 1.5 * stages.worked(stage.name)
        assert min(stage.worked, stage.waited_for_input, stage.waited_for_room) >= 0
    decode, inference, encode = times
    assert decode.waited_for_room > 0.2
    assert encode.waited_for_input > 0.1
    assert inference.waited_for_input + inference.waited_for_room < 0.2 * inference.wall


ERRORS = [
    ("decode", DecodeError("damaged", path="a.mp4"), "decode"),
    ("submit", InferenceError("refused"), "inference"),
    ("inference", InferenceError("out of memory"), "inference"),
    ("encode", EncodeError("disk full"), "encode"),
]


@pytest.mark.parametrize("number", [0, 7, 59])
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize(("where", "error", "stage"), ERRORS, ids=[e[0] for e in ERRORS])
def test_an_error_reaches_the_caller_once(
    where: str, error: VidsrError, stage: str, in_flight: int, number: int
) -> None:
    error.stage = None
    stages = Stages(0.0005, 0.0005, 0.0005, in_flight=in_flight, fail={where: (number, error)})
    with pytest.raises(VidsrError) as caught:
        stages.flow()
    assert caught.value is error
    assert error.stage == stage
    assert error.__context__ is None
    assert _names() == set()
    assert stages.ended
    # What was in flight with it is lost: its segment is made again anyway.
    assert stages.made == list(range(len(stages.made)))
    assert number - in_flight < len(stages.made) <= number


@pytest.mark.parametrize("where", ["decode", "submit", "inference", "encode"])
def test_an_error_that_nobody_foresaw_passes_as_it_is(where: str) -> None:
    stages = Stages(fail={where: (5, ZeroDivisionError("a defect"))})
    with pytest.raises(ZeroDivisionError, match="a defect"):
        stages.flow()
    assert _names() == set()
    assert stages.ended


@pytest.mark.parametrize("in_flight", [1, 3])
def test_an_interruption_ends_all_stages_at_once(in_flight: int) -> None:
    stages = Stages(0.001, 0.001, frames=100_000, in_flight=in_flight)

    def interrupt(out: Counted) -> None:
        stages.made.append(int(out.pts))
        if len(stages.made) == 20:
            raise KeyboardInterrupt

    stages.write = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stages.flow()
    assert _names() == set()
    assert stages.ended
    assert len(stages.made) == 20


@pytest.mark.parametrize(("frame_bytes", "depth", "deep"), [(SIZE, 8, 8), (4 << 20, 6, 2)])
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("slow", ["inference", "encode"])
def test_few_frames_are_alive(frame_bytes: int, depth: int, deep: int, in_flight: int, slow: str) -> None:
    """Queued, one in the hand of the thread that fills a queue, in flight, and one being encoded."""
    stages = Stages(frame_bytes=frame_bytes, in_flight=in_flight, **{slow: 0.004})
    stages.flow()
    assert stages.sources.peak <= depth + 1 + in_flight
    assert stages.results.peak <= deep + 1 + in_flight + 1
    assert (stages.sources.now, stages.results.now) == (0, 0)
    if slow == "inference":
        assert stages.sources.peak > depth, "the queue was filled"
        # Several in flight may be ready at the same moment; so may two, now and then, on a busy machine.
        assert in_flight > 1 or median(stages.alive) == 1, "none that is written is kept"


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_large_frame_waits(in_flight: int) -> None:
    """Of those whose result takes 4 GiB only what is worked on is alive."""
    stages = Stages(frame_bytes=HUGE, in_flight=in_flight)
    made, times, told = stages.flow()
    assert made == len(told) == 60
    assert stages.sources.peak <= 1
    assert stages.results.peak <= 2
    assert [t.name for t in times] == ["decode", "inference", "encode"]


def test_no_frames_are_no_error() -> None:
    made, times, told = Stages(frames=0).flow()
    assert (made, told) == (0, [])
    assert [t.worked for t in times] == pytest.approx([0, 0, 0], abs=0.05)
