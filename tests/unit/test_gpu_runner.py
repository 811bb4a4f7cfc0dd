"""Sessions on GPUs, on the strict stand-in for CUDA: frames, their order, slots and devices."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cuda_programs import Bench, StandInProgram, deployed, frame
from cuda_stand_in import StandInDevice

from vidsr.backends.base import Session, Ticket
from vidsr.backends.cuda.runner import GpuSession, choose_in_flight
from vidsr.errors import BackendError, InferenceError


@pytest.fixture(params=["lazy", "threads", "no-graphs"])
def device(request: pytest.FixtureRequest) -> Any:
    """A maker of devices in each mode."""
    mode = "threads" if request.param == "threads" else "lazy"

    def make(ordinal: int = 0, memory_bytes: int = 1 << 28) -> StandInDevice:
        return StandInDevice(ordinal, memory_bytes, mode=mode, graphs=request.param != "no-graphs")

    return make


def test_it_is_a_session(device: Any) -> None:
    with Bench(deployed(), [device()]) as bench:
        assert isinstance(bench.session, Session)
        assert isinstance(bench.submit(frame(bench.of, 1))[0], Ticket)


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("yuv420p", 10, 6),
        ("yuv420p", 7, 5),
        ("gray", 300, 3),
        ("yuva444p", 9, 9),
        ("gbrp", 4, 4),
        ("yuv420p10le", 7, 5),
        ("yuv422p16le", 10, 6),
        ("gray12le", 1, 1),
    ],
)
@pytest.mark.parametrize("padded", [0, 3])
def test_every_format_with_and_without_padded_rows(
    device: Any, name: str, width: int, height: int, padded: int
) -> None:
    of = deployed(name, width, height)
    with Bench(of, [device()]) as bench:
        for number in range(5):
            planes = frame(of, number, padded=padded)
            bench.verify(planes, *bench.submit(planes))


def test_padded_rows_of_the_result(device: Any) -> None:
    of = deployed("yuv420p10le")
    pixels = of.format.pixel_format
    with Bench(of, [device()]) as bench:
        wide = [np.full((r, c + 5), 9, pixels.dtype) for r, c in of.output_shapes]
        dst = tuple(p[:, :c] for p, (_, c) in zip(wide, of.output_shapes, strict=True))
        planes = frame(of, 1)
        bench.verify(planes, bench.session.submit(planes, dst), dst)
        for plane, (_, columns) in zip(wide, of.output_shapes, strict=True):
            assert (plane[:, columns:] == 9).all()  # the padding is the caller's


def test_one_host_copy_each_way(device: Any) -> None:
    of = deployed()
    gpu = device()
    with Bench(of, [gpu]) as bench:
        gpu.host_copies.clear()
        bench.submit(frame(of, 1))[0].result()
        sizes = [*bench.programs[0].input_bytes, *bench.programs[0].output_bytes]
        assert gpu.host_copies == sizes


def test_only_what_the_host_writes_is_write_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    gpu, host = StandInDevice(), StandInDevice.host
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "host", lambda *a, **k: made.append(host(gpu, *a, **k)) or made[-1])
        with Bench(deployed("gray", 100, 100), [gpu], 1):
            # The small one is the frame's, the large one the result's.
            assert [(one.nbytes, one.write_combined) for one in made] == [(10240, True), (40192, False)]


def test_results_in_any_order(device: Any) -> None:
    of = deployed()
    with Bench(of, [device()], 4) as bench:
        frames = [frame(of, number) for number in range(4)]
        waiting = [(planes, *bench.submit(planes)) for planes in frames]
        for planes, ticket, dst in reversed(waiting):
            bench.verify(planes, ticket, dst)
            bench.verify(planes, ticket, dst)  # asking again is harmless


def test_tickets_never_asked_for_keep_no_slot(device: Any) -> None:
    of = deployed()
    with Bench(of, [device()], 2) as bench:
        kept = [(planes := frame(of, number), *bench.submit(planes)) for number in range(20)]
        bench.session.close()
        for planes, ticket, dst in kept:
            bench.verify(planes, ticket, dst)


def test_no_more_in_flight_than_said() -> None:
    of = deployed()
    gpu = StandInDevice()
    with Bench(of, [gpu], 3) as bench:
        assert bench.session.in_flight == 3
        with gpu.state:  # nothing gets done meanwhile
            pool = ThreadPoolExecutor(1)
            entered = [threading.Event() for _ in range(5)]
            launched = gpu.launches

            def submit_all() -> None:
                for number, began in enumerate(entered):
                    bench.submit(frame(of, number))
                    began.set()

            # The fourth waits for a slot, which none can give back as long as nothing gets done.
            held = [bench.session._take() for _ in range(3)]
            submitting = pool.submit(submit_all)
            assert not entered[0].wait(0.05)
            assert gpu.launches == launched
        for slot in held:
            bench.session._give(slot)
        submitting.result(60)
        pool.shutdown()
        assert gpu.launches == launched + 5


def test_graphs_are_replayed() -> None:
    of = deployed()
    gpu = StandInDevice()
    with Bench(of, [gpu], 2) as bench:
        for number in range(6):
            bench.submit(frame(of, number))[0].result()
        assert gpu.launches == 6
        assert bench.programs[0].frames == 6 + 2  # one for each slot before its capture


@pytest.mark.parametrize("count", [2, 3])
def test_devices_in_turn(device: Any, count: int) -> None:
    of = deployed()
    gpus = [device(ordinal) for ordinal in range(count)]
    with Bench(of, gpus, 2) as bench:
        assert bench.session.in_flight == 2 * count
        before = [program.frames for program in bench.programs]
        for number in range(4 * count):
            planes = frame(of, number)
            bench.verify(planes, *bench.submit(planes))
            done = [p.frames - b for p, b in zip(bench.programs, before, strict=True)]
            assert sum(done) == number + 1
            assert max(done) - min(done) <= 1


def test_a_device_that_is_behind_is_passed_over() -> None:
    of = deployed()
    with Bench(of, [StandInDevice(0), StandInDevice(1)], 1) as bench:
        first = bench.session._take()  # device 0 is busy from here on
        for number in range(4):
            planes = frame(of, number)
            bench.verify(planes, *bench.submit(planes))
        assert [program.frames for program in bench.programs] == [1, 1 + 4]
        bench.session._give(first)


def test_two_programs_on_one_device(device: Any) -> None:
    of, gpu = deployed(), device()
    programs = [StandInProgram(gpu, of) for _ in range(2)]
    session = GpuSession(of, [(gpu, program) for program in programs], 2)
    assert session.in_flight == 4
    session.close()
    assert not gpu.live
    assert not gpu.misuses


@pytest.mark.parametrize("seed", range(3))
def test_many_threads_at_once(seed: int) -> None:
    of = deployed("yuv420p10le", 6, 4)
    gpus = [StandInDevice(ordinal, mode="threads", seed=seed) for ordinal in range(2)]
    with Bench(of, gpus, 3) as bench:

        def work(thread: int) -> None:
            chance = random.Random(seed * 100 + thread)
            waiting: list[tuple[Any, Any, Any]] = []
            for number in range(15):
                planes = frame(of, thread * 1000 + number)
                waiting.append((planes, *bench.submit(planes)))
                if chance.random() < 0.6:
                    bench.verify(*waiting.pop(chance.randrange(len(waiting))))
            chance.shuffle(waiting)
            for one in waiting:
                bench.verify(*one)

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work, thread) for thread in range(8)]:
                done.result(60)


def test_a_result_asked_for_by_many_threads(device: Any) -> None:
    of = deployed()
    with Bench(of, [device()]) as bench:
        planes = frame(of, 1)
        ticket, dst = bench.submit(planes)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: bench.verify(planes, ticket, dst), range(8)))


def test_wrong_planes_are_refused_and_keep_no_slot(device: Any) -> None:
    of = deployed()
    with Bench(of, [device()], 1) as bench:
        dst = of.format.pixel_format.allocate(of.out_width, of.out_height)
        for _ in range(3):
            with pytest.raises(InferenceError, match="planes"):
                bench.session.submit(frame(deployed("gray"), 1), dst)
        dst[0].flags.writeable = False
        with pytest.raises(InferenceError, match="read-only"):
            bench.session.submit(frame(of, 1), dst)
        planes = frame(of, 2)
        bench.verify(planes, *bench.submit(planes))


def test_a_program_of_other_planes_is_refused() -> None:
    gpu = StandInDevice()
    program = StandInProgram(gpu, deployed("yuv444p"))
    with pytest.raises(BackendError, match="bytes"):
        GpuSession(deployed(), [(gpu, program)], 2)
    assert not gpu.live


def test_a_session_needs_a_device() -> None:
    with pytest.raises(ValueError, match="device"):
        GpuSession(deployed(), [], 2)


@pytest.mark.parametrize(
    ("speeds", "wanted"),
    [
        ({2: 100.0, 3: 101.0, 4: 102.0}, 2),
        ({2: 100.0, 3: 120.0, 4: 121.0}, 3),
        ({2: 100.0, 3: 100.0, 4: 120.0}, 4),
        ({2: 100.0, 3: 90.0, 4: 80.0}, 2),
    ],
)
def test_in_flight_is_chosen_by_measuring(speeds: dict[int, float], wanted: int) -> None:
    asked: list[int] = []

    def measure(number: int) -> float:
        asked.append(number)
        # One disturbed measurement must not decide, whichever way.
        disturbed = {(2, 1): 3.0, (3, 2): 0.3, (4, 3): 0.1}
        return speeds[number] * disturbed.get((number, asked.count(number)), 1.0)

    assert choose_in_flight(measure) == wanted
    assert asked == [2, 3, 4] * 3


def test_in_flight_stops_where_memory_does() -> None:
    def measure(number: int) -> float:
        if number == 4:
            raise BackendError("full")
        return float(number)

    assert choose_in_flight(measure) == 3
    with pytest.raises(BackendError, match="full"):
        choose_in_flight(lambda number: measure(4))
