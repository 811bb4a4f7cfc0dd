"""A machine with GPUs and TensorRT, for the backend `tensorrt`: nothing of it is real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_tensorrt
import pytest
from cuda_stand_in import StandInDevice

from vidsr.backends.cuda import pycuda, runner, speed
from vidsr.backends.cuda.layer import DeviceInfo
from vidsr.backends.cuda.probing import CudaFound
from vidsr.backends.tensorrt import backend, engines


class Machine:
    """A machine with two GPUs and TensorRT."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journal = folder / "journal"
        self.made: list[StandInDevice] = []
        self.memory = 1 << 28
        self._patch = monkeypatch
        infos = tuple(DeviceInfo(i, f"Test {i // 2}", (9, 0), 1 << 28, "580.95") for i in range(3))
        monkeypatch.setattr(backend, "find_cuda", lambda: CudaFound(infos, "580.95", ""))
        monkeypatch.setattr(backend, "missing", lambda kind: None)
        monkeypatch.setattr(pycuda, "missing", lambda: "")
        monkeypatch.setattr(pycuda, "open_device", self.opened)
        monkeypatch.setattr(engines, "BUILDER", "fake_tensorrt")
        monkeypatch.setattr(speed, "_FRAMES", 1)  # the simulation takes its time
        monkeypatch.setattr(runner, "_ROUNDS", 1)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        self.library()

    def library(self, **faults: Any) -> fake_tensorrt.FakeTrt:
        found = fake_tensorrt.library(**faults)
        self._patch.setattr(backend, "find_library", lambda: found)
        trt: fake_tensorrt.FakeTrt = found.module
        return trt

    def opened(self, ordinal: int) -> StandInDevice:
        self.made.append(StandInDevice(ordinal, self.memory))
        self.made[-1].info = DeviceInfo(ordinal, f"Test {ordinal // 2}", (9, 0), self.memory, "580.95")
        return self.made[-1]

    def builds(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []


@contextmanager
def machine_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine whose caches are in a folder; in the end every device must have been given back."""
    with fake_tensorrt.importable(folder / "journal"):
        here = Machine(folder, monkeypatch)
        yield here
    assert all(device._closed for device in here.made), "every device is given back"
    assert not [misuse for device in here.made for misuse in device.misuses]
