"""Sessions on GPUs where something goes wrong: kernels, launches, memory, closing; on the stand-in."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cuda_programs import BAD, FATAL, Bench, StandInProgram, deployed, frame
from cuda_stand_in import Misuse, StandInDevice

from vidsr.backends.cuda.layer import CudaError, OutOfMemory
from vidsr.backends.cuda.runner import GpuSession
from vidsr.errors import BackendError, InferenceError
from vidsr.frame import Planes


def _marked(planes: Planes, first: int) -> Planes:
    planes[0][0, 0] = first
    return planes


def _raises_each_time(ticket: Any, said: str) -> None:
    for _ in range(3):
        with pytest.raises(InferenceError, match=said) as caught:
            ticket.result()
        assert caught.value.stage == "inference"


@pytest.mark.parametrize("mode", ["lazy", "threads"])
@pytest.mark.parametrize("graphs", [True, False])
def test_a_kernel_that_fails_on_one_frame(mode: Any, graphs: bool) -> None:
    of = deployed()
    with Bench(of, [StandInDevice(mode=mode, graphs=graphs)], 3) as bench:
        frames = [frame(of, number) for number in range(9)]
        _marked(frames[4], BAD)
        waiting = [(planes, *bench.submit(planes)) for planes in frames]
        for number, (planes, ticket, dst) in enumerate(waiting):
            if number == 4:
                _raises_each_time(ticket, r"GPU 0 \(Stand-in 0\) failed \(an illegal memory access")
            else:
                bench.verify(planes, ticket, dst)


@pytest.mark.parametrize("graphs", [True, False])
def test_a_launch_that_is_refused(graphs: bool) -> None:
    of = deployed()
    gpu = StandInDevice(graphs=graphs)
    with Bench(of, [gpu], 2) as bench:
        gpu.refuse = {gpu.launches + 3}
        frames = [frame(of, number) for number in range(8)]
        # Submitted by one thread, so that the fourth frame has the fourth launch.
        waiting = [(planes, *bench.submit(planes)) for planes in frames]
        for number, one in enumerate(waiting):
            if number == 3:
                _raises_each_time(one[1], "launch refused")
            else:
                bench.verify(*one)


def test_memory_that_runs_out_on_the_way_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    of = deployed("gray", 1920, 8)
    gpu = StandInDevice()
    with Bench(of, [gpu], 1) as bench:
        with monkeypatch.context() as patch:
            patch.setattr(gpu, "launching", lambda: (_ for _ in ()).throw(OutOfMemory("out of memory")))
            ticket, _ = bench.submit(frame(of, 1))
            _raises_each_time(ticket, "out of memory.*--tile 512")
        planes = frame(of, 2)
        bench.verify(planes, *bench.submit(planes))


@pytest.mark.parametrize("mode", ["lazy", "threads"])
def test_a_lost_device_fails_every_frame_and_closes_without_a_word_more(mode: Any) -> None:
    of = deployed()
    gpu = StandInDevice(mode=mode)
    bench = Bench(of, [gpu], 2)
    _raises_each_time(bench.submit(_marked(frame(of, 1), FATAL))[0], "illegal memory access")
    for number in range(5):
        _raises_each_time(bench.submit(frame(of, number))[0], "illegal memory access")
    bench.session.close()
    bench.check()


def test_a_device_lost_between_frames_is_said_when_it_is_closed() -> None:
    gpu = StandInDevice()
    bench = Bench(deployed(), [gpu], 2)
    gpu.dead = True
    with pytest.raises(InferenceError, match="given back"):
        bench.session.close()
    bench.session.close()
    bench.check()


@pytest.mark.parametrize("mode", ["lazy", "threads"])
def test_closing_waits_for_frames_in_flight(mode: Any) -> None:
    of = deployed()
    with Bench(of, [StandInDevice(0, mode=mode), StandInDevice(1, mode=mode)], 4) as bench:
        waiting = [(planes := frame(of, number), *bench.submit(planes)) for number in range(8)]
        bench.session.close()
        bench.check()
        bench.session.close()
        for planes, ticket, dst in waiting:
            bench.verify(planes, ticket, dst)
        with pytest.raises(InferenceError, match="closed"):
            bench.submit(frame(of, 1))


def test_closing_lets_those_go_who_wait_for_a_slot() -> None:
    of = deployed()
    bench = Bench(of, [StandInDevice()], 1)
    slot = bench.session._take()
    with ThreadPoolExecutor(3) as pool:
        submitting = pool.submit(bench.submit, frame(of, 1))
        assert not threading.Event().wait(0.05)
        closing = [pool.submit(bench.session.close) for _ in range(2)]
        with pytest.raises(InferenceError, match="closed"):
            submitting.result(60)
        assert not any(one.done() for one in closing)
        bench.session._give(slot)
        for one in closing:
            one.result(60)
    bench.check()


@pytest.mark.parametrize("mode", ["lazy", "threads"])
def test_an_interrupt_while_submitting_keeps_no_slot(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of = deployed()
    with Bench(of, [StandInDevice(mode=mode)], 1) as bench:

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(bench.session._threads, "submit", interrupted)
            with pytest.raises(KeyboardInterrupt):  # the work is in the stream by then
                bench.submit(frame(of, 1))
        planes = frame(of, 2)
        bench.verify(planes, *bench.submit(planes))


def _need(of: Any) -> int:
    """Bytes of the device that one slot takes."""
    gpu = StandInDevice()
    with Bench(of, [gpu], 1):
        return gpu._used


def test_fewer_slots_where_memory_is_short() -> None:
    of = deployed()
    room = _need(of) * 2 + 100
    gpus = [StandInDevice(0, room), StandInDevice(1)]
    with Bench(of, gpus, 4) as bench:
        assert bench.session.in_flight == 2 + 4
        assert bench.session.notes == [
            "2 instead of 4 frames at once on GPU 0 (Stand-in 0), whose memory is full"
        ]
        for number in range(12):
            planes = frame(of, number)
            bench.verify(planes, *bench.submit(planes))


def test_fewer_slots_where_the_program_wants_more() -> None:
    of = deployed()
    with Bench(of, [StandInDevice(0, 3_500_000)], 4, work_bytes=1_000_000) as bench:
        assert bench.session.in_flight == 3
        assert len(bench.session.notes) == 1
        planes = frame(of, 1)
        bench.verify(planes, *bench.submit(planes))


@pytest.mark.parametrize("room", range(0, 4000, 500))
def test_no_room_for_one_frame(room: int) -> None:
    of = deployed("yuv420p", 40, 20)
    assert _need(of) >= 4000
    with pytest.raises(BackendError, match=r"GPU 0 .*40x20; use --tile 64, or end") as caught:
        Bench(of, [StandInDevice(1 - 1, room)], 4)
    assert isinstance(caught.value.__cause__, OutOfMemory)


def test_no_room_on_the_second_device_frees_the_first() -> None:
    with pytest.raises(BackendError, match="GPU 1"):
        Bench(deployed(), [StandInDevice(0), StandInDevice(1, 10)], 2)


class _Broken(StandInProgram):
    """Fails at one of the works' steps."""

    def __init__(self, device: StandInDevice, of: Any, error: BaseException, at: int) -> None:
        super().__init__(device, of)
        self.error, self.at, self.calls = error, at, 0

    def work(self) -> Any:
        work = super().work()
        enqueue = work.enqueue

        def counted(*arguments: Any) -> None:
            self.calls += 1
            if self.calls == self.at:
                raise self.error
            enqueue(*arguments)

        work.enqueue = counted  # type: ignore[method-assign]
        return work


