"""The stand-in for CUDA finds every misuse that it is there to find, and lets right uses pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest
from cuda_misuses import MISUSES, N, Parts
from cuda_stand_in import Misuse, StandInDevice

from vidsr.backends.cuda.layer import CudaError, OutOfMemory


@pytest.fixture(params=["lazy", "threads"])
def parts(request: pytest.FixtureRequest) -> Iterator[Parts]:
    device = StandInDevice(mode=request.param)
    with device.active():
        made = Parts(device)
        yield made
        for stream in list(device.streams.values()):  # threads must end, whatever a test did
            with suppress(Misuse):
                stream.synchronize()
            stream.close()


def test_right_use_passes(parts: Parts) -> None:
    parts.host_in.array[:] = np.arange(N, dtype=np.uint8)
    parts.round_trip()
    parts.event.record(parts.stream)
    parts.event.synchronize()
    np.testing.assert_array_equal(parts.host_out.array, np.arange(N, dtype=np.uint8))
    for part in (parts.event, parts.stream):
        part.close()
    for buffer in (parts.host_in, parts.host_out, parts.one, parts.two):
        buffer.free()
    assert not parts.device.live
    assert not parts.device.misuses


def test_nothing_is_done_before_it_is_waited_for() -> None:
    device = StandInDevice()
    with device.active():
        parts = Parts(device)
        parts.host_in.array[:] = 7
        parts.round_trip()
        assert not (parts.host_out.raw == 7).any()
        parts.stream.synchronize()
        assert (parts.host_out.raw == 7).all()


@pytest.mark.parametrize(("misuse", "said"), MISUSES, ids=[f.__name__[1:] for f, _ in MISUSES])
def test_misuse(parts: Parts, misuse: Callable[[Parts], None], said: str) -> None:
    with pytest.raises(Misuse, match=said):
        misuse(parts)
    assert any(said in text for text in parts.device.misuses)


def test_leaks_are_named_when_the_device_is_closed() -> None:
    device = StandInDevice()
    with device.active():
        device.memory(N)
        device.event()
    with pytest.raises(Misuse, match="device memory of 512 bytes, event"):
        device.close()
    with pytest.raises(Misuse, match="closed twice"):
        device.close()
    with pytest.raises(Misuse, match="a closed device"):
        device.active().__enter__()


def test_memory_runs_out_and_comes_back() -> None:
    device = StandInDevice(memory_bytes=1000)
    with device.active(), ExitStack():
        first: Any = device.memory(600)
        with pytest.raises(OutOfMemory):
            device.memory(600)
        first.free()
        device.memory(600)


def test_a_lost_device_fails_all_calls(parts: Parts) -> None:
    parts.device.dead = True
    with pytest.raises(CudaError, match="illegal"):
        parts.round_trip()
    with pytest.raises(CudaError, match="illegal"):
        parts.one.free()
    parts.device.dead = False
