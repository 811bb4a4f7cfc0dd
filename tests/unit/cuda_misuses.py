"""One of everything on the stand-in for CUDA, and every way to misuse it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from cuda_programs import StandInProgram, deployed
from cuda_stand_in import Misuse, StandInDevice

N = 512
"""Bytes of each memory."""


class Parts:
    """A device with one of everything, current on this thread."""

    def __init__(self, device: StandInDevice) -> None:
        self.device = device
        self.host_in = device.host(N, write_combined=True)
        self.host_out = device.host(N)
        self.one, self.two = device.memory(N), device.memory(N)
        self.stream, self.event = device.stream(), device.event()

    def round_trip(self) -> None:
        self.device.copy_in(self.one, self.host_in, self.stream)
        self.device.copy_out(self.host_out, self.one, self.stream)


def _freed_copy(p: Parts) -> None:
    p.one.free()
    p.device.copy_in(p.one, p.host_in, p.stream)


def _freed_host(p: Parts) -> None:
    p.host_out.free()
    p.device.copy_out(p.host_out, p.one, p.stream)


def _twice(p: Parts) -> None:
    p.one.free()
    p.one.free()


def _free_at_work(p: Parts) -> None:
    p.round_trip()
    p.one.free()


def _unpinned(p: Parts) -> None:
    p.device.copy_in(p.one, np.zeros(N, np.uint8), p.stream)  # type: ignore[arg-type]


def _over_the_end(p: Parts) -> None:
    p.device.copy_in(p.one, p.device.host(N + 1), p.stream)


def _other_thread(p: Parts) -> None:
    failed: list[BaseException] = []

    def elsewhere() -> None:
        try:
            p.device.memory(N)
        except Misuse as error:
            failed.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    raise failed[0]


def _shadowed(p: Parts) -> None:
    with StandInDevice(1).active():
        p.device.event()


def _other_memory(p: Parts) -> None:
    other = StandInDevice(1)
    with other.active():
        memory = other.memory(N)
    p.device.copy_in(memory, p.host_in, p.stream)


def _work_on(p: Parts, pointer: int) -> None:
    work = StandInProgram(p.device, deployed("gray", 8, 4)).work()
    work.enqueue(p.stream.handle, [p.one.pointer], [pointer])


def _other_pointer(p: Parts) -> None:
    other = StandInDevice(1)
    with other.active():
        pointer = other.memory(N).pointer
    _work_on(p, pointer)


def _pointer_over_the_end(p: Parts) -> None:
    _work_on(p, p.two.pointer + N - 8)


def _pointer_freed(p: Parts) -> None:
    p.two.free()
    _work_on(p, p.two.pointer)


def _other_stream(p: Parts) -> None:
    work = StandInProgram(p.device, deployed("gray", 8, 4)).work()
    work.enqueue(1, [p.one.pointer], [p.two.pointer])


def _second_stream(p: Parts) -> None:
    work = StandInProgram(p.device, deployed("gray", 8, 4)).work()
    for stream in (p.stream, p.device.stream()):
        work.enqueue(stream.handle, [p.one.pointer], [p.two.pointer])


def _read_early(p: Parts) -> None:
    p.round_trip()
    p.event.record(p.stream)
    np.copyto(np.empty(N, np.uint8), p.host_out.array)


def _read_by_event_of_before(p: Parts) -> None:
    p.event.record(p.stream)
    p.round_trip()
    p.event.synchronize()
    p.host_out.array.copy()


def _read_one(p: Parts) -> None:
    p.round_trip()
    p.host_out.array[3:][0]


def _compare(p: Parts) -> None:
    p.round_trip()
    _ = p.host_out.array == 1


def _write_early(p: Parts) -> None:
    p.round_trip()
    np.copyto(p.host_in.array, np.zeros(N, np.uint8))


def _fill_early(p: Parts) -> None:
    p.round_trip()
    p.host_in.array[:8].fill(0)


def _set_early(p: Parts) -> None:
    p.round_trip()
    p.host_in.array[:8] = 0


def _read_write_combined(p: Parts) -> None:
    np.copyto(np.empty(N, np.uint8), p.host_in.array)


def _read_freed(p: Parts) -> None:
    view = p.host_out.array[:8]
    p.host_out.free()
    view.copy()


def _close_stream(p: Parts) -> None:
    p.round_trip()
    p.stream.close()


def _close_event(p: Parts) -> None:
    p.round_trip()
    p.event.record(p.stream)
    p.event.close()


def _closed_event(p: Parts) -> None:
    p.event.close()
    p.event.record(p.stream)


def _event_never_recorded(p: Parts) -> None:
    p.event.synchronize()


def _graph_of_freed(p: Parts) -> None:
    graph = p.device.capture(p.stream, p.round_trip)
    p.one.free()
    assert graph is not None
    graph.launch(p.stream)


def _graph_of_closed_work(p: Parts) -> None:
    work = StandInProgram(p.device, deployed("gray", 8, 4)).work()

    def queue() -> None:
        work.enqueue(p.stream.handle, [p.one.pointer], [p.two.pointer])

    queue()
    p.stream.synchronize()
    graph = p.device.capture(p.stream, queue)
    work.close()
    assert graph is not None
    graph.launch(p.stream)


def _close_graph_at_work(p: Parts) -> None:
    graph = p.device.capture(p.stream, p.round_trip)
    assert graph is not None
    graph.launch(p.stream)
    graph.close()


def _close_work_at_work(p: Parts) -> None:
    work = StandInProgram(p.device, deployed("gray", 8, 4)).work()
    work.enqueue(p.stream.handle, [p.one.pointer], [p.two.pointer])
    work.close()


def _program_before_work(p: Parts) -> None:
    program = StandInProgram(p.device, deployed("gray", 8, 4))
    program.work()
    program.close()


def _capture_cold(p: Parts) -> None:
    work = StandInProgram(p.device, deployed("gray", 8, 4)).work()
    p.device.capture(p.stream, lambda: work.enqueue(p.stream.handle, [p.one.pointer], [p.two.pointer]))


def _capture_waits(p: Parts) -> None:
    p.device.capture(p.stream, p.stream.synchronize)


def _capture_allocates(p: Parts) -> None:
    p.device.capture(p.stream, lambda: p.device.memory(N) and None)


def _closed_while_current(p: Parts) -> None:
    p.device.close()


MISUSES: list[tuple[Callable[[Parts], None], str]] = [
    (_freed_copy, "uses freed device memory"),
    (_freed_host, "uses freed pinned memory"),
    (_twice, "freed twice"),
    (_free_at_work, "freed while work"),
    (_unpinned, "ndarray and not pinned memory"),
    (_over_the_end, "513 bytes from or to 512"),
    (_other_thread, "not current on this thread"),
    (_shadowed, "not current on this thread"),
    (_other_memory, "uses memory of GPU 1"),
    (_other_pointer, "pointer that is not GPU 0's"),
    (_pointer_over_the_end, "over the end"),
    (_pointer_freed, "uses freed device memory"),
    (_other_stream, "stream that is not GPU 0's"),
    (_second_stream, "second stream"),
    (_read_early, "before the event"),
    (_read_by_event_of_before, "before the event"),
    (_read_one, "before the event"),
    (_compare, "before the event"),
    (_write_early, "while a copy"),
    (_fill_early, "while a copy"),
    (_set_early, "while a copy"),
    (_read_write_combined, "write-combined"),
    (_read_freed, "uses freed pinned memory"),
    (_close_stream, "stream is closed with pending work"),
    (_close_event, "event is closed with pending work"),
    (_closed_event, "event is closed"),
    (_event_never_recorded, "never recorded"),
    (_graph_of_freed, "a launched graph uses freed device memory"),
    (_graph_of_closed_work, "a closed work is queued"),
    (_close_graph_at_work, "graph is closed with pending work"),
    (_close_work_at_work, "work is closed with pending work"),
    (_program_before_work, "before its works"),
    (_capture_cold, "captured before its first run"),
    (_capture_waits, "while a graph is captured"),
    (_capture_allocates, "while a graph is captured"),
    (_closed_while_current, "while it is current"),
]
