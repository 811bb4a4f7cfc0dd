"""Cover art, attachments, tags, dispositions, chapters, timecode, order: kept, or told to be lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from streams import add_cover, add_packets, add_tone, add_video, codecs_of, extended, packets_of, picture
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.video.carrying import plan_streams

Flags = av.stream.Disposition


def upscale(source: Path, output: Path, **options: Any) -> vidsr.JobReport:
    preset = None if output.suffix == ".webm" else "ultrafast"
    return vidsr.run(vidsr.Job(source=source, output=output, backend="nearest", preset=preset, **options))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "plain.mp4", times=5, size=(32, 32))


def covers(path: Path) -> list[tuple[bytes, str]]:
    with av.open(str(path)) as file:
        return [
            (bytes(packet), packet.stream.codec_context.name)
            for packet in file.demux()
            if packet.size and packet.stream.disposition & Flags.attached_pic
        ]


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
@pytest.mark.parametrize("form", ["mp4", "matroska"])
def test_cover_art(tmp_path: Path, plain: Path, form: str, codec: str) -> None:
    source = tmp_path / "in"
    with extended(plain, source, form) as (out, later):
        add_tone(out, later, "aac")
        if form == "mp4":
            add_cover(out, later, tmp_path, codec)
        else:
            mime = {"mjpeg": "image/jpeg", "png": "image/png"}[codec]
            out.add_attachment(f"front.{codec}", mime, picture(codec))
    assert covers(source) == [(picture(codec), codec)]
    for suffix in (".mp4", ".mkv"):
        upscale(source, tmp_path / f"out{suffix}", verify="full")
        assert covers(tmp_path / f"out{suffix}") == [(picture(codec), codec)]
        assert codecs_of(tmp_path / f"out{suffix}") == ["h264", "aac", "cover"]
        assert len(packets_of(tmp_path / f"out{suffix}", 1)) == len(packets_of(source, 1))
    if form == "matroska":
        with av.open(str(tmp_path / "out.mkv")) as file:
            assert file.streams[2].metadata["filename"] == f"front.{codec}"
    for suffix in (".mov", ".webm"):  # QuickTime's muxer would drop it without a word
        with pytest.raises(OptionsError, match=r"cannot hold .*stream 2 \(cover art"):
            plan_streams(vidsr.probe(source), Path(f"out{suffix}"))


def test_attachments_keep_name_and_type(tmp_path: Path, plain: Path) -> None:
    source = tmp_path / "in.mkv"
    with extended(plain, source) as (out, _):
        out.add_attachment("a.ttf", "application/x-truetype-font", b"font" * 9)
        out.add_attachment("notes.txt", "text/plain", b"words")
    upscale(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert [(a.name, a.mimetype, a.data) for a in file.streams.attachments] == [
            ("a.ttf", "application/x-truetype-font", b"font" * 9),
            ("notes.txt", "text/plain", b"words"),
        ]
    with pytest.raises(OptionsError) as caught:
        plan_streams(vidsr.probe(source), tmp_path / "out.mp4")
    assert "stream 1 (attachment, application/x-truetype-font), stream 2 (attachment, text/plain)" in str(
        caught.value
    )
    assert "name the output .mkv, or add --drop 1 --drop 2 to leave them out" in str(caught.value)


TAGS = {
    "title": "a title",
    "artist": "somebody",
    "comment": "words",
    "date": "2020",
    "creation_time": "2021-05-25T16:21:51.000000Z",
    "episode_sort": "4",
    "performer": "another",
    "make": "a camera",
    "location": "+40.6800-074.5000/",
    "location-eng": "+40.6800-074.5000/",
    "com.android.version": "13",
}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_tags_are_kept_or_told_to_be_lost(tmp_path: Path, suffix: str) -> None:
    """Each tag is in the result, or in a warning; none is in both."""
    source = make_clip(tmp_path / "in.mkv", times=3, size=(32, 32), tags=TAGS)
    report = upscale(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        found = {key.lower(): value for key, value in file.metadata.items()}
    told = " ".join(report.warnings).lower().replace(",", " ").replace(";", " ").split()
    for key, value in TAGS.items():
        base = found.get(key.partition("-")[0])  # MP4 states the place again, with a language
        assert (found.get(key) == value or base == value) != (key in told), key


def test_a_phone_s_place_is_kept(tmp_path: Path, plain: Path) -> None:
    source = make_clip(
        tmp_path / "in.mkv",
        times=3,
        size=(32, 32),
        tags={"com.apple.quicktime.location.ISO6709": "+37.7450-122.4301+066.374/"},
    )
    upscale(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.metadata["location"].startswith("+37.7450-122.4301")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_dispositions_are_kept_or_told_to_be_lost(tmp_path: Path, plain: Path, suffix: str) -> None:
    """One sound for each; from MP4, which holds some, and from Matroska, which holds others."""
    for form in ("mp4", "matroska"):
        source = tmp_path / form
        with extended(plain, source, form) as (out, later):
            for flag in Flags:
                add_tone(out, later, "aac", seconds=0.03).disposition = flag & ~Flags.attached_pic
        info = vidsr.probe(source)
        assert {name for other in info.others for name in other.dispositions} > {"comment", "forced"}
        output = tmp_path / f"{form}{suffix}"
        report = upscale(source, output)
        with av.open(str(output)) as file:
            got = [s.disposition for s in file.streams]
        for other in info.others:
            told = " ".join(w for w in report.warnings if f"stream {other.index} (" in w)
            for name in other.dispositions:
                assert bool(got[other.index] & Flags[name]) != (f'"{name}"' in told), name


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_tags_of_streams(tmp_path: Path, plain: Path, suffix: str) -> None:
    source = tmp_path / "in.mkv"
    with extended(plain, source) as (out, later):
        for language, title in (("fra", "un"), ("deu", "zwei")):
            sound = add_tone(out, later, "aac")
            sound.metadata.update(language=language, title=title)
        sound.metadata.update(comment="words", language="de-CH")
    report = upscale(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        tags = [dict(s.metadata) for s in file.streams]
    assert [t.get("title", t.get("name")) for t in tags[1:]] == ["un", "zwei"]
    assert tags[1]["language"] == "fra"
    told = [w for w in report.warnings if "stream 2" in w]
    if suffix == ".mkv":
        assert tags[2]["language"] == "de-CH"
        assert tags[2]["COMMENT"] == "words"
        assert not told
    else:
        assert told == [f"{suffix} has no place for comment, the language de-CH of stream 2 (audio)"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_chapters(tmp_path: Path, suffix: str) -> None:
    plain = make_clip(tmp_path / "plain.mkv", times=13, size=(32, 32))
    source = tmp_path / "in.mkv"
    unit = Fraction(1, 1000)
    with extended(plain, source) as (out, _):
        one = {
            "id": 1,
            "start": 0,
            "end": 200,
            "time_base": unit,
            "metadata": {"title": "é 1", "artist": "me"},
        }
        two = {"id": 2, "start": 200, "end": 480, "time_base": unit, "metadata": {"title": "two"}}
        out.set_chapters([one, two])
    report = upscale(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        found = file.chapters()
    named = [c for c in found if c["metadata"].get("title")]
    assert [c["metadata"]["title"] for c in named] == ["é 1", "two"]
    assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in named] == [
        (0, Fraction(200, 1000)),
        (Fraction(200, 1000), Fraction(480, 1000)),
    ]
    told = any("titles of chapters alone, not ARTIST" in warning for warning in report.warnings)
    assert told == (suffix != ".mkv")
    assert (named[0]["metadata"].get("ARTIST") == "me") == (suffix == ".mkv")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("base", "text", "part"),
    [
        (Fraction(1, 25), "01:02:03:04", "01:02:03:14"),
        (Fraction(1001, 30000), "00:00:59;25", "00:01:00;07"),
        (Fraction(1001, 24000), "10:59:59:20", "11:00:00:06"),
        (Fraction(1, 90000), "01:02:03:04", "01:02:03:14"),
    ],
)
def test_timecode(tmp_path: Path, suffix: str, base: Fraction, text: str, part: str) -> None:
    times = [i * 3600 for i in range(25)] if base.denominator == 90000 else 25
    plain = make_clip(tmp_path / "plain.mkv", times=times, size=(32, 32), time_base=base)
    source = tmp_path / "in.mkv"
    with extended(plain, source) as (out, _):
        out.streams[0].metadata["timecode"] = text
    shown = 10 * (Fraction(1, 25) if base.denominator == 90000 else base)
    for name, options, wanted in (
        ("all", {}, text),
        ("part", {"start": float(shown) - 0.001}, part),
        ("field", {"deinterlace": "field"}, text[:-2] + f"{2 * int(text[-2:]):02d}"),
    ):
        report = upscale(source, tmp_path / f"{name}{suffix}", **options)
        with av.open(str(tmp_path / f"{name}{suffix}")) as file:
            tags = {key.lower(): value for key, value in file.streams.video[0].metadata.items()}
            tracks = [s for s in file.streams.data if s.metadata.get("timecode") == wanted]
        assert tags["timecode"] == wanted
        assert len(tracks) == (suffix != ".mkv")
        assert not [warning for warning in report.warnings if "timecode" in warning]
        # And once more from a track of its own, which no container takes as a copy.
        again = plan_streams(vidsr.probe(tmp_path / f"{name}{suffix}"), Path("out.mp4"))
        assert again.timecode is not None
        assert again.timecode.text == wanted
        assert not [note for note in again.notes if "left out" in note]


def test_a_timecode_without_a_place_is_told(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mkv", times=12, size=(32, 32), time_base=Fraction(1, 12))
    source = tmp_path / "in.mkv"
    with extended(plain, source) as (out, _):
        out.streams[0].metadata["timecode"] = "01:00:00:00"
    report = upscale(source, tmp_path / "out.mp4")
    assert ".mp4 has no place for the timecode 01:00:00:00 at 12 frames a second; .mkv has" in report.warnings
    report = upscale(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert file.streams[0].metadata["TIMECODE"] == "01:00:00:00"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_order_and_several_tracks(tmp_path: Path, suffix: str) -> None:
    """Two videos of unlike time bases, three sounds, one before the picture: all in the source's order."""
    base = Fraction(1, 90000)
    other = make_clip(tmp_path / "other.mp4", times=[0, 3003, 7777, 9001], size=(48, 32), time_base=base)
    plain = make_clip(tmp_path / "plain.mp4", times=10, size=(32, 32))
    source = tmp_path / "in.mp4"
    with av.open(str(plain)) as file, av.open(str(source), "w") as out:
        later: list[Any] = []
        add_tone(out, later, "aac").metadata["title"] = "first"
        video = out.add_stream_from_template(file.streams.video[0], opaque=True)
        add_tone(out, later, "ac3").metadata["title"] = "third"
        add_video(out, later, other)
        add_tone(out, later, "eac3").metadata["title"] = "fifth"
        out.start_encoding()
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for call in later:
            call()
    upscale(source, tmp_path / f"out{suffix}", verify="full")
    kinds = [(s.kind, s.codec) for s in vidsr.probe(tmp_path / f"out{suffix}").others]
    assert vidsr.probe(tmp_path / f"out{suffix}").stream_index == 1
    assert kinds == [(s.kind, s.codec) for s in vidsr.probe(source).others]
    for index in (0, 2, 3, 4):
        assert packets_of(tmp_path / f"out{suffix}", index) == packets_of(source, index)
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        assert [s.metadata.get("title", s.metadata.get("name")) for s in file.streams] == [
            *("first", None, "third", None, "fifth")
        ]
        second = file.streams[3]
        times = sorted(p.pts * second.time_base for p in file.demux(second) if p.size)
    wanted = [Fraction(t, 90000) for t in (0, 3003, 7777, 9001)]
    allowed = Fraction(1, 2000) if suffix == ".mkv" else 0
    assert all(abs(a - b) <= allowed for a, b in zip(times, wanted, strict=True))


def test_another_video_needs_a_container_that_holds_its_codec(tmp_path: Path, plain: Path) -> None:
    other = make_clip(tmp_path / "other.mkv", times=5, size=(32, 32), codec="ffv1")
    source = tmp_path / "in.mkv"
    with extended(plain, source) as (out, later):
        add_video(out, later, other)
        add_packets(out, later, "subrip", [(0, 100, b"a")])
    with pytest.raises(OptionsError, match=r"mov cannot hold stream 1 \(video, ffv1\); name the output .mkv"):
        plan_streams(vidsr.probe(source), tmp_path / "out.mov")
    upscale(source, tmp_path / "out.mov", drop=("video",))
    assert codecs_of(tmp_path / "out.mov") == ["h264", "mov_text"]
