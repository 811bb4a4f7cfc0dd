"""Which container is chosen where none was named, and what is told where none holds everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from streams import (
    add_cover,
    add_packets,
    add_tone,
    add_video,
    codecs_of,
    extended,
    make_gopro,
    packets_of,
)
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.planning import make_plan
from vidsr.video.carrying import choose_suffix, plan_streams

AMR = "libopencore_amrnb"


def test_sound_that_nothing_holds(tmp_path: Path) -> None:
    """It is told before the first frame, with a name and without one."""
    plain = make_clip(tmp_path / "plain.mkv", times=5, size=(32, 32))
    with extended(plain, tmp_path / "in.nut", "nut") as (out, later):
        add_tone(out, later, "g722", rate=16000, layout="mono")
    for output in (None, tmp_path / "out.mkv", tmp_path / "out.mp4"):
        with pytest.raises(OptionsError) as caught:
            vidsr.run(vidsr.Job(source=tmp_path / "in.nut", output=output, backend="nearest"))
        assert str(caught.value).endswith(
            " cannot hold stream 1 (audio, adpcm_g722); no container that vidsr writes holds all of this"
            " source; add --drop 1 to leave it out"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nut", "plain.mkv"]
    report = vidsr.run(vidsr.Job(source=tmp_path / "in.nut", backend="nearest", drop=(1,)))
    assert report.output == str(tmp_path / "in_2x.mp4")


@pytest.mark.parametrize(
    ("what", "suffix", "reason"),
    [
        ("plain", ".mp4", ".mp4 holds every stream as it is"),
        ("aac", ".mp4", ".mp4 holds every stream as it is"),
        ("vorbis", ".mkv", ".mp4 would not hold stream 1 (audio, vorbis) as it is"),
        ("pcm_s16le", ".mkv", ".mp4 would not hold stream 1 (audio, pcm_s16le) as it is"),
        (
            "amr",
            ".mov",
            ".mp4 would not hold stream 1 (audio, amr_nb) as it is, nor .mkv stream 1 (audio, amr_nb)",
        ),
        ("ass", ".mkv", ".mp4 would not hold stream 1 (subtitle, ass) as it is"),
        ("subrip", ".mkv", ".mp4 would not hold stream 1 (subtitle, subrip) as it is"),
        ("dvdsub", ".mkv", ".mp4 would not hold stream 1 (subtitle, dvd_subtitle) as it is"),
        ("font", ".mkv", ".mp4 would not hold stream 1 (attachment, font/ttf) as it is"),
        ("cover", ".mp4", ".mp4 holds every stream as it is"),
        ("video", ".mkv", ".mp4 would not hold stream 1 (video, h264) as it is"),
        ("gopro", ".mp4", ".mp4 holds every stream as it is"),
    ],
)
def test_a_container_is_chosen_that_holds_everything(
    tmp_path: Path, what: str, suffix: str, reason: str
) -> None:
    plain = make_clip(tmp_path / "plain.mp4", times=5, size=(32, 32))
    source = tmp_path / "in"
    add: dict[str, tuple[str, Callable[..., object]]] = {
        "plain": ("mp4", lambda out, later: None),
        "aac": ("mp4", lambda out, later: add_tone(out, later, "aac")),
        "vorbis": ("matroska", lambda out, later: add_tone(out, later, "vorbis")),
        "pcm_s16le": ("mov", lambda out, later: add_tone(out, later, "pcm_s16le")),
        "amr": (
            "mov",
            lambda out, later: add_tone(out, later, AMR, rate=8000, layout="mono"),
        ),
        "ass": ("matroska", lambda out, later: add_packets(out, later, "ass", [(0, 9, b"0,0,D,,0,0,0,,a")])),
        "subrip": ("matroska", lambda out, later: add_packets(out, later, "subrip", [(0, 9, b"a")])),
        "dvdsub": ("mp4", lambda out, later: add_packets(out, later, "dvdsub", [(0, 9, b"\0\4\0\4")])),
        "font": ("matroska", lambda out, later: out.add_attachment("a.ttf", "font/ttf", b"font")),
        "cover": ("mp4", lambda out, later: add_cover(out, later, tmp_path, "png")),
        "video": ("mov", lambda out, later: add_video(out, later, plain)),
    }
    if what == "gopro":
        make_gopro(source.with_suffix(".mp4")).rename(source)
    else:
        with extended(plain, source, add[what][0]) as (out, later):
            add[what][1](out, later)
    info = vidsr.probe(source)
    assert choose_suffix(info) == (suffix, reason)
    report = vidsr.run(vidsr.Job(source=source, backend="nearest", preset="ultrafast"))
    assert report.output == str(tmp_path / f"in_2x{suffix}")
    assert len(codecs_of(Path(report.output))) == 1 + len(info.others)
    for other in info.others:
        if other.kind != "attachment":
            assert packets_of(Path(report.output), other.index) == packets_of(source, other.index)


def test_telemetry_needs_a_container_that_holds_it(tmp_path: Path) -> None:
    source = make_gopro(tmp_path / "in.mp4")
    assert vidsr.probe(source).others[0].tag == "gpmd"
    with pytest.raises(OptionsError) as caught:
        plan_streams(vidsr.probe(source), tmp_path / "out.mkv")
    assert str(caught.value).endswith(
        ".mkv cannot hold stream 1 (data, gpmd); name the output .mp4, or add --drop 1 to leave it out"
    )
    vidsr.run(vidsr.Job(source=source, output=tmp_path / "out.mov", backend="nearest", preset="ultrafast"))
    with av.open(str(tmp_path / "out.mov")) as file:
        assert file.streams.data[0].name == "bin_data"
    assert packets_of(tmp_path / "out.mov", 1) == packets_of(source, 1)


def test_what_no_container_holds_is_told(data: Path) -> None:
    """Sound and subtitles are refused; metadata that a camera adds is left out with a note."""
    phone = vidsr.probe(data / "video" / "androidx-media" / "mp4" / "sample_with_color_info.mp4")
    assert choose_suffix(phone) == (
        ".mp4",
        ".mp4 holds every stream as it is, but for data that no container holds",
    )
    plan = plan_streams(phone, Path("out.mp4"))
    assert [note for note in plan.notes if "left out" in note] == [
        f"stream {i} (data, mebx) is left out: no container that vidsr writes takes it" for i in (2, 3, 4)
    ]


def test_chapters_of_mp4_are_no_lost_stream(data: Path) -> None:
    info = vidsr.probe(data / "video" / "androidx-media" / "mp4" / "sample_with_chapters.mp4")
    for suffix in (".mp4", ".mkv"):
        plan = plan_streams(info, Path(f"out{suffix}"))
        assert plan.left_out == {2: "MP4's own form of the chapters, which are kept"}
        assert not [note for note in plan.notes if "left out" in note]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(
    "codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores", "mpeg4"]
)
def test_a_codec_that_does_not_fit_is_known_beforehand(tmp_path: Path, codec: str, suffix: str) -> None:
    """Either it is refused before anything is made, or the file is written and decodes."""
    source = make_clip(tmp_path / "in.mp4", times=3, size=(64, 64))
    job = vidsr.Job(
        source=source, output=tmp_path / f"out{suffix}", codec=codec, backend="nearest", verify="full"
    )
    misfits = {".mp4": {"prores"}, ".mov": {"libsvtav1", "libvpx-vp9", "ffv1"}, ".mkv": set()}
    misfits[".webm"] = {"libx264", "libx265", "ffv1", "prores", "mpeg4"}
    if codec in misfits[suffix]:
        with pytest.raises(OptionsError, match=f"{suffix} cannot hold what .* makes; name the output"):
            make_plan(job)
    else:
        assert vidsr.run(job).frames == 3
