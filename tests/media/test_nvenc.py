"""NVENC up to FFmpeg's border: options, formats, refusals; and a job whose encoder is x264 in NVENC's clothes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import numpy as np
import pytest
from describe import describe
from fake_gpu import GPU
from synth import make_clip, planes_at

from vidsr.errors import HardwareError, OptionsError
from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan
from vidsr.video import nvenc, writer
from vidsr.video.coding import choose_coding
from vidsr.video.convert import convert_frame
from vidsr.video.encoders import EncoderSettings
from vidsr.video.formats import new_frame
from vidsr.video.gpu import Gpu
from vidsr.video.nvenc import NVENC, nvenc_formats, nvenc_options, refusal, require_gpu
from vidsr.video.probe import probe
from vidsr.video.rates import rate_warning

COLOR = ColorInfo(Matrix.BT709, ColorRange.LIMITED, 1, 1, 1)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvenc, "gpu_to_encode", lambda: GPU)
    monkeypatch.setattr("vidsr.video.encoders.gpu_to_encode", lambda: GPU)


def options(codec: str = "hevc_nvenc", **job: Any) -> dict[str, str]:
    return nvenc_options(codec, Job(source="a.mp4", **job), plain=True)[0]


def test_quality_is_constant_and_no_bit_rate_limits_it() -> None:
    assert options() == {"preset": "p5", "rc": "vbr", "b": "0", "cq": "21"}
    assert options("h264_nvenc")["profile"] == "high"
    assert options(crf=17.5)["cq"] == "17.5"
    assert options("av1_nvenc", crf=63)["cq"] == "63"
    assert options(crf=0, encoder_options={"rc": "constqp"}) == {"preset": "p5", "rc": "constqp", "qp": "0"}
    assert options(encoder_options={"qp": "20"}) == {"preset": "p5", "rc": "constqp"}
    assert options(encoder_options={"tune": "lossless"}) == {"preset": "p5"}


@pytest.mark.parametrize(
    ("codec", "job", "says"),
    [
        (
            "hevc_nvenc",
            {"crf": 0},
            "from 1 to 51, not 0; cq=0 would mean that NVENC chooses; -e tune=lossless",
        ),
        ("hevc_nvenc", {"crf": 52}, "from 1 to 51, not 52"),
        ("av1_nvenc", {"crf": 64}, "from 1 to 63, not 64"),
        ("hevc_nvenc", {"preset": "p8"}, "no preset 'p8'; it has p1 .fastest. to p7, and takes ultrafast"),
        ("hevc_nvenc", {"encoder_options": {"preset": "llhq"}}, "no preset 'llhq'"),
        ("hevc_nvenc", {"encoder_options": {"rc": "constqp"}}, "needs a quantiser; give --crf or -e qp=N"),
        ("hevc_nvenc", {"crf": 1.5, "encoder_options": {"rc": "constqp"}}, "whole numbers, not 1.5"),
        ("hevc_nvenc", {"crf": 9, "encoder_options": {"tune": "lossless"}}, "lossless and of a quality"),
    ],
)
def test_what_nvenc_does_not_have_is_refused(codec: str, job: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        options(codec, **job)


def test_presets_of_x264_are_named_for_what_they_become() -> None:
    names = "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo p1 p7".split()
    found = [options(preset=name)["preset"] for name in names]
    assert found == "p1 p1 p2 p3 p4 p5 p6 p7 p7 p7 p1 p7".split()
    _, notes = nvenc_options("hevc_nvenc", Job(source="a.mp4", preset="slow"), plain=True)
    assert notes == ["hevc_nvenc has no preset slow: p6 of p1 to p7 is taken"]


@pytest.mark.parametrize("codec", NVENC)
def test_ffmpeg_knows_every_option_and_format(codec: str) -> None:
    context: Any = av.CodecContext.create(codec, "w")
    known = {o.name: o for o in (*context.supported_options.generic, *context.supported_options.private)}
    for job in ({}, {"encoder_options": {"rc": "constqp"}, "crf": 5}, {"preset": "slow"}):
        for name, value in options(codec, **job).items():
            choices = {choice.name for choice in known[name].choices}
            assert not choices or value in choices, (name, value)
    assert known["cq"].max == NVENC[codec].most
    assert known["qp"].max == NVENC[codec].most_qp
    listed = [f.name for f in av.codec.Codec(codec, "w").video_formats or ()]
    assert nvenc_formats(codec, listed) == NVENC[codec].formats


@pytest.mark.parametrize(
    ("source", "codec", "wanted", "expected"),
    [
        ("yuv420p", "h264_nvenc", None, "yuv420p"),
        ("yuv420p10le", "hevc_nvenc", None, "p010le"),
        ("yuv420p10le", "hevc_nvenc", "yuv420p", "yuv420p"),
        ("yuv420p", "hevc_nvenc", "yuv420p10le", "p010le"),
        ("yuv420p12le", "hevc_nvenc", None, "p010le"),
        ("yuv422p10le", "hevc_nvenc", None, "p210le"),
        ("yuv444p10le", "hevc_nvenc", None, "yuv444p10msble"),
        ("yuv444p", "av1_nvenc", None, "yuv420p"),
        ("gbrp", "hevc_nvenc", None, "gbrp"),
        ("gray10le", "av1_nvenc", None, "p010le"),
    ],
)
def test_the_format_loses_least(
    gpu: None, tmp_path: Path, source: str, codec: str, wanted: str | None, expected: str
) -> None:
    info = probe(make_clip(tmp_path / "clip.mkv", codec="ffv1", pixel_format=source))
    job = Job(source=info.path, codec=codec, pix_fmt=wanted)
    assert choose_coding(job, info, pictures=None, suffix=".mp4").pixel_format == expected


@pytest.mark.parametrize(
    ("layout", "target"),
    [
        ("yuv420p", "nv12"),
        ("yuv420p10le", "p010le"),
        ("yuv422p", "nv16"),
        ("yuv422p10le", "p210le"),
        ("yuv444p10le", "yuv444p10msble"),
    ],
)
def test_samples_reach_the_encoder_as_they_are(layout: str, target: str) -> None:
    pixels = PixelFormat.parse(layout)
    frame, planes = new_frame(pixels, 64, 48)
    for plane, values in zip(planes, planes_at(pixels, (64, 48), 3), strict=True):
        plane[:] = values
    made = convert_frame(frame, COLOR, target, COLOR)
    shift = 0 if pixels.bit_depth == 8 else 16 - pixels.bit_depth
    wanted = [planes[0], *planes[1:]]
    if len(made.planes) == 2:
        wanted = [planes[0], np.stack(planes[1:], axis=-1).reshape(planes[1].shape[0], -1)]
    for plane, samples in zip(made.planes, wanted, strict=True):
        rows = np.frombuffer(plane, pixels.dtype).reshape(plane.height, -1)[:, : samples.shape[1]]
        assert (rows == samples << shift).all()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["10 bit encode not supported", "No capable devices found"], "NVIDIA L4 does not encode 10 bits"),
        (["Codec not supported"], "has no such encoder: AV1 came with Ada"),
        (
            ["OpenEncodeSessionEx failed: unsupported device (2): (no details)"],
            "NVIDIA L4 has no NVENC; GPUs",
        ),
        (["OpenEncodeSessionEx failed: incompatible client key (21)"], "as many encoders open as its driver"),
        (["InitializeEncoder failed: invalid param (8): Frame Dimension less"], "does not encode this size"),
        (["something  new\n"], r"cannot encode 8x8 nv12 on NVIDIA L4 \(something new\)"),
    ],
)
def test_ffmpegs_words_are_told_in_ours(gpu: None, lines: list[str], says: str) -> None:
    assert isinstance(refusal("av1_nvenc", lines, "8x8 nv12"), HardwareError)
    with pytest.raises(HardwareError, match=f"{says}.*; -c libsvtav1 encodes on the CPU"):
        raise refusal("av1_nvenc", lines, "8x8 nv12")


@pytest.mark.parametrize(
    "name",
    ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB", "NVIDIA GH200 480GB", "NVIDIA H200", "NVIDIA A30"],
)
def test_gpus_for_data_centres_have_no_encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvenc, "gpu_to_encode", lambda: Gpu(name, "12.8"))
    with pytest.raises(HardwareError, match=f"{name} has no NVENC.*-c libx265 encodes on the CPU"):
        require_gpu("hevc_nvenc")
    for other in ("NVIDIA A10", "NVIDIA L40S", "NVIDIA GeForce RTX 3090", "NVIDIA RTX A3000"):
        monkeypatch.setattr(nvenc, "gpu_to_encode", lambda other=other: Gpu(other, "12.8"))
        assert require_gpu("hevc_nvenc").name == other


def test_a_bit_rate_takes_the_qualitys_place(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert (plain.pixel_format, plain.device) == ("p010le", "NVIDIA L4, driver for CUDA 12.8")
    assert rate_warning("hevc_nvenc", plain.options, 100) == ""
    rated = planned(encoder_options={"b": "5M"})
    assert (rated.options["b"], "cq" in rated.options) == ("5M", False)
    assert "hevc_nvenc follows b=5M: vidsr's default cq=21 is left out" in rated.notes
    assert "b=5M" in rate_warning("hevc_nvenc", rated.options, 100)
    fixed = planned(encoder_options={"qp": "20"}).options
    assert (fixed["rc"], fixed["qp"], "b" in fixed, "cq" in fixed) == ("constqp", "20", False, False)
    for both in ({"b": "5M"}, {"qp": "20"}):
        with pytest.raises(OptionsError, match="hevc_nvenc cannot follow cq=20 and .* at once"):
            planned(crf=20, encoder_options=both)


def test_the_plan_knows_the_gpu(gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsr.planning.try_encoder", lambda settings: None)
    path = make_clip(tmp_path / "clip.mp4")
    job = Job(source=path, codec="h264_nvenc", backend="nearest")
    assert make_plan(job).decisions["encoder"]["device"] == "NVIDIA L4, driver for CUDA 12.8"
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
    began = perf_counter()
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert perf_counter() - began < 3
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "cannot work here: there is no NVIDIA driver (libcuda.so.1 cannot be loaded)" in line
    assert (kept / "plan.json").read_text() == "{}"
    assert not output.exists()
