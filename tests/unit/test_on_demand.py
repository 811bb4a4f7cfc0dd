"""The stage without a thread, for frames that are too large to wait."""

import threading
from collections.abc import Iterator

import pytest

from vidsr.errors import DecodeError
from vidsr.prefetch import OnDemand


def test_on_demand_makes_one_at_a_time_in_this_thread() -> None:
    made: list[threading.Thread] = []
    source = (made.append(threading.current_thread()) or i for i in range(3))
    with OnDemand(source, name="large") as items:
        assert made == []
        assert next(items) == 0
        assert made == [threading.current_thread()]
        assert list(items) == [1, 2]
        assert items.starved_s == items.worked_s
    assert all(t.name != "vidsr-large" for t in threading.enumerate())


def test_on_demand_names_the_stage_and_closes_the_source() -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield 1
            raise DecodeError("broken")
        finally:
            closed.append(True)

    with OnDemand(source(), name="decode") as items:
        assert next(items) == 1
        with pytest.raises(DecodeError) as caught:
            next(items)
    assert caught.value.stage == "decode"
    with OnDemand(source(), name="decode") as items:
        next(items)
    assert closed == [True, True]
