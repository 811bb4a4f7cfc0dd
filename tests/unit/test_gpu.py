"""What the driver is asked before FFmpeg is; the driver is a fake, since its answers are numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from vidsr.video.gpu import Gpu, find_gpu


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    find_gpu.cache_clear()
    yield
    find_gpu.cache_clear()


def driver(patch: pytest.MonkeyPatch, *, init: int = 0, gpus: int = 1, present: str = "libcuda.so.1") -> None:
    """Put a driver in the library's place; `present` are the libraries that can be loaded."""

    def load(name: str) -> Any:
        if name not in present:
            raise OSError(name)
        return SimpleNamespace(
            cuInit=lambda flags: init,
            cuDeviceGetCount=lambda at: setattr(at._obj, "value", gpus) or 0,
            cuDeviceGet=lambda at, number: setattr(at._obj, "value", number) or 0,
            cuDeviceGetName=lambda at, size, device: setattr(at, "value", b"NVIDIA L4") or 0,
            cuDriverGetVersion=lambda at: setattr(at._obj, "value", 12080) or 0,
        )

    patch.setattr(ctypes, "CDLL", load)


def test_a_whole_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, present="libcuda.so.1 libnvcuvid.so.1")
    assert find_gpu("nvcuvid") == Gpu("NVIDIA L4", "12.8")
    assert str(find_gpu("nvcuvid")) == "NVIDIA L4, driver for CUDA 12.8"
    lacking = find_gpu("nvidia-encode")
    assert lacking.name == "NVIDIA L4"
    assert lacking.lacks == (
        "the driver's libnvidia-encode.so.1 cannot be loaded; in a container NVIDIA_DRIVER_CAPABILITIES must"
        " hold 'video'"
    )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"present": ""}, "there is no NVIDIA driver (libcuda.so.1 cannot be loaded)"),
        ({"init": 34}, "the libcuda.so.1 found here is the CUDA toolkit's stub, not a driver's"),
        ({"init": 100}, "the driver sees no NVIDIA GPU"),
        ({"gpus": 0}, "the driver sees no NVIDIA GPU"),
        ({"init": 7}, "the NVIDIA driver cannot be used (cuInit failed with 7)"),
    ],
)
def test_what_is_missing(how: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, **how)
    assert find_gpu("nvcuvid") == Gpu(lacks=says)
