"""Text subtitles in a container that was named: converted where nothing is lost, otherwise refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from streams import add_packets, extended, packets_of
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.video.cues import PARSERS

CUES = [(80, 200, b"plain"), (280, 0, b"no length"), (320, 120, b"<i>slanted</i> \xc3\xbc")]


def upscale(source: Path, output: Path, **options: Any) -> vidsr.JobReport:
    preset = None if output.suffix == ".webm" else "ultrafast"
    return vidsr.run(vidsr.Job(source=source, output=output, backend="nearest", preset=preset, **options))


def make(path: Path, form: str, codec: str, cues: list[tuple[int, int, bytes]]) -> Path:
    plain = make_clip(path.with_name("plain.mp4"), times=15, size=(32, 32))
    with extended(plain, path, form) as (out, later):
        add_packets(out, later, codec, cues).metadata["language"] = "ita"
    return path


def read(path: Path) -> list[tuple[Fraction, Fraction, bytes]]:
    """Return begin, end and packet of all subtitles that say something."""
    with av.open(str(path)) as file:
        stream = file.streams.subtitles[0]
        return [
            (p.pts * p.time_base, (p.pts + (p.duration or 0)) * p.time_base, bytes(p))
            for p in file.demux(stream)
            if bytes(p).strip(b"\0")
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_words_times_and_styles_stay(tmp_path: Path, suffix: str) -> None:
    """From SubRip, and back again."""
    source = make(tmp_path / "in.mkv", "matroska", "subrip", CUES)
    report = upscale(source, tmp_path / f"out{suffix}")
    codec = "webvtt" if suffix == ".webm" else "mov_text"
    assert f"stream 1 (subtitle, subrip) is converted to {codec}" in report.warnings
    found = read(tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        stream = file.streams.subtitles[0]
        entry = bytes(stream.codec_context.extradata or b"")
        assert stream.metadata["language"] == "ita"
        assert stream.codec_context.codec.canonical_name == codec
        if codec == "mov_text":
            assert b"ftab" in entry  # players want a default style and a font
    for (begin, length, words), (start, end, packet) in zip(CUES, found, strict=True):
        assert PARSERS[codec](packet, entry) == PARSERS["subrip"](words, b"")
        assert abs(start - Fraction(begin, 1000)) <= Fraction(1, 1000)
        assert abs(end - start - Fraction(length, 1000)) <= Fraction(1, 1000)
    upscale(tmp_path / f"out{suffix}", tmp_path / "back.mkv")
    if suffix != ".webm":  # Matroska holds WebVTT as it is
        assert [packet for _, _, packet in read(tmp_path / "back.mkv")] == [words for _, _, words in CUES]


@pytest.mark.parametrize(
    ("codec", "words", "suffix", "lost"),
    [
        ("subrip", rb"{\an8}above", ".mp4", "as mov_text it would lose positions and effects"),
        ("subrip", b'<font color="#ff0000">a</font>', ".webm", "as webvtt it would lose colours"),
        ("subrip", b"\xff\xfe", ".mp4", "it would lose words that are not UTF-8"),
        ("webvtt", b"<v Ann>hello", ".mov", "it would lose voices, classes, ruby or times within a cue"),
        ("ass", b"0,0,Default,,0,0,0,,{\\pos(1,2)}a", ".mp4", "cannot hold stream 1 (subtitle, ass)"),
    ],
)
def test_what_would_be_lost_is_refused_with_a_way_out(
    tmp_path: Path, codec: str, words: bytes, suffix: str, lost: str
) -> None:
    source = make(tmp_path / "in.mkv", "matroska", codec, [(0, 40, b"a"), (80, 200, words)])
    with pytest.raises(OptionsError) as caught:
        upscale(source, tmp_path / f"out{suffix}")
    assert lost in str(caught.value)
    assert "name the output .mkv" in str(caught.value)
    assert str(caught.value).endswith("add --drop 1 to leave it out")
    assert not list(tmp_path.glob("out*"))
    upscale(source, tmp_path / "out.mkv")
    assert packets_of(tmp_path / "out.mkv", 1) == packets_of(source, 1)
    if suffix != ".webm":
        upscale(source, tmp_path / f"out{suffix}", drop=("subtitle",))


def test_a_part_of_converted_subtitles(tmp_path: Path) -> None:
    """One is shown already when the part begins, one ends after it, one lies outside."""
    cues = [(0, 80, b"over"), (120, 200, b"already"), (400, 400, b"late")]
    source = make(tmp_path / "in.mkv", "matroska", "subrip", cues)
    upscale(source, tmp_path / "out.mp4", start=0.2, end=0.48)
    shown = [(float(a), packet[2:]) for a, _, packet in read(tmp_path / "out.mp4")]
    assert [words for _, words in shown] == [b"already", b"late"]
    assert [start for start, _ in shown] == pytest.approx([0, 0.2], abs=0.002)


def test_vtt_that_ffmpeg_does_not_name(data: Path, tmp_path: Path) -> None:
    source = data / "video" / "androidx-media" / "mkv" / "sample_with_vtt_subtitles.mkv"
    assert vidsr.probe(source).others[1].codec == "webvtt"
    for suffix, words in ((".mkv", 0), (".mp4", 2)):
        upscale(source, tmp_path / f"out{suffix}", frames=12)
        sent = packets_of(source, 2)
        got = [data for data in packets_of(tmp_path / f"out{suffix}", 2) if data.strip(b"\0")]
        assert [data[words:] for data in got] == sent
