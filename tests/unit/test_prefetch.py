"""The background iterator: order, errors, cancellation, counting, overlap."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from time import perf_counter, sleep

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import until

from vidsr.errors import DecodeError, OptionsError
from vidsr.prefetch import Prefetch


def thread_of(name: str) -> threading.Thread | None:
    return next((t for t in threading.enumerate() if t.name == f"vidsr-{name}"), None)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 50), depth=st.integers(1, 60))
def test_keeps_order_and_loses_nothing(count: int, depth: int) -> None:
    with Prefetch(iter(range(count)), depth, name="count") as items:
        assert list(items) == list(range(count))
        assert items.items == count
        assert next(items, "end") == "end"


def test_never_runs_further_ahead_than_depth() -> None:
    made = []
    source = (made.append(i) or i for i in range(10))
    with Prefetch(source, 3, name="ahead") as items:
        until(lambda: len(made) == 4)  # three queued, one in the hand
        sleep(0.05)
        assert len(made) == 4
        assert next(items) == 0
        until(lambda: len(made) == 5)


def test_refuses_a_queue_without_room() -> None:
    with pytest.raises(OptionsError, match="at least one item"):
        Prefetch([1], 0, name="none")
    assert thread_of("none") is None


def test_error_comes_once_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise DecodeError("damaged", path="a.mp4")

    with Prefetch(source(), 8, name="decode") as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(DecodeError, match=r"a\.mp4: damaged") as caught:
            next(items)
        assert caught.value.stage == "decode"
        assert list(items) == []


def test_error_keeps_the_stage_it_comes_from_along_a_chain() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise DecodeError("damaged")

    with (
        Prefetch(source(), 2, name="decode") as low,
        Prefetch(map(abs, low), 2, name="inference") as high,
    ):
        assert next(high) == 1
        with pytest.raises(DecodeError) as caught:
            next(high)
    assert caught.value.stage == "decode"


def test_error_keeps_a_stage_that_it_already_has() -> None:
    def source() -> Iterator[int]:
        raise DecodeError("damaged", stage="probe")
        yield

    with Prefetch(source(), 2, name="decode") as items, pytest.raises(DecodeError) as caught:
        next(items)
    assert caught.value.stage == "probe"


def test_foreign_error_gets_one_note_with_the_innermost_stage() -> None:
    with (
        Prefetch(map(int, ["1", "x"]), 2, name="first") as low,
        Prefetch(iter(low), 2, name="second") as high,
    ):
        assert next(high) == 1
        with pytest.raises(ValueError, match="invalid literal") as caught:
            next(high)
    assert caught.value.__notes__ == ["in vidsr's stage 'first'"]


def test_error_while_closing_a_generator_reaches_the_consumer() -> None:
    class Source:
        def __iter__(self) -> Source:
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise OSError("disk full")

    with Prefetch(Source(), 1, name="write") as items, pytest.raises(OSError, match="disk full"):
        next(items)


def test_close_while_the_queue_is_full_ends_the_thread() -> None:
    items = Prefetch(iter(range(100)), 2, name="full", size=lambda _: 1)
    until(lambda: items.queued_bytes == 2)
    sleep(0.02)  # the thread now waits with the third in its hand
    thread = thread_of("full")
    assert thread is not None
    items.close()
    assert not thread.is_alive()
    assert list(items) == []
    items.close()  # again: nothing happens


def test_close_lets_go_of_what_is_queued() -> None:
    class Item:
        pass

    seen: list[weakref.ref[Item]] = []

    def source() -> Iterator[Item]:
        for _ in range(2):
            item = Item()
            seen.append(weakref.ref(item))
            yield item

    items = Prefetch(source(), 3, name="held", size=lambda _: 1)
    until(lambda: items.queued_bytes == 2)
    items.close()
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


@pytest.mark.clock
def test_close_while_an_item_is_made_waits_for_that_item_only() -> None:
    entered, made = threading.Event(), []

    def source() -> Iterator[int]:
        for i in range(100):
            entered.set()
            sleep(0.1)
            made.append(i)
            yield i

    items = Prefetch(source(), 4, name="slow")
    assert entered.wait(30)
    started = perf_counter()
    items.close()
    assert perf_counter() - started < 0.5
    assert len(made) <= 2
    assert thread_of("slow") is None


def test_close_wakes_a_consumer_that_waits() -> None:
    release, got = threading.Event(), []

    def source() -> Iterator[int]:
        release.wait(60)
        yield 1

    items = Prefetch(source(), 1, name="source")
    consumer = threading.Thread(target=lambda: got.append(list(items)))
    consumer.start()
    closer = threading.Thread(target=items.close)
    closer.start()
    consumer.join(30)  # although the source is still blocked
    assert got == [[]]
    release.set()
    closer.join(30)
    assert not closer.is_alive()


@pytest.mark.parametrize("taken", [0, 3, 10])
def test_generator_is_closed_in_the_thread_that_ran_it(taken: int) -> None:
    seen: list[str] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            seen.append(threading.current_thread().name)

    with Prefetch(source(), 2, name="owner") as items:
        for _ in range(taken):
            next(items)
        until(lambda: items.worked_s > 0)
    assert seen == ["vidsr-owner"]


def test_error_in_the_body_closes_the_chain() -> None:
    with (
        pytest.raises(KeyError),
        Prefetch(iter(range(100)), 2, name="one") as one,
        Prefetch(map(abs, one), 2, name="two"),
    ):
        raise KeyError
    assert thread_of("one") is None
    assert thread_of("two") is None


def test_bytes_are_counted() -> None:
    with Prefetch([b"abc", b"de", b"f"], 3, name="bytes", size=len) as items:
        until(lambda: items.queued_bytes == 6)
        assert next(items) == b"abc"
        assert items.queued_bytes == 3
        assert list(items) == [b"de", b"f"]
        assert items.queued_bytes == 0
        assert items.peak_bytes == 6
    with Prefetch([b"abc"], 1, name="bytes", size=len) as items:
        until(lambda: items.queued_bytes == 3)
        items.close()
        assert items.queued_bytes == 0


@pytest.mark.clock
def test_waiting_times_tell_which_side_is_slow() -> None:
    def slow() -> Iterator[int]:
        for i in range(5):
            sleep(0.02)
            yield i

    with Prefetch(slow(), 1, name="producer") as items:
        list(items)
        assert items.worked_s >= 0.1
        assert items.starved_s > items.blocked_s
    with Prefetch(iter(range(5)), 1, name="producer") as items:
        for _ in items:
            sleep(0.02)
        assert items.blocked_s > items.starved_s


@pytest.mark.clock
def test_stages_overlap() -> None:
    """Three sleeping stages take as long as the slowest alone, to 5 %, after the first item."""
    busy = 0.0
    count = 50

    def stage(source: Iterator[int], seconds: float) -> Iterator[int]:
        for item in source:
            sleep(seconds)
            yield item

    def slowest(source: Iterator[int]) -> Iterator[int]:
        nonlocal busy
        for item in source:
            started = perf_counter()
            sleep(0.02)
            busy += perf_counter() - started
            yield item

    started = perf_counter()
    with (
        Prefetch(stage(iter(range(count)), 0.012), 4, name="decode") as low,
        Prefetch(slowest(low), 4, name="inference") as high,
        Prefetch(stage(high, 0.012), 4, name="encode") as packets,
    ):
        assert list(packets) == list(range(count))
    assert perf_counter() - started <= busy / 0.95 + 2 * 0.012
