"""What the driver is asked before FFmpeg is."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

from vidsr.backends.cuda.layer import DeviceInfo
from vidsr.backends.cuda.probing import CudaFound
from vidsr.video import gpu
from vidsr.video.gpu import Gpu, find_gpu

L4 = DeviceInfo(0, "NVIDIA L4", (8, 9), 24 << 30, "580.95 (CUDA 13.0)")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    find_gpu.cache_clear()
    yield
    find_gpu.cache_clear()


def test_a_whole_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name != "libnvcuvid.so.1":
            raise OSError(name)

    monkeypatch.setattr(gpu, "find_cuda", lambda: CudaFound((L4,), L4.driver, ""))
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert find_gpu("nvcuvid") == Gpu("NVIDIA L4", "580.95 (CUDA 13.0)")
    assert str(find_gpu("nvcuvid")) == "NVIDIA L4, driver 580.95 (CUDA 13.0)"
    lacking = find_gpu("nvidia-encode")
    assert lacking.name == "NVIDIA L4"
    assert lacking.lacks == (
        "the driver's libnvidia-encode.so.1 cannot be loaded; in a container NVIDIA_DRIVER_CAPABILITIES must"
        " hold 'video'"
    )


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_cuda", lambda: CudaFound((), "", "no driver is here; install it"))
    assert find_gpu("nvcuvid") == Gpu(lacks="no driver is here; install it")
