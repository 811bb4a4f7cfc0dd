"""Every backend on a GPU: near float32, the same bytes each time, no memory lost, types as intended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from frames import equal, gpu_of, one, psnr, source, upscale

from vidsr.backends import SessionOptions, get_backend
from vidsr.backends.cuda import pycuda
from vidsr.backends.cuda.driver import call, primary_context
from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.tensorrt.gate import LIMIT_DB
from vidsr.backends.tensorrt.library import find_library
from vidsr.backends.tensorrt.program import EngineProgram
from vidsr.frame import PixelFormat
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.models.half import half
from vidsr.models.lookup import list_models
from vidsr.upscaler import Upscaler, UpscalerOptions

pytestmark = pytest.mark.gpu
SIZE = (320, 184)
F16 = SessionOptions(precision="f16", device="cuda:0")
F32 = SessionOptions(precision="f32")
BACKENDS = ("tensorrt", "fused", "torch")


@pytest.fixture(params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    gpu_of(request.param)
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Engines are built once for all tests of this file, into a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def able(name: str, deployed: Deployed) -> Deployed:
    """Skip what a backend does not do, as it says itself."""
    if why := get_backend(name).lacks(deployed.rows):
        pytest.skip(f"{name}: {why}")
    return deployed


def deployed_of(
    model: str = "2x-ecbsr-m4c16", form: str = "yuv420p", size: tuple[int, int] = SIZE
) -> Deployed:
    return deploy(find_model(model, 2), FrameFormat(PixelFormat.parse(form)), *size)


@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("model", list_models(), ids=lambda m: m.spec.id)
def test_f16_against_float32_on_the_cpu(name: str, model: Model, form: str) -> None:
    deployed = able(name, deploy(model, FrameFormat(PixelFormat.parse(form)), *SIZE))
    src = source(deployed)
    wanted = upscale("openvino", deployed, src, F32)
    assert psnr(upscale(name, deployed, src, F16), wanted, deployed.format.pixel_format.peak) >= LIMIT_DB


@pytest.mark.parametrize("size", [(1, 1), (17, 2), (333, 217), (1366, 768)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    deployed = able(name, deployed_of(size=size))
    src = source(deployed)
    wanted = upscale("openvino", deployed, src, F32)
    assert psnr(upscale(name, deployed, src, F16), wanted, 255) >= LIMIT_DB


def test_the_same_bytes_in_every_run_and_stream(name: str) -> None:
    deployed = able(name, deployed_of())
    frames = [source(deployed, seed) for seed in range(12)]
    with closing(get_backend(name).open(deployed, SessionOptions(device="cuda:0", in_flight=1))) as session:
        alone = [one(session, deployed, frame) for frame in frames]
    with (
        closing(get_backend(name).open(deployed, SessionOptions(device="cuda:0", in_flight=4))) as session,
        ThreadPoolExecutor(8) as threads,
    ):
        together = list(threads.map(lambda frame: one(session, deployed, frame), frames * 3))
    assert all(equal(a, b) for a, b in zip(alone * 3, together, strict=True))
    assert not equal(alone[0], alone[1])


def test_tiles(name: str) -> None:
    """The fused kernel's are exact; others may sum in another order for another size."""
    model, form, backend = (
        find_model("ecbsr-m4c16", 2),
        FrameFormat(PixelFormat.parse("gray")),
        get_backend(name),
    )
    src = source(able(name, deploy(model, form, 300, 200)))
    made = []
    for tile in ("0", "96"):
        with Upscaler(model, form, 300, 200, backend, UpscalerOptions(session=F16, tile=tile)) as upscaler:
            dst = form.pixel_format.allocate(*upscaler.size_out)
            upscaler.submit(src, dst).result()
            made.append(dst)
    if backend.tiles_exact:
        assert equal(*made)
    assert psnr(made[0], made[1], 255) >= LIMIT_DB


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_memory_is_lost_over_ten_thousand_frames(name: str) -> None:
    deployed = able(name, deployed_of())
    src = source(deployed)
    free = []
    for _ in range(2):  # the first time libraries keep what they load
        with closing(get_backend(name).open(deployed, F16)) as session:
            for _ in range(5000):
                one(session, deployed, src)
        with primary_context(0):
            free.append(call("cuMemGetInfo"))
    assert free[1] >= free[0] - (1 << 20), f"{(free[0] - free[1]) >> 10} KiB are gone"


def test_the_inspector_confirms_the_types() -> None:
    gpu_of("tensorrt")
    deployed = deployed_of()
    upscale("tensorrt", deployed, source(deployed), F16)
    typed = half(deployed)
    entry = next(e for e in EngineCache().all() if e.record and e.record.key.graph == typed.digest)
    assert entry.record is not None
    engine = EngineCache().get(entry.record.key)
    assert engine is not None
    device = pycuda.open_device(0)
    try:
        program = EngineProgram(device, find_library(), engine.data, typed, deployed)
        with device.active():
            layers = json.loads(program.inspect())["Layers"]
            program.close()
    finally:
        device.close()
    named = {layer["Name"]: json.dumps(layer) for layer in layers if isinstance(layer, dict)}
    convolutions = {text for name, text in named.items() if "conv" in text.lower()}
    assert len(convolutions) >= 6, "ecbsr-m4c16 has six"
    assert all("half" in text.lower() or "fp16" in text.lower() for text in convolutions)
