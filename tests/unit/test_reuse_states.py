"""Re-use around its edges: many frames at once, errors, closing, and switching itself off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from vidsr import reuse
from vidsr.backends import Ticket, get_backend
from vidsr.errors import InferenceError
from vidsr.frame import PixelFormat, Planes
from vidsr.models import FrameFormat, Model, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network
from vidsr.report import Reused
from vidsr.reuse import Reuse
from vidsr.upscaler import Upscaler, UpscalerOptions

GRAY = PixelFormat.parse("gray")
WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    return find_model(str(export_network(ECBSR(blocks=0, features=4), path)), 2)


class Counting:
    """An upscaler of the backend `nearest`, whose calls are counted and can fail or wait."""

    def __init__(self, model: Model, tile: str = "0") -> None:
        self.inner = Upscaler(
            model, FrameFormat(GRAY), WIDTH, HEIGHT, get_backend("nearest"), UpscalerOptions(tile=tile)
        )
        self.submitted = 0
        self.failing: Exception | None = None
        self.closed = False
        self.inner_submit, self.inner.submit = self.inner.submit, self.submit  # type: ignore[method-assign]
        self.inner_close, self.inner.close = self.inner.close, self.close  # type: ignore[method-assign]

    def submit(self, *arguments: object) -> Ticket:
        self.submitted += 1
        if self.failing is not None:
            return Failing(self.failing)
        return self.inner_submit(*arguments)  # type: ignore[arg-type]

    def close(self) -> None:
        self.closed = True
        self.inner_close()


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self) -> None:
        raise self.error


@pytest.fixture
def whole(model: Model) -> Counting:
    return Counting(model)


@pytest.fixture
def parts(model: Model) -> Counting:
    return Counting(model, "16")


@pytest.fixture
def again(whole: Counting, parts: Counting) -> Iterator[Reuse]:
    with Reuse(whole.inner, lambda: parts.inner) as made:
        made.in_flight = 2
        yield made
    parts.inner.close()


def frame(value: int = 7) -> Planes:
    return (np.full((HEIGHT, WIDTH), value, np.uint8),)


def target() -> Planes:
    return (np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8),)


def is_enlarged(dst: Planes, src: Planes) -> bool:
    return np.array_equal(dst[0], src[0].repeat(2, 0).repeat(2, 1))


def test_nearest_repeats(again: Reuse, whole: Counting, parts: Counting) -> None:
    for number in range(4):
        src, dst = frame(), target()
        src[0][50:, 80:] = number // 2
        again.submit(src, dst).result()
        assert is_enlarged(dst, src)
    assert whole.submitted == 1
    assert parts.submitted == 1
    reused = again.taken()
    assert (reused.frames, reused.repeated, reused.in_part) == (4, 2, 1)
    assert 0 < reused.tiles_repeated < reused.tiles
    assert again.taken() == Reused()


@pytest.mark.parametrize("order", [1, -1])
def test_many_at_once_in_any_order(again: Reuse, whole: Counting, order: int) -> None:
    work = []
    for number in range(9):
        src, dst = frame(), target()
        src[0][number // 3, 5] = number // 3
        work.append((again.submit(src, dst), src, dst))
    for ticket, src, dst in work[::order]:
        ticket.result()
        ticket.result()
        assert is_enlarged(dst, src)
    assert whole.submitted == 1


def test_from_several_threads(again: Reuse) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        for number in range(30):
            src, dst = frame(number // 3), target()
            src[0][seed, seed] = seed
            again.submit(src, dst).result()
            if not is_enlarged(dst, src):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_error_is_that_frames_alone(again: Reuse, whole: Counting) -> None:
    whole.failing = InferenceError("broken")
    first = again.submit(frame(), target())
    whole.failing = None
    src, dst = frame(), target()
    second = again.submit(src, dst)
    second.result()
    assert is_enlarged(dst, src)
    for _ in range(2):
        with pytest.raises(InferenceError, match="broken"):
            first.result()
    assert whole.submitted == 2


def test_an_error_in_a_part_stays(again: Reuse, parts: Counting) -> None:
    again.submit(frame(), target()).result()
    src = frame()
    src[0][3, 3] = 1
    parts.failing = InferenceError("broken part")
    ticket = again.submit(src, target())
    for _ in range(2):
        with pytest.raises(InferenceError, match="broken part"):
            ticket.result()
    parts.failing = None
    dst = target()
    again.submit(tuple(p.copy() for p in src), dst).result()
    assert is_enlarged(dst, src)


def test_an_interrupt_leaves_the_work_to_be_done(
    again: Reuse, parts: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    again.submit(frame(), target()).result()
    src, dst = frame(), target()
    src[0][3, 3] = 1
    ticket = again.submit(src, dst)
    parts.failing = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        ticket.result()
    parts.failing = None
    ticket.result()
    assert is_enlarged(dst, src)


def test_closing_finishes_what_was_put_off(whole: Counting, parts: Counting) -> None:
    made = Reuse(whole.inner, lambda: parts.inner)
    src, dst = frame(), target()
    with made:
        made.submit(frame(), target())
        src[0][3, 3] = 1
        ticket = made.submit(src, dst)
    assert whole.closed
    assert parts.closed
    assert is_enlarged(dst, src)
    ticket.result()
    made.close()


def test_planes_in_the_last_frames_memory_are_computed(again: Reuse, whole: Counting) -> None:
    src, dst = frame(), target()
    for value in (1, 2, 3):
        src[0].fill(value)
        again.submit(src, dst).result()
        assert is_enlarged(dst, src)
    assert whole.submitted == 3
    again.submit(frame(3), dst).result()
    assert whole.submitted == 4


def test_planes_of_another_size_are_refused(again: Reuse) -> None:
    again.submit(frame(), target()).result()
    for src, dst in [((frame()[0][1:],), target()), (frame(), (target()[0][1:],))]:
        with pytest.raises(ValueError, match="has planes"):
            again.submit(src, dst)


def test_off(whole: Counting, parts: Counting) -> None:
    with Reuse(whole.inner, lambda: parts.inner, enabled=False) as made:
        for _ in range(3):
            made.submit(frame(), target()).result()
        assert made.taken() == Reused()
    assert whole.submitted == 3
    parts.inner.close()


def test_forgetting(again: Reuse, whole: Counting) -> None:
    again.submit(frame(), target()).result()
    again.forget()
    again.submit(frame(), target()).result()
    assert whole.submitted == 2


def test_switches_itself_off_and_on(again: Reuse, whole: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "_PAUSE", 100)
    monkeypatch.setattr(again._account, "computed", lambda seconds: None)
    again._account._frame_seconds = 1.0
    made = iter(range(100000))

    def play(frames: int, value: Callable[[int], int]) -> int:
        """Return how many of so many frames were looked at."""
        again.taken()
        for _ in range(frames):
            src = frame(value(next(made)))
            src[0][::3, ::3] ^= 1
            dst = target()
            again.submit(src, dst).result()
            assert is_enlarged(dst, src)
        return again.taken().frames

    assert play(61, lambda n: n % 250) == 61
    assert play(99, lambda n: n % 250) == 0, "nothing repeats"
    assert play(13, lambda n: n % 250) == 13, "a glance"
    assert play(99, lambda n: n % 250) == 0
    computed = whole.submitted
    assert play(200, lambda n: 3) == 200, "what repeats is found by the next glance"
    assert whole.submitted == computed + 1


def test_costs_more_than_it_saves() -> None:
    account = reuse._Account(in_flight=2)
    account.computed(0.5)
    account.computed(0.020)  # a frame of 10 ms
    for _ in range(reuse._WINDOW):
        account.spent(0.002)
        account.compared(0.25)
    assert not account.pauses()
    for _ in range(reuse._WINDOW):
        account.spent(0.003)
        account.compared(0.25)
    assert account.pauses()
