"""TensorRT without a GPU: engines that compute by the simulation of FP16, on the stand-in for CUDA.

`build` is what the building process calls: its engine is the typed graph itself. `FakeTrt` is the module that
runs it, and wants from its caller what TensorRT wants: addresses of all tensors, shapes where they vary.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cuda_stand_in
import numpy as np
from cuda_streams import Op

from vidsr.backends.tensorrt.builder import BuildOptions, Built
from vidsr.backends.tensorrt.library import Library
from vidsr.models.half import TypedGraph
from vidsr.models.simulate import run_typed

HERE = Path(__file__).parent
JOURNAL = "VIDSR_FAKE_JOURNAL"
"""Variable with the name of a file that every build adds a line to: what the process saw of GPUs."""


def build(typed: TypedGraph, options: BuildOptions, progress: Callable[[str, int, int], bool]) -> Built:
    with Path(os.environ[JOURNAL]).open("a") as journal:
        journal.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {options.capability} {options.dynamic}\n")
    for step in range(3):
        progress("tactics", step + 1, 3)
    return Built(pickle.dumps(typed), b"timings", ())


@dataclass
class Log:
    said: list[tuple[str, str]] = field(default_factory=list)

    def take(self) -> list[tuple[str, str]]:
        said, self.said = self.said, []
        return said


class FakeTrt:
    """The part of the module `tensorrt` that runs engines."""

    def __init__(self, log: Log, *, wrong_by: int = 0, contexts: int = 100) -> None:
        self.log, self.wrong_by, self.contexts = log, wrong_by, contexts
        self.runs, self.scale = 0, 2

    def Runtime(self, log: Log) -> FakeTrt:  # noqa: N802 - TensorRT's name
        assert log is self.log
        cuda_stand_in.current().require("loading an engine")
        return self

    def deserialize_cuda_engine(self, data: bytes) -> FakeEngine | None:
        cuda_stand_in.current().require("loading an engine")
        try:
            return FakeEngine(self, pickle.loads(data))  # noqa: S301 - made above
        except pickle.UnpicklingError:
            self.log.said.append(("error", "the engine is of another version"))
            return None


class FakeEngine:
    def __init__(self, trt: FakeTrt, typed: TypedGraph) -> None:
        self.trt, self.typed = trt, typed

    def create_execution_context(self) -> FakeContext | None:
        if not self.trt.contexts:
            self.trt.log.said.append(("error", "Cuda Runtime (out of memory)"))
            return None
        self.trt.contexts -= 1
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self._trt, self._typed = engine.trt, engine.typed
        self._shapes = dict(enumerate(self._typed.carriers))
        self._pointers: dict[str, int] = {}

    def __del__(self) -> None:
        self._trt.contexts += 1

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        known = self._typed.carriers[int(name[1:])]
        assert len(shape) == len(known)
        assert all(side in (-1, given) for side, given in zip(known, shape, strict=True))
        self._shapes[int(name[1:])] = shape
        return True

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        assert pointer % 256 == 0
        self._pointers[name] = pointer
        return True

    def execute_async_v3(self, stream: int) -> bool:
        device = cuda_stand_in.current()
        kind = self._typed.pixel_format.dtype
        shapes = [self._shapes[i] for i in range(len(self._shapes))]
        assert all(-1 not in shape for shape in shapes), "sizes that vary must be given"
        src, read = [], []
        for number, shape in enumerate(shapes):
            memory, raw = device.find(self._pointers[f"p{number}"], int(np.prod(shape)), "an engine")
            read.append(memory)
            src.append(raw.view(kind).reshape(shape[2:4]))
        written, dst = [], []
        for number, (plane, shape) in enumerate(zip(src, self._typed.out_carriers, strict=True)):
            size = plane.nbytes * self._trt.scale**2 if -1 in shape else int(np.prod(shape))
            memory, raw = device.find(self._pointers[f"q{number}"], size, "an engine")
            written.append(memory)
            dst.append(raw)

        def work() -> None:
            self._trt.runs += 1
            for raw, made in zip(dst, run_typed(self._typed, tuple(src)), strict=True):
                made = made + kind.type(self._trt.wrong_by)
                raw[:] = np.ascontiguousarray(made).view(np.uint8).ravel()

        device.streams[stream].queue(Op("kernel", work, tuple(read), tuple(written), None))
        return True


def library(**faults: Any) -> Library:
    """Return a library that passes for TensorRT; `faults` are `FakeTrt`'s."""
    log = Log()
    return Library("tensorrt", "10.13.3", FakeTrt(log, **faults), log)


@contextmanager
def importable(journal: Path) -> Iterator[None]:
    """Let the building process import this module, and write to a journal."""
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    changed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), JOURNAL: str(journal)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
