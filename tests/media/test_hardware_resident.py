"""Frames that NVDEC leaves on the GPU: read by DLPack, taken by a session, or brought down."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from cuda_stand_in import StandInDevice
from cuda_surfaces import StandInApart
from fake_gpu import FakeContext, install
from synth import make_clip
from test_hardware_decoding import B_FRAMES, CLIPS, asked, seen

from vidsr.backends.cuda import driver, runner
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan
from vidsr.rehearsal import open_upscaler, trial_reader
from vidsr.report import JobReport
from vidsr.resident import ResidentFrame, source_of
from vidsr.video import hardware, surface
from vidsr.video.dlpack import CPU, tensor_of
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span
from vidsr.video.surface import Surface

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))
from fake_gpus import Machine, machine_in


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StandInDevice:
    """What decodes, and keeps its frames."""
    install(monkeypatch)
    device = StandInDevice()
    monkeypatch.setattr(FakeContext, "device", lambda: device)
    return device


@pytest.mark.parametrize("name", ["nv12", "p010le", "p016le", "yuv420p", "gray10le"])
def test_dlpack_says_where_planes_are(name: str) -> None:
    frame = av.VideoFrame(66, 34, name)
    for number, plane in enumerate(frame.planes):
        view: Any = np.frombuffer(plane, np.uint8)
        view[:] = number + 1
        found = tensor_of(plane)
        assert (found.pointer, found.device) == (view.ctypes.data, (CPU, 0))
        size = frame.format.components[0].bits > 8
        assert found.itemsize == 1 + size
        assert found.shape[:2] == ((34, 66) if number == 0 else (17, 33))
        assert found.strides[0] == plane.line_size
        assert (
            np.ctypeslib.as_array((np.ctypeslib.ctypes.c_ubyte * 4).from_address(found.pointer))[0]
            == number + 1
        )


def test_its_memory_lives_as_long_as_the_tensor() -> None:
    frame = av.VideoFrame(640, 360, "nv12")
    np.frombuffer(frame.planes[0], np.uint8)[:] = 42
    found = tensor_of(frame.planes[0])
    del frame
    others = [av.VideoFrame(640, 360, "nv12") for _ in range(8)]
    for one in others:
        np.frombuffer(one.planes[0], np.uint8)[:] = 7
    memory = (np.ctypeslib.ctypes.c_ubyte * 640).from_address(found.pointer)
    assert set(memory) == {42}


TAKEN = ["h264", "h264 full range", "h264 10 bit", "hevc hdr", "hevc 12 bit", "av1 odd", "vp9 odd"]


@pytest.mark.parametrize("name", TAKEN)
def test_frames_stay_and_are_the_cpus_when_looked_at(name: str, gpu: StandInDevice, tmp_path: Path) -> None:
    suffix = ".mkv" if "vp9" in name else ".mp4"
    info = probe(make_clip(tmp_path / f"clip{suffix}", times=12, **CLIPS[name]))
    decoding = asked(info).staying(0)
    expected, _ = seen(info, None)
    found, reader = seen(info, decoding)
    assert found == expected
    assert reader.warnings == []
    assert reader.decoder == f"{info.codec} on the GPU (NVDEC of NVIDIA L4), in whose memory the frames stay"
    with Reader(info, decoding=decoding) as frames:
        for frame in frames:
            assert isinstance(frame, ResidentFrame)
            assert isinstance(source_of(frame), Surface)
            assert (frame.width, frame.height) == (info.width, info.height)
            assert frame.nbytes == frames.frame_bytes


def test_they_stay_only_on_the_networks_gpu(gpu: StandInDevice, tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "clip.mp4", times=4))
    for number in (None, 1):
        decoding = asked(info).staying(number)
        assert not decoding.resident
        with Reader(info, decoding=decoding) as frames:
            assert not any(isinstance(frame, ResidentFrame) for frame in frames)
    assert not asked(probe(make_clip(tmp_path / "two.mkv", codec="ffv1"))).staying(0).resident


def test_what_has_to_come_down_does(gpu: StandInDevice, tmp_path: Path) -> None:
    woven = {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}}
    for name, options in {"422": CLIPS["h264 4:2:2"], "444": CLIPS["hevc 4:4:4"], "woven": woven}.items():
        info = probe(make_clip(tmp_path / f"{name}.mp4", times=12, **options))
        expected, _ = seen(info, None)
        found, reader = seen(info, asked(info).staying(0))
        assert found == expected, name
        assert reader.decoder == f"{info.codec} on the GPU (NVDEC of NVIDIA L4)"


def test_a_surface_that_is_laid_out_otherwise_comes_down(
    gpu: StandInDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = probe(make_clip(tmp_path / "clip.mp4", times=4))
    expected, _ = seen(info, None)
    for fault, why in (
        ({"pointer": 4}, "its rows are not aligned"),
        ({"device": (CPU, 0)}, "it is not laid out as NV12 is"),
        ({"itemsize": 2}, "it is not laid out as NV12 is"),
        ({"strides": (32, 1)}, "it is not laid out as NV12 is"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(surface, "tensor_of", lambda plane, fault=fault: replace(tensor_of(plane), **fault))
            found, reader = seen(info, asked(info).staying(0))
        assert found == expected
        assert reader.warnings == [f"frames come down from the GPU: {why}"]


def test_a_resident_decoder_works_in_the_sessions_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg refuses a primary context that is in use with other flags than its own; see `_new_context`."""
    asked: list[Any] = []

    class Bindings:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: asked.append((name, *arguments)) or (0, name)

    def create(*arguments: Any) -> Any:
        asked.append(("created", arguments[:2], arguments[2].options, arguments[2].is_hw_owned))
        raise av.error.ExternalError(0, "", "")

    monkeypatch.setattr(driver, "bindings", Bindings)
    monkeypatch.setattr(av.CodecContext, "create", create)
    driver._retained.cache_clear()
    for _ in range(2):
        with pytest.raises(hardware.FellBackError):
            hardware.open_context("hevc", resident=True)
    driver._retained.cache_clear()
    options = {"primary_ctx": "0", "current_ctx": "1"}
    pushed = [
        ("cuCtxPushCurrent", "cuDevicePrimaryCtxRetain"),
        ("created", ("hevc", "r"), options, True),
        ("cuCtxPopCurrent",),
    ]
    retained = [("cuInit", 0), ("cuDeviceGet", 0), ("cuDevicePrimaryCtxRetain", "cuDeviceGet")]
    assert asked == [*retained, *pushed, *pushed]
    asked.clear()
    with pytest.raises(hardware.FellBackError):
        hardware.open_context("hevc")
    assert asked == [("created", ("hevc", "r"), {}, False)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    install(monkeypatch)
    monkeypatch.setattr(runner, "Apart", StandInApart)
    StandInApart.fails = None
    with machine_in(tmp_path, monkeypatch) as here:
        monkeypatch.setattr(FakeContext, "device", lambda: here.made[-1])
        yield here


@pytest.mark.media
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
def test_a_job_whose_frames_stay_makes_the_same_file(pixels: str, machine: Machine, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(48, 32), times=8, pixel_format=pixels, options=B_FRAMES)
    job = Job(
        source=clip,
        output=tmp_path / "host.mp4",
        model="ecbsr-m4c8",
        backend="tensorrt",
        encoder_threads=1,
    )

    def done(**options: Any) -> tuple[JobReport, bytes, list[int]]:
        asked_for = replace(job, **options)
        report = run(asked_for)
        assert asked_for.output is not None
        return report, asked_for.output.read_bytes(), machine.made[-1].host_copies

    plain, expected, copies = done()
    assert plain.decoder == "h264 on the CPU"
    assert set(copies) > {1536 * (1 + ("10" in pixels))}
    report, made, copies = done(hwaccel="cuda", output=tmp_path / "gpu.mp4")
    assert report.decoder == "h264 on the GPU (NVDEC of NVIDIA L4), in whose memory the frames stay"
    assert report.warnings == plain.warnings
    assert report.reused.frames == 0
    assert made == expected
    size = 1 + ("10" in pixels)
    assert copies == [96 * 64 * size, 48 * 32 * size, 48 * 32 * size] * 8, "only results pass the host"


@pytest.mark.media
def test_a_job_that_cannot_take_them_there_says_so(machine: Machine, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(48, 32), times=4, options=B_FRAMES)
    StandInApart.fails = runner.EngineBuildError("NVRTC is not there")
    job = Job(
        source=clip, output=tmp_path / "out.mp4", model="ecbsr-m4c8", backend="tensorrt", hwaccel="cuda"
    )
    report = run(job)
    assert report.decoder == "h264 on the GPU (NVDEC of NVIDIA L4)"
    assert "decoded frames come by way of the host: NVRTC is not there" in report.warnings
    StandInApart.fails = None
    tiled = run(replace(job, output=tmp_path / "tiled.mp4", tile="32"))
    assert tiled.decoder == "h264 on the GPU (NVDEC of NVIDIA L4)"
    everywhere = run(replace(job, output=tmp_path / "all.mp4", device="all"))
    assert everywhere.decoder == "h264 on the GPU (NVDEC of NVIDIA L4)"


@pytest.mark.media
def test_a_trial_reads_as_its_job_does(machine: Machine, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(48, 32), times=8, options=B_FRAMES)
    job = Job(
        source=clip, output=tmp_path / "out.mp4", model="ecbsr-m4c8", backend="tensorrt", hwaccel="cuda"
    )
    plan = make_plan(job)
    with open_upscaler(job, plan) as upscaler, trial_reader(job, plan, upscaler, Span(frames=2)) as reader:
        assert all(isinstance(frame, ResidentFrame) for frame in reader)
