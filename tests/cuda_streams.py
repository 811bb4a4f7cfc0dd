"""Streams, events and graphs of the stand-in for CUDA."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from cuda_pinned import POISON, Buffer, Pinned

if TYPE_CHECKING:
    from cuda_stand_in import StandInDevice

_handles = count(4096)


@dataclass(eq=False)
class Op:
    """One piece of work in a stream."""

    name: str
    run: Callable[[], None]
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    by: Any = None
    """The work that queued it."""
    done: bool = False
    known: bool = False
    """Whether the host has waited for it."""
    failure: BaseException | None = None


class Made:
    """What a device made and is closed."""

    kind = ""

    def __init__(self, device: StandInDevice) -> None:
        device.require(f"making {self.kind}")
        device.not_capturing(f"making {self.kind}")
        self.device, self.freed = device, False
        device.live[id(self)] = self.kind

    def check(self, what: str) -> None:
        if self.freed:
            self.device.misuse(f"{what}: the {self.kind} is closed")
        self.device.require(what)

    def close(self) -> None:
        if self.freed:
            self.device.misuse(f"a {self.kind} is closed twice")
        self.device.require(f"closing a {self.kind}", freeing=self)
        if self.pending():
            self.device.misuse(f"a {self.kind} is closed with pending work")
        self.freed = True
        self.device.freed(self)

    def pending(self) -> bool:
        raise NotImplementedError


class StandInStream(Made):
    kind = "stream"

    def __init__(self, device: StandInDevice) -> None:
        super().__init__(device)
        self.handle = next(_handles)
        self.captured: list[Op] | None = None
        self.ops: list[Op] = []
        device.streams[self.handle] = self
        self._worker: threading.Thread | None = None
        if device.mode == "threads":
            self._worker = threading.Thread(target=self._work, name=f"stand-in-{self.handle}")
            self._worker.start()

    def queue(self, *ops: Op) -> None:
        self.check("queueing work")
        for op in ops:
            for one in (*op.reads, *op.writes):
                one.usable(op.name)
            if op.by is not None and op.by.freed:
                self.device.misuse("a closed work is queued")
        if self.captured is not None:
            self.captured.extend(ops)
            return
        with self.device.state:
            for op in ops:
                if op.by is not None:
                    op.by.ops.append(op)
                for one in {id(b): b for b in (*op.reads, *op.writes)}.values():
                    one.uses.append(op)
                for one in op.writes:
                    if isinstance(one, Pinned):
                        one.raw[:] = POISON  # whoever looks too early must not find an old frame
                self.ops.append(op)
            self.device.state.notify_all()

    def synchronize(self) -> None:
        self.check("waiting for a stream")
        self.device.not_capturing("waiting for a stream")
        self.wait(self.ops[-1:])

    def wait(self, last: Sequence[Op]) -> None:
        """Wait until all ops up to the last are done."""
        with self.device.state:
            if not last or last[0] not in self.ops:
                return
            upto = self.ops[: self.ops.index(last[0]) + 1]
            if self._worker is None:
                for op in upto:
                    execute(op)
            else:
                self.device.state.wait_for(lambda: last[0].done)
            failures = [op.failure for op in upto if op.failure is not None]
            for op in upto:
                op.known = True
            self.ops = [op for op in self.ops if not op.known]
        if failures:
            raise failures[0]

    def pending(self) -> bool:
        return bool(self.ops) or self.captured is not None

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self.freed:
                self.device.streams.pop(self.handle, None)
                self._end_worker()

    def _end_worker(self) -> None:
        if self._worker is not None:
            with self.device.state:
                self.device.state.notify_all()
            self._worker.join()

    def _work(self) -> None:
        state = self.device.state
        while True:
            with state:
                state.wait_for(lambda: self.freed or any(not op.done for op in self.ops))
                op = next((op for op in self.ops if not op.done), None)
                delay = self.device.random.random() * 1e-3
            if op is None:
                return
            time.sleep(delay)
            execute(op)
            with state:
                state.notify_all()


class StandInEvent(Made):
    kind = "event"

    def __init__(self, device: StandInDevice) -> None:
        super().__init__(device)
        self._stream: StandInStream | None = None
        self._last: list[Op] = []

    def record(self, stream: StandInStream) -> None:
        self.check("recording an event")
        if stream.device is not self.device:
            self.device.misuse("an event is recorded in another device's stream")
        stream.check("recording an event")
        self._stream, self._last = stream, stream.ops[-1:]

    def synchronize(self) -> None:
        self.check("waiting for an event")
        self.device.not_capturing("waiting for an event")
        if self._stream is None:
            self.device.misuse("an event is waited for that was never recorded")
        self._stream.wait(self._last)

    def pending(self) -> bool:
        return any(not op.known for op in self._last)


class StandInGraph(Made):
    kind = "graph"

    def __init__(self, device: StandInDevice, ops: list[Op]) -> None:
        super().__init__(device)
        self._captured, self._launched = ops, []

    def launch(self, stream: StandInStream) -> None:
        self.check("launching a graph")
        for op in self._captured:
            for one in (*op.reads, *op.writes):
                one.usable("a launched graph")
        self.device.launching()
        ops = [replace(op) for op in self._captured]
        self._launched = [op for op in self._launched if not op.known] + ops
        stream.queue(*ops)

    def pending(self) -> bool:
        return any(not op.known for op in self._launched)


def execute(op: Op) -> None:
    if op.done:
        return
    try:
        op.run()
    except Exception as error:  # whatever it is, who waits is told
        op.failure = error
    op.done = True
