"""The backend `fused`, frames to frames: its launches on the stand-in for CUDA, its kernels on the CPU."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_stand_in import StandInDevice
from fused_stand_in import CUBIN, StandInDriver, emulated, padded
from required import require
from stacks import expected, picture, random_stack
from test_resample import along

import vidsr.backends.fused as backend
import vidsr.backends.fused_program as program
from vidsr.backends.base import SessionOptions
from vidsr.backends.cuda import driver as cuda_driver
from vidsr.backends.cuda import runner, speed
from vidsr.backends.cuda.layer import CudaError, OutOfMemory
from vidsr.backends.cuda.probing import CudaFound
from vidsr.backends.fused_program import FusedProgram
from vidsr.color import chroma_offsets
from vidsr.errors import BackendUnavailableError, EngineBuildError, InferenceError
from vidsr.frame import PixelFormat
from vidsr.kernels import FoldedStack
from vidsr.kernels.cuda.compile import Compiled
from vidsr.models.deploy import Deployed, FrameFormat
from vidsr.models.rows import RowWork, _phases


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    if shutil.which("g++") is None:
        require("compiler", "there is no g++; run: apt-get install g++")


def deployed(stack: FoldedStack, name: str, width: int, height: int) -> Deployed:
    pixels = PixelFormat.parse(name)
    of = FrameFormat(pixels)
    big = (width * stack.scale, height * stack.scale)
    offsets = [(0.5, 0.5)] * (pixels.plane_count - 1)
    if pixels.family == "yuv":
        offsets[:2] = [chroma_offsets(of.chroma_location, *pixels.chroma_shifts)] * 2
    filters = tuple((_phases(stack.scale, y), _phases(stack.scale, x)) for x, y in offsets)
    shapes = (pixels.plane_shapes(width, height), pixels.plane_shapes(*big))
    return Deployed(b"", "0" * 64, of, width, height, *big, *shapes, 0, (1, 1), True, RowWork(stack, filters))


class Bench:
    """A session of the backend on a stand-in device."""

    def __init__(self, of: Deployed, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        assert isinstance(of.rows, RowWork)
        self.of, self.stack = of, of.rows.stack
        self.device = StandInDevice(**options)
        emulation = emulated(self.stack, of.format.pixel_format.dtype, folder)
        self.driver = StandInDriver(self.device, emulation)
        monkeypatch.setattr(cuda_driver, "bindings", lambda: self.driver)
        monkeypatch.setattr(program, "bindings", lambda: self.driver)
        monkeypatch.setattr(program, "compiled", lambda *_: Compiled(CUBIN, emulation.tiling))
        monkeypatch.setattr(backend.pycuda, "missing", lambda: "")
        monkeypatch.setattr(backend.compiling, "missing", lambda: "")
        monkeypatch.setattr(backend.pycuda, "open_device", lambda _: self.device)
        found = CudaFound((self.device.info,), "CUDA 13.0", "")
        monkeypatch.setattr(backend, "find_cuda", lambda: found)

    def check(self) -> None:
        assert not self.device.misuses
        assert not self.device.live
        assert self.device._closed
        assert self.driver.loaded == 0

    @contextmanager
    def session(self) -> Any:
        session = backend.BACKEND.open(self.of, SessionOptions(in_flight=3))
        try:
            yield session
        finally:
            session.close()
        self.check()


@pytest.mark.parametrize(
    ("name", "size", "scale", "mode"),
    [("yuv420p", (61, 33), 2, "lazy"), ("yuva444p10le", (7, 5), 3, "threads"), ("gray", (1, 1), 2, "lazy")],
)
def test_frames(
    name: str, size: tuple[int, int], scale: int, mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(scale)
    of = deployed(random_stack(rng, 1, 8, scale), name, *size)
    pixels = of.format.pixel_format
    bench = Bench(of, tmp_path, monkeypatch, mode=mode)
    with bench.session() as session:
        frames = []
        for _ in range(4):
            src = tuple(picture(rng, *shape, pixels.peak, pixels.dtype) for shape in of.input_shapes)
            dst = pixels.allocate(of.out_width, of.out_height)
            frames.append((src, dst, session.submit(padded(src), dst)))
        for src, dst, ticket in frames:
            ticket.result()
            off = np.abs(dst[0] - np.clip(expected(bench.stack, src[0], pixels.peak), 0, pixels.peak))
            assert off.max() <= 0.5 + pixels.peak / 400
            for number, (one, made) in enumerate(zip(src[1:], dst[1:], strict=True)):
                x, y = chroma_offsets(of.format.chroma_location, *pixels.chroma_shifts)
                if number == 2:
                    x = y = 0.5
                wide = along(along(one.astype(np.float64), scale, y).T, scale, x).T
                rows, columns = made.shape
                assert np.abs(made - np.clip(wide, 0, pixels.peak)[:rows, :columns]).max() <= 0.51
    planes = pixels.plane_count
    assert bench.driver.launched[:planes] == ["ecbsr", *["enlarge"] * (planes - 1)]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = deployed(random_stack(np.random.default_rng(1), 1, 8, 2), "yuv420p", 9, 9)
    bench = Bench(of, tmp_path, monkeypatch)
    bench.driver.answers["cuModuleLoadData"] = 209
    with pytest.raises(EngineBuildError, match=r"cannot be brought to Stand-in 0 \(cuModuleLoadData"):
        backend.BACKEND.open(of, SessionOptions())
    bench.check()
    for code, kind in ((2, OutOfMemory), (719, CudaError)):
        device = StandInDevice()
        bench = Bench(of, tmp_path, monkeypatch)
        bench.device = bench.driver.device = device
        with device.active():
            assert isinstance(of.rows, RowWork)
            made = FusedProgram(device, of, of.rows, None)
            bench.driver.answers["cuLaunchKernel"] = code
            work = made.work()
            places = [device.memory(size) for size in (*made.input_bytes, *made.output_bytes)]
            stream = device.stream()
            with pytest.raises(kind, match="cuLaunchKernel"):
                work.enqueue(stream.handle, [p.pointer for p in places[:3]], [p.pointer for p in places[3:]])
            for one in (work, made, stream):
                one.close()
            for place in places:
                place.free()
        device.close()
        bench.check()


def test_a_launch_that_fails_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = deployed(random_stack(np.random.default_rng(1), 1, 8, 2), "gray", 9, 9)
    bench = Bench(of, tmp_path, monkeypatch, graphs=False)
    session = backend.BACKEND.open(of, SessionOptions(in_flight=2))
    pixels = of.format.pixel_format
    planes = (pixels.allocate(9, 9), pixels.allocate(18, 18))
    session.submit(*planes).result()
    bench.driver.answers["cuLaunchKernel"] = 719
    with pytest.raises(InferenceError, match="cuLaunchKernel: 719"):
        session.submit(*planes).result()
    session.close()
    bench.check()


def test_choosing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = backend.FusedBackend()
    for features, why in ((24, "8, 16 or 32 features, and this has 24"), (8, None)):
        stack = random_stack(np.random.default_rng(1), 1, features, 2)
        of = deployed(stack, "gray", 4, 4)
        assert isinstance(of.rows, RowWork)
        lacks = one.lacks(of.rows)
        assert lacks is None if why is None else why in str(lacks)
    assert one.lacks("it is another network") == "it is another network"
    deep = RowWork(random_stack(np.random.default_rng(1), 40, 32, 2), ())
    assert "do not fit" in str(one.lacks(deep))
    bench = Bench(of, tmp_path, monkeypatch)
    assert one.availability().devices == ("cuda:0",)
    assert one.resolve(SessionOptions())["device_name"] == "Stand-in 0"
    with pytest.raises(BackendUnavailableError, match="no device 'cuda:7' here"):
        one.open(of, SessionOptions(device="cuda:7"))
    with pytest.raises(BackendUnavailableError, match="computes in f16, not in bf16"):
        one.open(of, SessionOptions(precision="bf16"))
    old = CudaFound((replace(bench.device.info, capability=(7, 0)),), "CUDA 12.8", "")
    monkeypatch.setattr(backend, "find_cuda", lambda: old)
    with pytest.raises(BackendUnavailableError, match=r"wants compute capability 7\.5, .* Stand-in 0"):
        one.open(of, SessionOptions())
    assert not bench.device.live


def test_how_many_frames_at_once_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = deployed(random_stack(np.random.default_rng(1), 1, 8, 2), "gray", 9, 9)
    bench, opened = Bench(of, tmp_path, monkeypatch), []

    def fresh(ordinal: int) -> StandInDevice:
        bench.device = StandInDevice(ordinal)
        bench.driver.device = bench.device
        opened.append(bench.device)
        return bench.device

    monkeypatch.setattr(backend.pycuda, "open_device", fresh)
    monkeypatch.setattr(speed, "_FRAMES", 1)
    monkeypatch.setattr(runner, "_ROUNDS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    counts = []
    for _ in range(2):
        session = backend.BACKEND.open(of, SessionOptions())
        assert session.in_flight in (2, 3, 4)
        session.close()
        counts.append(len(opened))
    assert counts == [4, 5], "two, three and four frames at once are tried, and the best is opened"
    assert not [misuse for device in opened for misuse in device.misuses]