@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("error", [CudaError("no kernel image"), Misuse("x"), KeyboardInterrupt()])
def test_a_program_that_fails_while_opening_leaves_nothing(at: int, error: BaseException) -> None:
    # First slot: run, capture; second slot: the same.
    of, gpu = deployed(), StandInDevice()
    wanted = BackendError if isinstance(error, CudaError) else type(error)
    with pytest.raises(wanted) as caught:
        GpuSession(of, [(gpu, _Broken(gpu, of, error, at))], 2)
    if wanted is BackendError:
        assert str(caught.value) == (
            "GPU 0 (Stand-in 0) cannot run this (no kernel image); see what nvidia-smi says,"
            " or choose another backend"
        )
    assert not gpu.live
    assert not gpu.misuses


@pytest.mark.parametrize("at", [3, 4])
def test_memory_that_runs_out_in_the_first_run_means_fewer_slots(at: int) -> None:
    of, gpu = deployed(), StandInDevice()
    session = GpuSession(of, [(gpu, _Broken(gpu, of, OutOfMemory("full"), at))], 2)
    assert session.in_flight == 1
    assert session.notes
    session.close()
    assert not gpu.live
    assert not gpu.misuses


def test_frames_do_not_mix_when_one_fails_among_many() -> None:
    of = deployed()
    with Bench(of, [StandInDevice(mode="threads", seed=4)], 4) as bench:
        frames = [frame(of, number) for number in range(40)]
        for planes in frames[::5]:
            _marked(planes, BAD)
        waiting = [(planes, *bench.submit(planes)) for planes in frames]
        for number, (planes, ticket, dst) in enumerate(waiting):
            if number % 5:
                bench.verify(planes, ticket, dst)
            else:
                before = [np.array(plane) for plane in dst]
                _raises_each_time(ticket, "illegal")
                assert all((a == b).all() for a, b in zip(before, dst, strict=True))
