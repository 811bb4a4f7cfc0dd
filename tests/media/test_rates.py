"""Bit rates and constant quality: which decides, and what is told where rate control starts anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from synth import make_clip

from vidsr.errors import OptionsError
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan
from vidsr.video.rates import rate_warning

FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    return make_clip(folder / "in.mp4", times=60, size=(96, 64), options={"g": "10", "crf": "10"})


def job_for(
    clip: Path, codec: str, asked: float | None = None, segment_frames: int = 20, **given: str
) -> Job:
    return Job(
        source=clip,
        output=clip.with_name("out.mkv"),
        overwrite=True,
        backend="nearest",
        codec=codec,
        crf=asked,
        preset=FAST.get(codec),
        encoder_options={name.replace("_params", "-params"): value for name, value in given.items()},
        segment_frames=segment_frames,
    )


def about_rates(job: Job) -> list[str]:
    return [text for text in make_plan(job).warnings if "rate control" in text]


@pytest.mark.parametrize(
    ("codec", "options", "by"),
    [
        ("libx264", {"b": "2M"}, "b=2M"),
        ("libx264", {"crf": "18", "maxrate": "2M", "bufsize": "4M"}, "maxrate=2M, bufsize=4M"),
        ("libx264", {"x264-params": "stitchable=1:bitrate=2000"}, "x264-params bitrate=2000"),
        ("libx264", {"crf": "18", "x264-params": "vbv_maxrate=1:aq-mode=1"}, "x264-params vbv_maxrate=1"),
        ("libx264", {"b": "1M", "flags": "+pass2"}, "b=1M, flags=+pass2"),
        ("libx264", {"x264opts": "bitrate=9:pass=2"}, "x264opts bitrate=9, x264opts pass=2"),
        ("libx265", {"x265-params": "pools=2:bitrate=900"}, "x265-params bitrate=900"),
        ("libx265", {"x265-params": "vbv-bufsize=900:strict-cbr"}, "vbv-bufsize=900, x265-params strict-cbr"),
        ("libsvtav1", {"svtav1-params": "lp=2:rc=1:tbr=900"}, "svtav1-params rc=1, svtav1-params tbr=900"),
        ("libsvtav1", {"crf": "26", "svtav1-params": "mbr=900"}, "svtav1-params mbr=900"),
        ("libvpx-vp9", {"crf": "24", "b": "900k"}, "b=900k"),
        ("libvpx", {"crf": "10"}, "by its own default: no quality is given"),
        ("mpeg4", {}, "by its own default: no quality is given"),
        ("mjpeg", {"b": "9M"}, "b=9M"),
    ],
)
def test_what_starts_anew_is_told(codec: str, options: dict[str, str], by: str) -> None:
    text = rate_warning(codec, options, 240)
    assert text.startswith(f"{codec}'s rate control (")
    assert by in text
    assert "at each segment of 240 frames or more" in text
    assert "larger --segment-frames" in text


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"crf": "18"}),
        ("libx264", {"crf": "18", "b": "0", "maxrate": "0k"}),
        ("libx264", {"qp": "20", "x264-params": "stitchable=1:qpmin=4", "flags": "+cgop-pass1"}),
        ("libx265", {"x265-params": "lossless=1:log-level=error:rc-lookahead=20"}),
        ("libsvtav1", {"crf": "26", "svtav1-params": "lp=2:rc=0"}),
        ("libvpx-vp9", {"crf": "24", "b": "0"}),
        ("libvpx-vp9", {"lossless": "1", "b": "0"}),
        ("mpeg4", {"qmin": "2", "qmax": "2"}),
        ("mpeg4", {"flags": "+qscale", "global_quality": "236"}),
        ("ffv1", {"level": "3"}),
        ("ffv1", {"b": "2M"}),
        ("prores_ks", {"b": "2M"}),
    ],
)
def test_constant_quality_is_exact_across_joins(codec: str, options: dict[str, str]) -> None:
    assert rate_warning(codec, options, 240) == ""


def test_the_plan_warns_where_there_are_several_segments(clip: Path) -> None:
    (text,) = about_rates(job_for(clip, "libx264", b="100k"))
    assert "(b=100k) starts anew at each segment of 20 frames or more" in text
    assert about_rates(job_for(clip, "libx264", b="100k", segment_frames=60)) == [], "a single segment"
    assert about_rates(job_for(clip, "libx264")) == []


@pytest.mark.parametrize(
    ("codec", "given", "instead", "quality"),
    [
        ("libx264", {"b": "60k"}, "b=60k", "crf=18"),
        ("libx264", {"qp": "45"}, "qp=45", "crf=18"),
        ("libx265", {"b": "60k"}, "b=60k", "crf=20"),
        ("libx265", {"x265_params": "bitrate=60"}, "x265-params bitrate=60", "crf=20"),
        ("libx265", {"qp": "45"}, "qp=45", "crf=20"),
        ("libsvtav1", {"b": "30k"}, "b=30k", "crf=26"),
        ("libsvtav1", {"svtav1_params": "rc=1:tbr=30"}, "svtav1-params rc=1", "crf=26"),
        ("libsvtav1", {"qp": "60"}, "qp=60", "crf=26"),
        ("libvpx-vp9", {"b": "60k"}, "b=60k", "crf=24"),
    ],
)
def test_what_is_asked_for_decides_not_the_default(
    clip: Path, codec: str, given: dict[str, str], instead: str, quality: str
) -> None:
    """x264 and x265 would follow the crf without a word, and SVT-AV1 would refuse both."""
    default = run(job_for(clip, codec))
    assert quality.partition("=")[0] in default.encoder_options
    size = clip.with_name("out.mkv").stat().st_size
    report = run(job_for(clip, codec, **given))
    assert f"{codec} follows {instead}: vidsr's default {quality} is left out" in report.warnings
    assert quality.partition("=")[0] not in report.encoder_options
    assert report.frames == 60
    assert clip.with_name("out.mkv").stat().st_size < 0.7 * size


@pytest.mark.parametrize(
    ("codec", "crf", "given", "said"),
    [
        ("libx264", 20.0, {"b": "2M"}, "libx264 cannot follow crf=20 and b=2M at once"),
        ("libx264", None, {"crf": "20", "b": "2M"}, "libx264 cannot follow crf=20 and b=2M at once"),
        ("libx265", 20.0, {"qp": "9"}, "libx265 cannot follow crf=20 and qp=9 at once"),
        ("libx265", None, {"b": "1M", "qp": "9"}, "libx265 cannot follow b=1M and qp=9 at once"),
        ("libsvtav1", 20.0, {"b": "2M"}, "libsvtav1 cannot follow crf=20 and b=2M at once"),
    ],
)
def test_two_that_exclude_each_other_are_refused(
    clip: Path, codec: str, crf: float | None, given: dict[str, str], said: str
) -> None:
    with pytest.raises(OptionsError) as caught:
        make_plan(job_for(clip, codec, crf, **given))
    assert said in str(caught.value)
    assert "give one of them" in str(caught.value)


def test_vp9_takes_both_as_a_quality_with_a_limit(clip: Path) -> None:
    plan = make_plan(job_for(clip, "libvpx-vp9", 30.0, b="60k"))
    assert plan.settings is not None
    assert (plan.settings.options["crf"], plan.settings.options["b"]) == ("30", "60k")
    assert not [text for text in plan.warnings if "left out" in text]


@pytest.mark.parametrize(
    ("codec", "given"),
    [
        ("libx264", {"maxrate": "200k", "bufsize": "200k"}),
        ("libx265", {"x265_params": "vbv-maxrate=200:vbv-bufsize=200"}),
        ("libsvtav1", {"maxrate": "200k"}),
    ],
)
def test_a_limited_quality_keeps_its_crf_and_joins(clip: Path, codec: str, given: dict[str, str]) -> None:
    report = run(job_for(clip, codec, **given))
    assert report.frames == 60
    assert "crf" in report.encoder_options
    assert len([text for text in report.warnings if "rate control" in text]) == 1
