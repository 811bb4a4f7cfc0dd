"""The backend torch around its graph: who gets it, its threads, and a GPU's side with a stand-in for CUDA."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch_pictures import picture, upscale

from vidsr.backends import automatic_names, choose_backend, get_backend, torch_session
from vidsr.backends import torch as torch_backend
from vidsr.backends.base import SessionOptions
from vidsr.backends.torch_graph import TorchGraph
from vidsr.backends.torch_session import open_on_gpu
from vidsr.errors import BackendUnavailableError, DeviceMemoryError, EngineBuildError
from vidsr.frame import PixelFormat
from vidsr.models import Deployed, FrameFormat, deploy, find_model
from vidsr.models.steps import read_graph

BACKEND = get_backend("torch")
ON_CPU = SessionOptions(device="cpu", threads=1)


@pytest.fixture(params=["yuv420p", "gbrp12"])
def deployed(request: pytest.FixtureRequest) -> Deployed:
    form = FrameFormat(PixelFormat.parse(request.param))
    return deploy(find_model("2x-ecbsr-m4c8", 2), form, 50, 34)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, ...] | str], None]:
    return lambda found: monkeypatch.setattr(torch_backend, "_gpus", lambda: found)


def test_without_a_gpu_auto_never_takes_it(gpus) -> None:
    gpus("there is no NVIDIA driver here")
    found = BACKEND.availability()
    assert (found.devices, found.precisions) == (("cpu",), ("f32", "int8"))
    assert "there is no NVIDIA driver here" in found.detail
    assert "torch" not in automatic_names()
    for options in (SessionOptions(), SessionOptions(device="cpu")):
        assert choose_backend("auto", "it is no stack", options)[0].name != "torch"
    assert "cuda:0" not in choose_backend("auto")[0].availability().devices
    with pytest.raises(BackendUnavailableError, match=r"torch \(only where it is asked for: "):
        choose_backend("auto", "it is no stack", SessionOptions(precision="f16"))
    assert choose_backend("torch")[0] is BACKEND
    assert BACKEND.resolve(SessionOptions())["precision"] == "f32"


def test_with_a_gpu_auto_takes_it_first(gpus) -> None:
    gpus(("Card A", "Card B"))
    backend, why = choose_backend("auto", "it is no stack")
    assert backend is BACKEND
    assert "on cuda:0 Card A, cuda:1 Card B" in why
    assert "torch" in automatic_names()
    assert choose_backend("auto", "no stack", SessionOptions(device="cuda:1"))[0] is BACKEND
    assert choose_backend("auto", "no stack", SessionOptions(device="cpu"))[0] is not BACKEND
    assert BACKEND._choose(SessionOptions()) == ("cuda:0", "f16")
    assert BACKEND._choose(SessionOptions(device="CUDA:1", precision="f32")) == ("cuda:1", "f32")
    assert BACKEND._choose(SessionOptions(device="cpu")) == ("cpu", "f32")
    with pytest.raises(BackendUnavailableError, match="does not compute int8 on cuda:0"):
        BACKEND._choose(SessionOptions(precision="int8"))


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_precisions_that_are_not_there(gpus, precision) -> None:
    gpus("there is no GPU")
    with pytest.raises(BackendUnavailableError, match=f"torch does not compute {precision} on cpu") as caught:
        BACKEND.resolve(SessionOptions(precision=precision))
    assert caught.value.hint == "use f32 or int8"
    with pytest.raises(BackendUnavailableError, match=r"no device 'cuda:0' here: .*there is no GPU"):
        BACKEND.resolve(SessionOptions(device="cuda:0"))


def test_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    look = torch_backend._gpus.__wrapped__
    monkeypatch.setattr(torch_backend, "missing_driver", lambda: "no driver")
    monkeypatch.setitem(sys.modules, "torch", None)  # it would raise if torch were imported
    assert look() == "no driver"
    monkeypatch.setattr(torch_backend, "missing_driver", lambda: "")
    monkeypatch.setattr(torch_backend, "_built_for_cuda", lambda: False)
    assert look() == "this torch was built without CUDA"
    monkeypatch.setattr(torch_backend.importlib.util, "find_spec", lambda _: None)
    assert BACKEND.availability().detail == "the package torch is not installed; pip install torch"
    with pytest.raises(BackendUnavailableError, match="not installed"):
        BACKEND.resolve(SessionOptions())


def test_a_torch_for_cuda_is_known_without_importing_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_backend._built_for_cuda() is (torch.version.cuda is not None)
    found = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(torch_backend.importlib.util, "find_spec", lambda _: found)
    (tmp_path / "version.py").write_text("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n")
    assert torch_backend._built_for_cuda()
    (tmp_path / "version.py").write_text("cuda: Optional[str] = None\nhip: Optional[str] = '6'\n")
    assert not torch_backend._built_for_cuda()


def test_threads_change_no_sample_and_are_given_back(deployed: Deployed) -> None:
    src = picture(deployed.format.pixel_format, 50, 34)
    wanted = upscale(BACKEND, deployed, src, ON_CPU)
    there = torch.get_num_threads()
    sessions = [BACKEND.open(deployed, SessionOptions(device="cpu", threads=n)) for n in (2, 3)]
    for session in sessions:
        made = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
        session.submit(src, made).result()
        assert all(np.array_equal(a, b) for a, b in zip(made, wanted, strict=True))
    for session in sessions:
        session.close()
        session.close()
    assert torch.get_num_threads() == there
    fresh: list[int] = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [there]


# ---- a GPU's side -------------------------------------------------------------------------------------


class _Stream:
    def __init__(self, device: str) -> None:
        self.device = device

    def synchronize(self) -> None: ...


class _Event:
    def __init__(self, *, blocking: bool) -> None:
        assert blocking

    def record(self, stream: _Stream) -> None: ...

    def synchronize(self) -> None: ...


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Pretend: "graphs" run on the CPU what they captured. Yields what happened."""
    told: list[str] = []
    buffers = torch_session._buffers

    class Graph:
        def replay(self) -> None:
            told.append("replay")
            self.place._work()  # type: ignore[attr-defined]

    @contextmanager
    def capture(graph: Graph, *, stream: _Stream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        told.append("capture")
        yield

    init = torch_session._OnGpu.__init__

    def remember(place, *arguments) -> None:
        init(place, *arguments)
        place._replay.place = place

    monkeypatch.setattr(torch_session._OnGpu, "__init__", remember)
    monkeypatch.setattr(torch_session, "_buffers", lambda shapes, depth, **_: buffers(shapes, depth))
    for name, value in {
        "Stream": _Stream, "Event": _Event, "CUDAGraph": Graph, "graph": capture,
        "stream": lambda _: nullcontext(), "device": lambda _: nullcontext(),
        "synchronize": lambda _: None, "empty_cache": lambda: told.append("emptied"),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    yield told
    assert told.count("emptied") <= 1


def test_frames_go_through_captured_graphs(cuda: list[str], deployed: Deployed) -> None:
    pixels = deployed.format.pixel_format
    src = picture(pixels, 50, 34)
    session = open_on_gpu(TorchGraph(read_graph(deployed.model_bytes)), deployed, "cuda:0", 3)
    assert session.in_flight == cuda.count("capture") == 3
    made = [pixels.allocate(100, 68) for _ in range(5)]
    for ticket in [session.submit(src, one) for one in made]:
        ticket.result()
    session.close()
    session.close()
    wanted = upscale(BACKEND, deployed, src, ON_CPU)
    assert all(np.array_equal(a, b) for one in made for a, b in zip(one, wanted, strict=True))
    assert (cuda.count("replay"), cuda.count("emptied")) == (5, 1)


@pytest.mark.parametrize("fits", [0, 2])
def test_fewer_streams_where_memory_ends(cuda, monkeypatch, deployed: Deployed, fits: int) -> None:
    graph = TorchGraph(read_graph(deployed.model_bytes))
    call, calls = TorchGraph.__call__, []

    def limited(self, planes):
        calls.append(1)
        if len(calls) > 3 * fits:  # two to warm up, one captured
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return call(self, planes)

    monkeypatch.setattr(TorchGraph, "__call__", limited)
    if not fits:
        with pytest.raises(DeviceMemoryError, match="not enough free memory for frames of 50x34") as caught:
            open_on_gpu(graph, deployed, "cuda:0", 4)
        assert "--tile" in str(caught.value.hint)
        return
    session = open_on_gpu(graph, deployed, "cuda:0", 4)
    assert session.in_flight == fits
    few = f"{fits} instead of 4 frames at once on cuda:0: its memory is full"
    assert session.notes == ((few,) if fits < 4 else ())
    session.close()


def test_what_cuda_refuses_is_said_in_a_line(cuda, monkeypatch, deployed: Deployed) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with `TORCH_USE_CUDA_DSA`")

    monkeypatch.setattr(TorchGraph, "__call__", fail)
    with pytest.raises(EngineBuildError, match=r"on cuda:0 \(CUDA error: no kernel image is available\)"):
        open_on_gpu(TorchGraph(read_graph(deployed.model_bytes)), deployed, "cuda:0", 1)


def test_an_int8_file_is_not_run_in_f16(gpus) -> None:
    gpus(("Card A",))
    form = FrameFormat(PixelFormat.parse("gray"))
    with pytest.raises(EngineBuildError, match="codes of an int8 file"):
        BACKEND.open(deploy(find_model("2x-ecbsr-m4c16", 2).at("int8"), form, 16, 16), SessionOptions())
