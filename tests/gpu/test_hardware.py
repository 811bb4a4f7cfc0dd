"""Decoding and encoding on a real NVIDIA GPU. VIDSR_REQUIRE_GPU=1 makes its absence a failure.

The driver's libraries for video are not in every container: VIDSR_REQUIRE=nvdec,nvenc asks for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from frames import gpu_of
from required import require

from vidsr.backends.cuda.probing import find_cuda
from vidsr.errors import HardwareError
from vidsr.frame import VideoInfo
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.video.hardware import gpu_to_decode, plan_decoding
from vidsr.video.nvenc import NVENC, gpu_to_encode, require_gpu
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span

sys.path.insert(0, str(Path(__file__).parents[1] / "media"))
from synth import make_clip

pytestmark = pytest.mark.gpu

B_FRAMES = {"bf": "3", "g": "12", "preset": "veryfast"}
QUIET = {"x265-params": "log-level=error:bframes=4"}
CLIPS: dict[str, dict[str, Any]] = {
    "h264": {"options": B_FRAMES},
    "h264 full range": {"options": B_FRAMES, "colors": (2, 5, 6, 6)},
    "h264 interlaced": {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}},
    "h264 odd": {"options": B_FRAMES, "size": (350, 262)},
    "hevc": {"codec": "libx265", "options": QUIET},
    "hevc 10 bit": {"codec": "libx265", "options": QUIET, "pixel_format": "yuv420p10le"},
    "hevc 12 bit": {"codec": "libx265", "options": QUIET, "pixel_format": "yuv420p12le"},
    "hevc 4:4:4": {"codec": "libx265", "options": QUIET, "pixel_format": "yuv444p"},
    "hevc 4:4:4 10 bit": {"codec": "libx265", "options": QUIET, "pixel_format": "yuv444p10le"},
    "vp9": {"codec": "libvpx-vp9"},
    "vp9 odd": {"codec": "libvpx-vp9", "size": (333, 217)},
    "av1": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "av1 10 bit": {"codec": "libsvtav1", "options": {"preset": "12"}, "pixel_format": "yuv420p10le"},
    # Newer GPUs take these, older ones leave them to the CPU: the planes are the same.
    "h264 10 bit": {"options": B_FRAMES, "pixel_format": "yuv420p10le"},
    "h264 4:2:2": {"options": B_FRAMES, "pixel_format": "yuv422p10le"},
}

ABLE_LATER = {("h264_nvenc", "yuv420p10le"), ("av1_nvenc", "yuv420p"), ("av1_nvenc", "yuv420p10le")}
"""What not every NVENC encodes."""


def absent(name: str, why: str) -> None:
    """Skip for want of hardware or of its library, or fail where it was promised."""
    require("gpu" if find_cuda().why else name, why)


@pytest.fixture
def decoding_gpu() -> None:
    if lacks := gpu_to_decode().lacks:
        absent("nvdec", lacks)


def frames(info: VideoInfo, hwaccel: str, span: Span | None = None) -> tuple[list[Any], Reader]:
    decoding = plan_decoding(Job(source=info.path, hwaccel=hwaccel), info)
    with Reader(info, span, decoding=decoding) as reader:
        found = [(f.pts, f.duration, f.key, [np.array(p) for p in f.planes]) for f in reader]
    return found, reader


def same(found: list[Any], expected: list[Any]) -> bool:
    return [f[:3] for f in found] == [e[:3] for e in expected] and all(
        np.array_equal(a, b)
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one[3], other[3], strict=True)
    )


@pytest.mark.parametrize("name", CLIPS)
def test_planes_and_times_equal_the_cpus(name: str, decoding_gpu: None, tmp_path: Path) -> None:
    suffix = ".mkv" if "vp9" in name else ".mp4"
    options = {"size": (352, 288)} | CLIPS[name]
    info = probe(make_clip(tmp_path / f"clip{suffix}", times=40, **options))
    found, reader = frames(info, "cuda")
    assert len(found) == 40
    assert same(found, frames(info, "none")[0])
    newest = name in ("h264 10 bit", "h264 4:2:2")
    if name != "vp9 odd" and not ("av1" in name or "4:4:4" in name or "12 bit" in name or newest):
        assert "NVDEC" in reader.decoder  # every NVDEC since Pascal
    part = Span(start=0.5, frames=7)
    assert same(frames(info, "cuda", part)[0], frames(info, "none", part)[0])


def test_a_job_makes_the_same_file(decoding_gpu: None, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", times=40, size=(352, 288), options=B_FRAMES)
    made = {}
    for how in ("none", "auto"):
        output = tmp_path / f"{how}.mp4"
        report = run(Job(source=path, output=output, hwaccel=how, backend="nearest", encoder_threads=1))
        assert ("NVDEC" in report.decoder) == (how == "auto")
        made[how] = output.read_bytes()
    assert made["none"] == made["auto"]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("size", [(352, 288), (350, 262)], ids=["even", "odd chroma"])
def test_frames_that_stay_make_the_same_file(
    size: tuple[int, int], pixels: str, decoding_gpu: None, tmp_path: Path
) -> None:
    gpu_of("fused")
    # More frames than NVDEC has surfaces.
    options: dict[str, Any] = {"codec": "libx265", "options": QUIET, "pixel_format": pixels}
    path = make_clip(tmp_path / "clip.mp4", times=90, size=size, **options)
    made = {}
    for how in ("none", "cuda"):
        output = tmp_path / f"{how}.mp4"
        job = Job(
            source=path, output=output, hwaccel=how, backend="fused", device="cuda:0", encoder_threads=1
        )
        report = run(job)
        assert ("in whose memory the frames stay" in report.decoder) == (how == "cuda")
        made[how] = output.read_bytes()
    assert made["none"] == made["cuda"]


def encoding_gpu(codec: str) -> None:
    """Pass where a GPU encodes; a GPU without NVENC must be refused in words, and skips."""
    if lacks := gpu_to_encode().lacks:
        absent("nvenc", lacks)
    refused = refusal_of(lambda: require_gpu(codec))
    if refused:
        assert "has no NVENC" in refused
        pytest.skip(f"{refused} (the refusal is all that this GPU can show)")


def refusal_of(work: Callable[[], object]) -> str:
    """Return what hardware refused; empty: nothing."""
    try:
        work()
    except HardwareError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("codec", NVENC)
def test_nvenc_makes_a_whole_video(codec: str, pixels: str, tmp_path: Path) -> None:
    encoding_gpu(codec)
    times = [3600 * k for k in range(90)]
    source = make_clip(
        tmp_path / "clip.mp4",
        pixel_format=pixels,
        size=(352, 288),
        times=times,
        time_base=Fraction(1, 90000),
        colors=(1, 9, 9, 16),
        options={"g": "20", "x264-params": "scenecut=0"},
    )
    output = tmp_path / "out.mp4"
    job = Job(
        source=source,
        output=output,
        codec=codec,
        crf=10,
        backend="nearest",
        segment_frames=30,
        verify="full",
        encoder_options={} if codec == "av1_nvenc" else {"bf": "3"},
    )
    refused = refusal_of(lambda: run(job))
    if refused:  # H.264 of 10 bits came with Blackwell, AV1 with Ada
        assert (codec, pixels) in ABLE_LATER
        assert "does not encode 10 bits" in refused or "has no such encoder" in refused
        pytest.skip(refused)
    info = probe(output)
    assert info.color.matrix_code == info.color.primaries == 9
    assert (info.color.transfer, info.pixel_format.name) == (16, pixels)
    with av.open(str(output)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    assert sorted(p.pts for p in packets) == times
    assert {times[0], times[40], times[80]} <= {p.pts for p in packets if p.is_keyframe}
    small, large = (frames(probe(path), "none")[0] for path in (source, output))
    for one, other in zip(small[::15], large[::15], strict=True):
        wanted = one[3][0].repeat(2, 0).repeat(2, 1).astype(np.float64)
        peak = (1 << info.pixel_format.bit_depth) - 1
        error = np.mean((wanted - other[3][0]) ** 2)
        assert 10 * np.log10(peak**2 / max(error, 1e-9)) > 30
