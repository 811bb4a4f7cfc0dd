"""The kernel that takes NVDEC's surfaces apart: its own source on the CPU, its launch, NVRTC."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_stand_in import StandInDevice
from emulation import FLAGS, SOURCES
from required import require
from test_fused_compile import CAPABILITIES

from vidsr.backends.cuda import apart as program
from vidsr.backends.cuda import driver
from vidsr.backends.cuda.apart import Apart
from vidsr.frame import PixelFormat
from vidsr.kernels.cuda import compile as compiling
from vidsr.resident import Rows, can_stay

HERE = Path(__file__).parent
SIZES = [(1, 1), (2, 2), (7, 5), (8, 8), (16, 17), (64, 9), (257, 33), (300, 18), (640, 8)]


class Emulated:
    """The kernel for samples of one kind."""

    def __init__(self, kind: Any, folder: Path, edit: tuple[str, str] = ("", "")) -> None:
        if shutil.which("g++") is None:
            require("compiler", "there is no g++; run: apt-get install g++")
        self.kind = np.dtype(kind)
        for name in ("samples.cuh", "apart.cu"):
            text = (SOURCES / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace(*edit), encoding="utf-8")
        for name in ("emulator.h", "apart.cpp"):
            (folder / name).write_bytes((HERE / "cuda" / name).read_bytes())
        made = folder / "apart.so"
        command = ["g++", *FLAGS.split(), "-Wno-unused-function", f"-DBYTES={self.kind.itemsize}"]
        subprocess.run([*command, str(folder / "apart.cpp"), "-o", str(made)], check=True)
        self._library = ctypes.PyDLL(str(made))
        self._library.run_apart.restype = ctypes.c_char_p

    def run(self, grid: tuple[int, int], threads: int, arguments: Any) -> None:
        pointers = [ctypes.c_uint64(value) for value in arguments[:5]]
        numbers = [ctypes.c_int(value) for value in arguments[5:]]
        call = (ctypes.c_char * 60)(*b"".join(bytes(value) for value in (*pointers, *numbers)))
        fault = self._library.run_apart(ctypes.byref(call), *grid, threads)
        assert fault is None, fault.decode()


@pytest.fixture(scope="module", params=[np.uint8, np.uint16], ids=["8 bit", "16 bit"])
def emulated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    return Emulated(request.param, tmp_path_factory.mktemp("apart"))


class InMemory:
    """Planes as a surface, at addresses of this process; see `vidsr.resident.DevicePlanes`."""

    ordinal = 0

    def __init__(self, pixels: PixelFormat, planes: Any) -> None:
        self.pixel_format, self.size = pixels, planes[0].shape[::-1]
        kind = pixels.dtype
        self.shift = 8 * kind.itemsize - pixels.bit_depth
        rng = np.random.default_rng(1)
        pairs = np.stack(planes[1:], -1).reshape(planes[1].shape[0], -1)
        self.kept, rows = [], []
        for plane in (planes[0], pairs):
            pitch = -(-(plane.shape[1] * kind.itemsize + int(rng.integers(0, 40))) // 8) * 8
            memory = np.full((plane.shape[0] + 1) * pitch, 0xEE, np.uint8)
            start = -memory.ctypes.data % 8
            view = memory[start : start + plane.shape[0] * pitch].view(kind).reshape(plane.shape[0], -1)
            # Rubbish below the code, to be cut off.
            low = rng.integers(0, 1 << self.shift, plane.shape, kind) if self.shift else 0
            view[:, : plane.shape[1]] = (plane << self.shift) | low
            self.kept.append(memory)
            rows.append(Rows(memory.ctypes.data + start, pitch))
        self.luma, self.pairs = rows

    def download(self) -> Any:
        raise AssertionError("it is to be taken from where it is")


def frame(pixels: PixelFormat, size: tuple[int, int]) -> Any:
    rng = np.random.default_rng(size[0])
    return [rng.integers(0, pixels.peak + 1, s).astype(pixels.dtype) for s in pixels.plane_shapes(*size)]


def check(emulated: Emulated, monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int]) -> None:
    pixels = PixelFormat.parse(name)
    planes = frame(pixels, size)
    source = InMemory(pixels, planes)
    calls: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(program, "call", lambda name, *a: calls.append(name) or name)
        patch.setattr(program, "launch", lambda f, grid, threads, s, a, t: emulated.run(grid, threads, a))
        patch.setattr(program, "compiled_apart", lambda *_: b"")
        made = [np.full(plane.size + 16, 77, pixels.dtype) for plane in planes]
        kernel = Apart(StandInDevice().info, pixels, None)
        for offset in (0, 3):  # aligned for whole words, and not
            targets = [one[offset : offset + plane.size] for one, plane in zip(made, planes, strict=True)]
            kernel.enqueue(77, source, [one.ctypes.data for one in targets])
            for plane, target, whole in zip(planes, targets, made, strict=True):
                np.testing.assert_array_equal(target.reshape(plane.shape), plane)
                target[:] = 77
                assert (whole == 77).all(), "it wrote beside the plane"
        kernel.close()
    assert calls == ["cuModuleLoadData", "cuModuleGetFunction", "cuModuleUnload"]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_surfaces_come_apart(
    emulated: Emulated, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    names = ["yuv420p"] if emulated.kind == np.uint8 else ["yuv420p10le", "yuv420p12le", "yuv420p16le"]
    for name in names:
        check(emulated, monkeypatch, name, size)


FAULTS = [
    (": word >> shift &", ": word &"),
    ("parts[i % 2]", "parts[0]"),
    ("(part ? v : u)", "(part ? u : v)"),
    ("if (x + i < width) to[i]", "to[i]"),
    ("if (first + i < small_width) to[i]", "to[i]"),
    ("* small_width + first", "* (small_width + 1) + first"),
    ("(width + 1) / 2, small", "width / 2, small"),
    ("(height + 1) / 2", "height / 2"),
    ("x + RUN <= width && ", ""),
]


@pytest.mark.slow
@pytest.mark.parametrize("edit", FAULTS, ids=lambda e: e[0])
def test_planted_faults_are_seen(
    edit: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edit[0] in (SOURCES / "apart.cu").read_text(encoding="utf-8")
    broken = Emulated(np.uint16, tmp_path, edit)

    def all_sizes() -> None:
        for size in SIZES:
            check(broken, monkeypatch, "yuv420p10le", size)

    with pytest.raises(AssertionError):
        all_sizes()


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
def test_compiles_without_spilling(capability: tuple[int, int], tmp_path: Path) -> None:
    if why := compiling.missing():
        require("nvrtc", why)
    for sample_bytes in (1, 2):
        options = compiling._options(capability, {"BYTES": sample_bytes})
        _, log = compiling.build(compiling.source(compiling.APART), (*options, "--ptxas-options=-v"))
        assert re.findall(r"(\d+) bytes spill", log) == ["0", "0"]
        kept = compiling.compiled_apart(sample_bytes, capability, tmp_path)
        assert kept.startswith(b"\x7fELF")
    assert len(list(tmp_path.iterdir())) == 2


def test_formats() -> None:
    taken = ("yuv420p", "yuv420p10le", "yuv420p12le")
    assert all(can_stay(PixelFormat.parse(name)) for name in taken)
    for name in ("gray", "yuv422p", "yuv444p", "yuva420p", "gbrp"):
        assert not can_stay(PixelFormat.parse(name))


def test_what_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Bindings:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: asked.append((name, arguments)) or (0, name)

        def CUstream(self, handle: int) -> Any:  # noqa: N802
            return ("stream", handle)

    monkeypatch.setattr(driver, "bindings", Bindings)
    monkeypatch.setattr(program, "compiled_apart", lambda *given: given)
    pixels = PixelFormat.parse("yuv420p10le")
    kernel = Apart(StandInDevice().info, pixels, None)
    source = InMemory(pixels, frame(pixels, (1919, 1079)))
    kernel.enqueue(5, source, (256, 512, 768))
    assert asked[0] == ("cuModuleLoadData", ((2, (9, 0), None),))
    assert asked[1] == ("cuModuleGetFunction", ("cuModuleLoadData", b"apart"))
    name, (function, *grid, threads, one, other, shared, stream, given, extra) = asked[2]
    assert (name, function) == ("cuLaunchKernel", "cuModuleGetFunction")
    assert (grid, threads, one, other, shared) == ([15, 135 + 68, 1], 256, 1, 1, 0)
    assert (stream, extra) == (("stream", 5), 0)
    values, types = given
    assert values[2:5] == (256, 512, 768)
    assert values[7:] == (1919, 1079, 6)
    assert [ctypes.sizeof(kind) for kind in types] == [8] * 5 + [4] * 5
