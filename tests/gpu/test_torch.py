"""The backend torch on a GPU: f32 as on the CPU, f16 near it, the same bytes each time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vidsr.backends import Session, choose_backend, get_backend
from vidsr.backends.base import SessionOptions
from vidsr.frame import PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
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
    found = BACKEND.availability()
    if "cuda:0" in found.devices:
        return
    asked = os.environ.get("VIDSR_REQUIRE", "").replace(" ", "").split(",")
    if os.environ.get("VIDSR_REQUIRE_GPU") == "1" or "gpu" in asked:
        pytest.fail(f"a GPU is required: {found.detail}", pytrace=False)
    pytest.skip(found.detail)


def _source(deployed: Deployed, seed: int = 0) -> Planes:
    pixels, rng = deployed.format.pixel_format, np.random.default_rng(seed)
    made = []
    for shape in deployed.input_shapes:
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.45 * np.sin(rows / 5.1 + seed) * np.cos(columns / 7.3)
        codes = (wave + rng.normal(0, 0.05, shape)) * pixels.peak
        made.append(np.clip(codes, 0, pixels.peak).astype(pixels.dtype))
    return tuple(made)


def _one(session: Session, deployed: Deployed, src: Planes) -> Planes:
    dst = deployed.format.pixel_format.allocate(deployed.out_width, deployed.out_height)
    session.submit(src, dst).result()
    return dst


def _upscale(deployed: Deployed, src: Planes, options: SessionOptions) -> Planes:
    session = BACKEND.open(deployed, options)
    made = _one(session, deployed, src)
    session.close()
    return made


def _equal(one: Planes, other: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _psnr(got: Planes, wanted: Planes, peak: int) -> float:
    off = np.concatenate([(a.astype(float) - b).ravel() for a, b in zip(got, wanted, strict=True)])
    return float(10 * np.log10(peak**2 / max(np.mean(off**2), 1e-12)))


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10", "gbrp", "yuva420p", "gray16"])
@pytest.mark.parametrize("model", list_models(), ids=lambda m: m.spec.id)
def test_f32_and_f16_against_the_cpu(model: Model, name: str) -> None:
    pixels = PixelFormat.parse(name)
    deployed = deploy(model, FrameFormat(pixels), *SIZE)
    src = _source(deployed)
    wanted = _upscale(deployed, src, ON_CPU)
    for one, other in zip(_upscale(deployed, src, F32), wanted, strict=True):
        off = np.abs(one.astype(np.int64) - other)
        assert off.max() <= 1  # TF32 would be many codes off at 10 bits
        assert np.mean(off > 0) <= (0.0005 if pixels.bit_depth < 16 else 0.02)
    assert _psnr(_upscale(deployed, src, F16), wanted, pixels.peak) > 60


def test_another_target() -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    deployed = deploy(find_model("2x-rfdn-s", 2), form, *SIZE, (500, 300))
    src = _source(deployed)
    assert _psnr(_upscale(deployed, src, F16), _upscale(deployed, src, ON_CPU), 255) > 60


@pytest.mark.parametrize("options", [F32, F16], ids=["f32", "f16"])
def test_every_time_the_same_bytes(options: SessionOptions) -> None:
    """From another session, another stream, and with others in flight."""
    deployed = deploy(find_model("2x-imdn-rtc", 2), FrameFormat(PixelFormat.parse("yuv420p")), *SIZE)
    sources = [_source(deployed, seed) for seed in range(12)]
    wanted = [_upscale(deployed, src, options) for src in sources[:3]]
    session = BACKEND.open(deployed, options)
    assert session.in_flight == 3
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda src: _one(session, deployed, src), sources))
    assert all(_equal(one, other) for one, other in zip(made, wanted, strict=False))
    assert _equal(_one(session, deployed, sources[-1]), made[-1])
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
