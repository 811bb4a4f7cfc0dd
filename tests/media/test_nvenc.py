"""Jobs for NVENC up to FFmpeg's border, and one whose encoder is x264 in NVENC's clothes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from describe import describe
from fake_gpu import GPU
from spent import seconds_of_children
from synth import make_clip

from vidsr.errors import HardwareError, OptionsError
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan
from vidsr.video import nvenc, writer
from vidsr.video.encoders import EncoderSettings
from vidsr.video.rates import rate_warning


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvenc, "gpu_to_encode", lambda: GPU)
    monkeypatch.setattr("vidsr.video.encoders.gpu_to_encode", lambda: GPU)


def test_a_bit_rate_replaces_the_quality(gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsr.planning.try_encoder", lambda settings: None)
    path = make_clip(tmp_path / "clip.mp4", pixel_format="yuv420p10le")

    def planned(**job: Any) -> EncoderSettings:
        settings = make_plan(Job(source=path, codec="hevc_nvenc", backend="nearest", **job)).settings
        assert settings is not None
        return settings

    plain = planned(preset="fast")
    assert plain.options == {
        "preset": "p4",
        "rc": "vbr",
        "b": "0",
        "cq": "21",
        "chroma_sample_location": "left",
    }
    assert (plain.pixel_format, plain.device) == ("p010le", "NVIDIA L4, driver 12.8")
    assert rate_warning("hevc_nvenc", plain.options, 100) == ""
    rated = planned(encoder_options={"b": "5M"})
    assert (rated.options["b"], "cq" in rated.options) == ("5M", False)
    assert "hevc_nvenc follows b=5M: vidsr's default cq=21 is left out" in rated.notes
    assert "b=5M" in rate_warning("hevc_nvenc", rated.options, 100)
    fixed = planned(encoder_options={"qp": "20"}).options
    assert (fixed["rc"], fixed["qp"], "b" in fixed, "cq" in fixed) == ("constqp", "20", False, False)
    for both in ({"b": "5M"}, {"qp": "20"}):
        with pytest.raises(OptionsError, match=r"hevc_nvenc cannot follow cq=20 and .* at once"):
            planned(crf=20, encoder_options=both)


def test_the_plan_knows_the_gpu(gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsr.planning.try_encoder", lambda settings: None)
    path = make_clip(tmp_path / "clip.mp4")
    job = Job(source=path, codec="h264_nvenc", backend="nearest")
    assert make_plan(job).decisions["encoder"]["device"] == "NVIDIA L4, driver 12.8"
    assert "device" not in make_plan(replace(job, codec="libx264")).decisions["encoder"]


class Clothes:
    """x264 behind `h264_nvenc`: the decoding times are FFmpeg's for NVENC, ticks taken for frames."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.opened: list[EncoderSettings] = []
        self._open = writer._open_encoder
        patch.setattr(writer, "_open_encoder", self)

    def __call__(self, container: Any, settings: EncoderSettings) -> Any:
        self.opened.append(settings)
        pixels = {"p010le": "yuv420p10le"}.get(settings.pixel_format, settings.pixel_format)
        x264 = {"preset": "veryfast", "bf": "3", "x264-params": "stitchable=1:scenecut=0"}
        own = replace(settings, codec="libx264", pixel_format=pixels, options=x264)
        return _Stream(self._open(container, own))


class _Stream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._dts = -2

    def encode(self, frame: av.VideoFrame | None) -> list[Any]:
        packets = self._stream.encode(frame)
        for packet in packets:
            packet.dts = self._dts * 3600  # later than some frames are shown
            self._dts += 2
        return list(packets)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
def test_a_job_of_several_segments(
    pixels: str, gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clothes = Clothes(monkeypatch)
    source = make_clip(
        tmp_path / "clip.mp4",
        pixel_format=pixels,
        times=[3600 * k for k in range(50)],
        time_base=Fraction(1, 90000),
        options={"g": "10", "bf": "0"},
        sound=True,
    )
    output = tmp_path / "out.mp4"
    job = Job(
        source=source, output=output, codec="h264_nvenc", backend="nearest", segment_frames=20, verify="full"
    )
    report = run(job)
    assert report.encoder == "h264_nvenc"
    assert report.frames == 50
    # One to try it, and one a segment.
    assert len(clothes.opened) == 4
    assert {s.pixel_format for s in clothes.opened} == {"p010le" if pixels.endswith("10le") else pixels}
    with av.open(str(output)) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    assert sorted(p.pts for p in packets) == [3600 * k for k in range(50)]
    assert [p.dts for p in packets] == sorted({p.dts for p in packets})
    assert all(p.dts <= p.pts for p in packets)
    assert {0, 20 * 3600, 40 * 3600} <= {p.pts for p in packets if p.is_keyframe}
    assert describe(output)


def test_refused_before_any_work(gpu: None, tmp_path: Path) -> None:
    """A driver, but no GPU that FFmpeg can open: here that is the truth."""
    source = make_clip(tmp_path / "clip.mp4")
    job = Job(source=source, output=tmp_path / "out.mp4", codec="hevc_nvenc", backend="nearest")
    with pytest.raises(HardwareError, match=r"hevc_nvenc cannot encode 128x96 yuv420p on NVIDIA L4 \("):
        run(job)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.clock
@pytest.mark.parametrize(
    "arguments", [["--hwaccel", "cuda"], ["-c", "h264_nvenc"], ["-c", "av1_nvenc", "--hwaccel", "auto"]]
)
def test_without_a_driver_the_command_ends_at_once(arguments: list[str], tmp_path: Path) -> None:
    if not nvenc.gpu_to_encode().lacks:
        pytest.skip("this machine has an NVIDIA driver; tests/gpu is for it")
    source = make_clip(tmp_path / "clip.mp4")
    output = tmp_path / "out.mp4"
    kept = tmp_path / "out.mp4.vidsr"
    kept.mkdir()
    (kept / "plan.json").write_text("{}")
    command = [sys.executable, "-m", "vidsr", "upscale", str(source), "-o", str(output), "--no-progress"]
    before = seconds_of_children()
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert seconds_of_children() - before < 3
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "cannot work here: no NVIDIA driver is here (libcuda.so.1 is not found)" in line
    assert (kept / "plan.json").read_text() == "{}"
    assert not output.exists()
