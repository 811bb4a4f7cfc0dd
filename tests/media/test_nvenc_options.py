"""What NVENC is asked for, and what it cannot do: all before FFmpeg is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fake_gpu import GPU
from synth import make_clip, planes_at

from vidsr.errors import HardwareError, OptionsError
from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat
from vidsr.job import Job
from vidsr.video import nvenc
from vidsr.video.coding import choose_coding
from vidsr.video.convert import convert_frame
from vidsr.video.formats import nearest_planar, new_frame
from vidsr.video.gpu import Gpu
from vidsr.video.nvenc import NVENC, nvenc_formats, nvenc_options, refusal, require_gpu
from vidsr.video.probe import probe

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
            "from 1 to 51, not 0; cq=0 would mean that NVENC chooses",
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
        ("bgr0", "hevc_nvenc", None, "yuv444p"),
        ("gray10le", "av1_nvenc", None, "p010le"),
    ],
)
def test_the_format_loses_least(
    gpu: None, tmp_path: Path, source: str, codec: str, wanted: str | None, expected: str
) -> None:
    info = probe(make_clip(tmp_path / "clip.mkv", codec="ffv1"))
    info = replace(info, pixel_format=nearest_planar(source), source_format=source)
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
            "NVIDIA L4 has no NVENC",
        ),
        (["OpenEncodeSessionEx failed: incompatible client key (21)"], "as many encoders open as its driver"),
        (["Width 5000 exceeds 4096", "No capable devices found"], "does not encode frames as wide"),
        (["InitializeEncoder failed: invalid param (8): Frame Dimension less"], "frames as small"),
        (["Max B-frames 4 exceed 0", "No capable devices found"], r"L4 \(Max B-frames 4 exceed 0\)"),
        (["something  new\n"], r"cannot encode 8x8 nv12 on NVIDIA L4 \(something new\)"),
    ],
)
def test_ffmpegs_words_are_told_in_ours(gpu: None, lines: list[str], says: str) -> None:
    assert isinstance(refusal("av1_nvenc", lines, "8x8 nv12"), HardwareError)
    with pytest.raises(HardwareError, match=f"{says}.*; -c libsvtav1 encodes on the CPU") as caught:
        raise refusal("av1_nvenc", lines, "8x8 nv12")
    assert ("--pix-fmt yuv420p asks for less" in str(caught.value)) == ("10 bit" in lines[0])


@pytest.mark.parametrize(
    "name",
    ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB", "NVIDIA GH200 480GB", "NVIDIA A30"],
)
def test_gpus_for_data_centres_have_no_encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvenc, "gpu_to_encode", lambda: Gpu(name, "12.8"))
    with pytest.raises(HardwareError, match=f"{name} has no NVENC.*-c libx265 encodes on the CPU"):
        require_gpu("hevc_nvenc")
    several = Gpu(name, "12.8", 2)  # FFmpeg takes the first that can
    monkeypatch.setattr(nvenc, "gpu_to_encode", lambda: several)
    assert require_gpu("hevc_nvenc") is several
    for other in ("NVIDIA A10", "NVIDIA L40S", "NVIDIA GeForce RTX 3090", "NVIDIA RTX A3000"):
        monkeypatch.setattr(nvenc, "gpu_to_encode", lambda other=other: Gpu(other, "12.8"))
        assert require_gpu("hevc_nvenc").name == other
