"""Frames that are on the GPU already, through a session on the strict stand-in for CUDA."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cuda_programs import Bench, StandInProgram, deployed, enlarged, frame
from cuda_stand_in import StandInDevice
from cuda_surfaces import StandInApart, StandInSurface

from vidsr.backends.base import ResidentSession
from vidsr.backends.cuda import runner
from vidsr.backends.cuda.layer import CudaError
from vidsr.backends.cuda.runner import GpuSession
from vidsr.errors import EngineBuildError, InferenceError


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runner, "Apart", StandInApart)
    StandInApart.made, StandInApart.fails = 0, None
    yield
    StandInApart.fails = None


@pytest.fixture(params=["lazy", "threads", "no-graphs"])
def device(request: pytest.FixtureRequest) -> StandInDevice:
    mode: Any = "threads" if request.param == "threads" else "lazy"
    return StandInDevice(2, mode=mode, graphs=request.param != "no-graphs")


class Resident(Bench):
    """A session that takes surfaces, and surfaces."""

    def __init__(self, device: StandInDevice, name: str = "yuv420p", **sizes: int) -> None:
        self.of, self.devices = deployed(name, **sizes), [device]
        self.programs = [StandInProgram(device, self.of)]
        self.session = GpuSession(self.of, [(device, self.programs[0])], 2, resident=True)

    def surface(self, number: int) -> StandInSurface:
        return StandInSurface(self.devices[0], self.of.format.pixel_format, frame(self.of, number))


@pytest.mark.parametrize(
    ("name", "size"),
    [("yuv420p", (10, 6)), ("yuv420p", (7, 5)), ("yuv420p10le", (7, 5)), ("yuv420p12le", (2, 2))],
)
def test_surfaces_and_planes_give_the_same(device: StandInDevice, name: str, size: tuple[int, int]) -> None:
    with Resident(device, name, width=size[0], height=size[1]) as bench:
        assert isinstance(bench.session, ResidentSession)
        assert bench.session.takes_from == 2
        device.host_copies.clear()
        for number in range(6):
            surface = bench.surface(number)
            ticket, dst = bench.submit(surface)
            ticket.result()
            for got, wanted in zip(dst, enlarged(bench.of, surface.download()), strict=True):
                np.testing.assert_array_equal(got, wanted)
        assert device.host_copies == [*bench.programs[0].output_bytes] * 6, "only results pass the host"
        planes = frame(bench.of, 9)
        bench.verify(planes, *bench.submit(planes))


def test_surfaces_in_flight_keep_their_order_and_life(device: StandInDevice) -> None:
    with Resident(device) as bench:
        waiting = []
        for number in range(8):
            surface = bench.surface(number)
            waiting.append((surface._planes, *bench.submit(surface), weakref.ref(surface)))
            del surface
        for planes, ticket, dst, alive in waiting:
            bench.verify(planes, ticket, dst)
            assert alive() is None, "it is let go with its result"


def test_a_refused_launch_is_the_tickets(device: StandInDevice) -> None:
    with Resident(device) as bench:
        device.refuse = {device.launches}
        surface = bench.surface(1)
        ticket, _ = bench.submit(surface)
        with pytest.raises(InferenceError, match="launch refused"):
            ticket.result()
        planes = frame(bench.of, 2)
        bench.verify(planes, *bench.submit(planes))


def test_other_surfaces_are_refused(device: StandInDevice) -> None:
    with Resident(device) as bench:
        other = StandInSurface(device, bench.of.format.pixel_format, frame(deployed(width=12), 1))
        with pytest.raises(InferenceError, match=r"on the GPU are of yuv420p 12x6, not yuv420p 10x6"):
            bench.submit(other)


def test_where_they_come_by_way_of_the_host() -> None:
    def session(name: str = "yuv420p", gpus: int = 1, *, resident: bool = True) -> GpuSession:
        of, devices = deployed(name), [StandInDevice(i) for i in range(gpus)]
        made = GpuSession(of, [(one, StandInProgram(one, of)) for one in devices], 2, resident=resident)
        made.close()
        assert not any(one.live or one.misuses for one in devices)
        return made

    assert session(resident=False).takes_from is None
    assert session("yuv444p").takes_from is None
    assert session(gpus=2).takes_from is None
    assert StandInApart.made == 0
    for error in (EngineBuildError("NVRTC is not there"), CudaError("cuModuleLoadData: refused")):
        StandInApart.fails = error
        lacking = session()
        assert lacking.takes_from is None
        assert lacking.notes == [f"decoded frames come by way of the host: {error}"]
