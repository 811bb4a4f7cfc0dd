"""The backend torch on a GPU: f32 as on the CPU, f16 near it, the same bytes each time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from frames import equal, gpu_of, one, psnr, source, upscale

from vidsr.backends import choose_backend, get_backend
from vidsr.backends.base import SessionOptions
from vidsr.frame import PixelFormat
from vidsr.models import FrameFormat, Model, deploy, find_model
from vidsr.models.lookup import list_models

pytestmark = pytest.mark.gpu
SIZE = (320, 184)
BACKEND = get_backend("torch")
F32 = SessionOptions(precision="f32", device="cuda:0")
F16 = SessionOptions(precision="f16", device="cuda:0")
ON_CPU = SessionOptions(precision="f32", device="cpu")


@pytest.fixture(autouse=True, scope="module")
def gpu() -> None:
    """A GPU that torch can use."""
    gpu_of("torch")


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10", "gbrp", "yuva420p", "gray16"])
@pytest.mark.parametrize("model", list_models(), ids=lambda m: m.spec.id)
def test_f32_and_f16_against_the_cpu(model: Model, name: str) -> None:
    pixels = PixelFormat.parse(name)
    deployed = deploy(model, FrameFormat(pixels), *SIZE)
    src = source(deployed)
    wanted = upscale("torch", deployed, src, ON_CPU)
    for got, other in zip(upscale("torch", deployed, src, F32), wanted, strict=True):
        off = np.abs(got.astype(np.int64) - other)
        assert off.max() <= 1  # TF32 would be many codes off at 10 bits
        assert np.mean(off > 0) <= (0.0005 if pixels.bit_depth < 16 else 0.02)
    assert psnr(upscale("torch", deployed, src, F16), wanted, pixels.peak) > 60


def test_another_target() -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    deployed = deploy(find_model("2x-rfdn-s", 2), form, *SIZE, (500, 300))
    src = source(deployed)
    assert psnr(upscale("torch", deployed, src, F16), upscale("torch", deployed, src, ON_CPU), 255) > 60


@pytest.mark.parametrize("options", [F32, F16], ids=["f32", "f16"])
def test_every_time_the_same_bytes(options: SessionOptions) -> None:
    """From another session, another stream, and with others in flight."""
    deployed = deploy(find_model("2x-imdn-rtc", 2), FrameFormat(PixelFormat.parse("yuv420p")), *SIZE)
    sources = [source(deployed, seed) for seed in range(12)]
    wanted = [upscale("torch", deployed, src, options) for src in sources[:3]]
    session = BACKEND.open(deployed, options)
    assert session.in_flight == 3
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda src: one(session, deployed, src), sources))
    assert all(equal(a, b) for a, b in zip(made, wanted, strict=False))
    assert equal(one(session, deployed, sources[-1]), made[-1])
    session.close()


def test_auto_takes_the_gpu_and_f16() -> None:
    backend, _ = choose_backend("auto", "it is no stack")
    resolved = backend.resolve(SessionOptions())
    if backend.name == "torch":
        assert (resolved["device"], resolved["precision"]) == ("cuda:0", "f16")
        assert resolved["device_name"]
    else:
        assert resolved["backend"] not in ("kernel", "openvino")


def test_a_closed_session_gives_its_memory_back() -> None:
    import torch

    deployed = deploy(find_model("2x-rfdn-s", 2), FrameFormat(PixelFormat.parse("yuv420p")), 1280, 720)
    BACKEND.open(deployed, F16).close()
    free, _ = torch.cuda.mem_get_info(0)
    session = BACKEND.open(deployed, F16)
    assert torch.cuda.mem_get_info(0)[0] < free
    session.close()
    del session
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info(0)[0] >= free - (64 << 20)
