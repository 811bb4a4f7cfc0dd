"""The backend `tensorrt` from deployed graphs to planes, with a TensorRT that computes by the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpus import Machine, machine_in

from vidsr.backends import SessionOptions, get_backend
from vidsr.backends.cuda.probing import CudaFound
from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.tensorrt import backend
from vidsr.errors import BackendError, BackendUnavailableError, EngineBuildError
from vidsr.frame import PixelFormat, Planes
from vidsr.models import find_model
from vidsr.models.deploy import Deployed, FrameFormat, deploy
from vidsr.upscaler import Upscaler, UpscalerOptions

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with machine_in(tmp_path, monkeypatch) as here:
        yield here


def fitting(deployed: Deployed, seed: int = 0) -> Planes:
    random, pixels = np.random.default_rng(seed), deployed.format.pixel_format
    smooth = []
    for rows, columns in deployed.input_shapes:
        flat = random.integers(0, pixels.peak + 1, (-(-rows // 8), -(-columns // 8)))
        smooth.append(np.kron(flat, np.ones((8, 8)))[:rows, :columns])
    return tuple(plane.astype(pixels.dtype) for plane in smooth)


def deployed_for(
    name: str = "ecbsr-m4c8", form: str = "yuv420p", size: tuple[int, int] = (32, 20)
) -> Deployed:
    return deploy(find_model(name, 2), FrameFormat(PixelFormat.parse(form)), *size)


def upscaled(
    deployed: Deployed, options: SessionOptions, frames: list[Planes], by: str = "tensorrt"
) -> list[Planes]:
    size = (deployed.out_width, deployed.out_height)
    made = [deployed.format.pixel_format.allocate(*size) for _ in frames]
    with closing(get_backend(by).open(deployed, options)) as session:
        for ticket in [session.submit(src, dst) for src, dst in zip(frames, made, strict=True)]:
            ticket.result()
    return made


@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le"])
def test_frames_are_those_of_float32_but_for_fp16(machine: Machine, form: str) -> None:
    deployed = deployed_for(form=form)
    frames = [fitting(deployed, seed) for seed in range(5)]
    made = upscaled(deployed, SessionOptions(), frames)
    wanted = upscaled(deployed, SessionOptions(precision="f32"), frames, "openvino")
    for one, other in zip(made, wanted, strict=True):
        for plane, reference in zip(one, other, strict=True):
            off = np.abs(plane.astype(int) - reference)
            assert off.max() <= max(1, deployed.format.pixel_format.peak >> 7)
    assert not np.array_equal(made[0][0], made[1][0])


def test_an_engine_is_built_once_for_all_gpus_of_a_kind(machine: Machine) -> None:
    deployed = deployed_for()
    for device in ("auto", "cuda:0", "cuda:1"):
        upscaled(deployed, SessionOptions(device=device), [fitting(deployed)])
    assert machine.builds() == ["0 9.0 None"], "GPU 1 is of the same kind"
    upscaled(deployed, SessionOptions(device="cuda:2"), [fitting(deployed)])
    assert machine.builds()[1:] == ["2 9.0 None"], "built on the GPU that it is for"


def test_frames_are_dealt_to_all_gpus_in_turn(machine: Machine) -> None:
    deployed = deployed_for()
    upscaled(deployed, SessionOptions(device="cuda:0"), [fitting(deployed)])
    upscaled(deployed, SessionOptions(device="cuda:2"), [fitting(deployed)])
    machine.made.clear()
    frames = [fitting(deployed, seed) for seed in range(9)]
    made = upscaled(deployed, SessionOptions(device="all", in_flight=2), frames)
    alone = upscaled(deployed, SessionOptions(device="cuda:1"), frames)
    assert [device.info.ordinal for device in machine.made[:3]] == [0, 1, 2]
    assert all(device.launches >= 1 for device in machine.made[:3]), "one that is behind is passed over"
    for one, other in zip(made, alone, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
def test_an_engine_for_a_range_of_sizes_is_taken_where_it_fits(machine: Machine) -> None:
    model, form = find_model("ecbsr-m4c8", 2), FrameFormat(PixelFormat.parse("yuv420p"))
    sizes = [(16, 16), (32, 20), (64, 40)]

    def prepared(again: bool = False) -> bool:
        return backend.BACKEND.prepare(
            model,
            form,
            sizes,
            device="auto",
            precision="auto",
            cache=EngineCache(),
            progress=lambda *_: True,
            said=lambda _: None,
            again=again,
        )[1]

    assert [prepared(), prepared(), prepared(again=True)] == [True, False, True]
    assert machine.builds() == ["0 9.0 ((16, 16), (20, 32), (40, 64))"] * 2
    for size in [(16, 16), (40, 24), (64, 40)]:
        deployed = deployed_for(size=size)
        (made,) = upscaled(deployed, SessionOptions(), [fitting(deployed)])
        (wanted,) = upscaled(deployed, SessionOptions(precision="f32"), [fitting(deployed)], "openvino")
        assert np.abs(made[0].astype(int) - wanted[0]).max() <= 2
    assert len(machine.builds()) == 2
    for size in [(66, 40), (33, 20), (32, 21)]:  # too wide; odd, whose chroma is cropped
        deployed = deployed_for(size=size)
        upscaled(deployed, SessionOptions(), [fitting(deployed)])
    deployed = deployed_for(form="yuv420p10le")
    upscaled(deployed, SessionOptions(), [fitting(deployed)])
    assert len(machine.builds()) == 6, "each of those has an engine of its own"


def test_what_is_wrong_is_refused_and_not_kept(machine: Machine) -> None:
    machine.library(wrong_by=3)
    deployed = deployed_for()
    with pytest.raises(EngineBuildError, match=r"not accurate enough: \d+\.\d+ dB .* at least 50 .*not kept"):
        upscaled(deployed, SessionOptions(), [fitting(deployed)])
    assert not list(EngineCache().all())


def test_a_damaged_engine_is_built_anew(machine: Machine) -> None:
    deployed = deployed_for()
    upscaled(deployed, SessionOptions(), [fitting(deployed)])
    (path,) = EngineCache().folder.glob("*.engine")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    upscaled(deployed, SessionOptions(), [fitting(deployed)])
    assert len(machine.builds()) == 2


def test_a_build_is_told_of_and_stopped(machine: Machine) -> None:
    deployed, told = deployed_for(), []

    def stop(phase: str, step: int, steps: int) -> bool:
        told.append((phase, step, steps))
        return phase != "tactics"

    with pytest.raises(EngineBuildError, match="stopped"):
        upscaled(deployed, SessionOptions(told=stop), [fitting(deployed)])
    assert told[-1][0] == "tactics"
    assert not list(EngineCache().all())


def test_fewer_frames_at_once_where_memory_is_short(machine: Machine) -> None:
    upscaler = Upscaler(
        find_model("ecbsr-m4c8", 2), FrameFormat(PixelFormat.parse("gray")), 32, 20, backend.BACKEND
    )
    assert upscaler.in_flight in (2, 3, 4)
    upscaler.close()
    machine.library(contexts=1)
    options = UpscalerOptions(session=SessionOptions(in_flight=3))
    small = Upscaler(
        find_model("ecbsr-m4c8", 2), FrameFormat(PixelFormat.parse("gray")), 32, 20, backend.BACKEND, options
    )
    assert small.in_flight == 1
    assert small.notes == ["1 instead of 3 frames at once on GPU 0 (Test 0), whose memory is full"]
    small.close()


def test_tiles_where_memory_does_not_suffice_for_whole_frames(machine: Machine) -> None:
    model, form = find_model("ecbsr-m4c8", 2), FrameFormat(PixelFormat.parse("gray"))
    machine.memory = 500_000  # 340 x 300 and twice that are 510,000 bytes
    with Upscaler(model, form, 340, 300, backend.BACKEND) as upscaler:
        assert upscaler.cut == "4 tiles of 176x156 pixels a frame"
        assert upscaler.notes[0].startswith(
            "tiles of 256 pixels are used: GPU 0 (Test 0) has not enough free memory"
        )
    with pytest.raises(BackendError, match=r"not enough free memory .* --tile"):
        Upscaler(model, form, 340, 300, backend.BACKEND, UpscalerOptions(tile="0"))


def test_other_precisions_and_devices_are_refused_in_words(machine: Machine) -> None:
    choose = backend.BACKEND.resolve
    with pytest.raises(BackendUnavailableError, match="computes in f16, not in bf16"):
        choose(SessionOptions(precision="bf16"))
    with pytest.raises(BackendUnavailableError, match=r"no device 'cuda:7' here.*cuda:2 Test 1"):
        choose(SessionOptions(device="cuda:7"))
    assert choose(SessionOptions(device="all"))["device"] == "cuda:0, cuda:1, cuda:2"
    assert choose(SessionOptions())["capability"] == "9.0"
    eight = deploy(find_model("ecbsr-m4c16", 2).at("int8"), FrameFormat(PixelFormat.parse("gray")), 32, 20)
    with pytest.raises(EngineBuildError, match="int8 file"):
        backend.BACKEND.open(eight, SessionOptions())


def test_without_a_driver_nothing_else_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find_library() -> Any:
        asked.append("library")
        raise AssertionError

    monkeypatch.setattr(backend, "find_cuda", lambda: CudaFound((), "", "no driver is here; install it"))
    monkeypatch.setattr(backend, "find_library", find_library)
    found = backend.BACKEND.availability()
    assert (found.usable, found.detail) == (False, "no driver is here; install it")
    with pytest.raises(BackendUnavailableError, match="no driver is here; install it"):
        backend.BACKEND.open(deployed_for(), SessionOptions())
    assert not asked
