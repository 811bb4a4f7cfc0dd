"""The interface to CUDA by pycuda, on stand-ins that do what pycuda and cuda-bindings document."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pycuda_stand_in import Context, Error, cuda_driver, pycuda_driver

from vidsr.backends.cuda import graphs
from vidsr.backends.cuda import pycuda as layer
from vidsr.backends.cuda.layer import CudaError, DeviceInfo, OutOfMemory
from vidsr.backends.cuda.probing import CudaFound
from vidsr.errors import BackendUnavailableError

INFO = DeviceInfo(0, "NVIDIA L4", (8, 9), 23 << 30, "CUDA 13.0")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What was called; pycuda is there, with a GPU."""
    calls: list[Any] = []
    package: Any = ModuleType("pycuda")
    package.driver = pycuda_driver(calls)
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", package.driver)
    monkeypatch.setattr(layer, "find_cuda", lambda: CudaFound((INFO,), "CUDA 13.0", ""))
    for cached in (layer.missing, graphs._missing):
        cached.cache_clear()
    yield calls
    for cached in (layer.missing, graphs._missing):
        cached.cache_clear()
    assert not Context.stack()


@pytest.fixture
def results(log: list[Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What functions of cuda-bindings, which is there, result in if not in 0."""
    given: dict[str, int] = {}
    bindings: Any = ModuleType("cuda.bindings")
    bindings.driver = cuda_driver(log, given)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    return given


def test_memory_streams_events_and_copies(log: list[Any]) -> None:
    device = layer.open_device(0)
    with device.active(), device.active():
        host_in, host_out = device.host(8, write_combined=True), device.host(8)
        memory, stream, event = device.memory(8), device.stream(), device.event()
        assert (memory.pointer, stream.handle, device.free_bytes()) == (0x7F00, 77, 5)
        device.copy_in(memory, host_in, stream)
        device.copy_out(host_out, memory, stream)
        event.record(stream)
        stream.synchronize()
        assert log[:6] == [
            ("init",),
            ("device", 0),
            ("pinned", 8, 4),
            ("pinned", 8, 0),
            ("stream", 1),
            ("event", 3),
        ]
        assert [call[0] for call in log[6:]] == ["in", "out", "recorded", "stream synchronized"]
        assert log[6][1] == 0x7F00 == log[7][2]
        with pytest.raises(CudaError, match=r"^cuEventSynchronize failed: an illegal memory access was enc"):
            event.synchronize()
        with pytest.raises(CudaError, match="a copy of 9 bytes from or to 8"):
            device.copy_in(device.memory(9), host_in, stream)
        stream.close()
        with pytest.raises(CudaError, match="closed"):
            event.record(stream)
        host_in.free()
        memory.free()
        assert log[-2:] == [("freed", "pinned"), ("freed", "memory")]
        with pytest.raises(CudaError, match="freed"):
            _ = host_in.array
        with pytest.raises(OutOfMemory, match="out of memory"):
            device.memory(2000)


def test_the_context_is_popped_whatever_happens(log: list[Any]) -> None:
    device = layer.open_device(0)
    with device.active(), pytest.raises(OutOfMemory), device.active():
        device.memory(2000)
    with pytest.raises(CudaError), device.active():
        device.event().synchronize()
    assert not Context.stack()


def test_it_is_released_on_a_thread_that_ends(log: list[Any]) -> None:
    device = layer.open_device(0)
    device.close()
    assert log[-1] == ("released", "vidsr-cuda-close")
    device._context.detach = lambda: (_ for _ in ()).throw(Error("dead"))  # type: ignore[method-assign]
    with pytest.raises(CudaError, match="dead"):
        device.close()


def test_no_graphs_without_bindings(log: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    device = layer.open_device(0)
    with device.active():
        assert device.capture(device.stream(), lambda: pytest.fail("called")) is None


def test_graphs(log: list[Any], results: dict[str, int]) -> None:
    device = layer.open_device(0)
    with device.active():
        stream = device.stream()
        log.clear()
        graph = device.capture(stream, lambda: log.append("work"))
        assert graph is not None
        graph.launch(stream)
        graph.close()
    handle = ("stream", 77)
    assert log == [
        ("cuStreamBeginCapture", handle, 1),
        "work",
        ("cuStreamEndCapture", handle),
        ("cuGraphInstantiate", "graph", 0),
        ("cuGraphDestroy", "graph"),
        ("cuGraphLaunch", "executable", handle),
        ("cuGraphExecDestroy", "executable"),
    ]


def test_a_capture_that_fails_is_ended(log: list[Any], results: dict[str, int]) -> None:
    device = layer.open_device(0)
    with device.active():
        stream = device.stream()
        log.clear()
        with pytest.raises(ZeroDivisionError):
            device.capture(stream, lambda: 1 // 0 and None)
        assert [call[0] for call in log] == ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphDestroy"]
        results["cuStreamEndCapture"] = 901
        with pytest.raises(ZeroDivisionError):
            device.capture(stream, lambda: 1 // 0 and None)
        with pytest.raises(CudaError, match="cuStreamEndCapture: 901"):
            device.capture(stream, lambda: None)
        results.clear()
        results["cuGraphInstantiate"] = 2
        with pytest.raises(OutOfMemory):
            device.capture(stream, lambda: None)
        assert log[-1] == ("cuGraphDestroy", "graph")


def test_what_is_missing_is_said(log: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"no GPU 1 here; there are: 0 \(NVIDIA L4\)"):
        layer.open_device(1)
    for name, module, said in (
        ("pycuda", None, "the package pycuda is not installed; pip install pycuda"),
        ("init", Error("bad"), r"pycuda does not start \(bad\); build it again"),
    ):
        layer.missing.cache_clear()
        with monkeypatch.context() as patch:
            if name == "init":
                patch.setattr(sys.modules["pycuda.driver"], "init", lambda e=module: (_ for _ in ()).throw(e))
            else:
                patch.setitem(sys.modules, "pycuda", module)
                patch.delitem(sys.modules, "pycuda.driver")
            with pytest.raises(BackendUnavailableError, match=said):
                layer.open_device(0)
    with monkeypatch.context() as patch:  # pycuda warns before it raises, and warnings are errors here
        (tmp_path / "pycuda").mkdir()
        (tmp_path / "pycuda/__init__.py").touch()
        source = "import warnings\nwarnings.warn('old')\nraise ImportError('undefined symbol: cuInit')\n"
        (tmp_path / "pycuda/driver.py").write_text(source)
        patch.syspath_prepend(tmp_path)
        for name in ("pycuda.driver", "pycuda"):
            patch.delitem(sys.modules, name)
        layer.missing.cache_clear()
        assert layer.missing().startswith("pycuda does not start (undefined symbol: cuInit); build it again")
        del sys.modules["pycuda"]
    layer.missing.cache_clear()
    monkeypatch.setattr(layer, "find_cuda", lambda: CudaFound((), "", "no NVIDIA driver is here; install it"))
    with pytest.raises(BackendUnavailableError, match="no NVIDIA driver is here; install it"):
        layer.open_device(0)
