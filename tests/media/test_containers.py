"""What each container holds: what the plan accepts is read back, what it refuses is impossible."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import av
import pytest
from streams import (
    add_packets,
    add_tone,
    codecs_of,
    decoded_sound,
    extended,
    packets_of,
)
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.video.carrying import plan_streams

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
ALL = "mp4 mov mkv"
AMR = "libopencore_amrnb"

# Sound by the container that it is taken from: encoder, sample rate, layout, where it fits.
SOUND = {
    "matroska": [
        ("aac", 48000, "stereo", ALL),
        ("libmp3lame", 48000, "stereo", ALL),
        ("mp2", 48000, "stereo", ALL),
        ("ac3", 48000, "stereo", ALL),
        ("eac3", 48000, "stereo", ALL),
        ("alac", 48000, "stereo", ALL),
        ("libopus", 48000, "stereo", "mp4 mkv webm"),
        ("flac", 48000, "stereo", "mp4 mkv"),
        ("vorbis", 48000, "stereo", "mp4 mkv webm"),
        ("wavpack", 48000, "stereo", "mkv"),
        ("pcm_s16le", 48000, "stereo", "mov mkv"),
        ("pcm_s24be", 48000, "stereo", "mov mkv"),
        ("pcm_f32le", 48000, "stereo", "mov mkv"),
        ("pcm_u8", 48000, "stereo", "mov mkv"),
    ],
    "mov": [
        # PyAV 19 comes without its encoder.
        *([(AMR, 8000, "mono", "mov")] if AMR in av.codecs_available else []),
        ("pcm_alaw", 48000, "stereo", "mov"),
        ("adpcm_ima_qt", 48000, "stereo", "mov"),
        ("pcm_s16be", 48000, "stereo", ALL),
    ],
    "avi": [
        ("pcm_mulaw", 48000, "stereo", "mov mkv"),
        ("adpcm_ms", 48000, "stereo", "mkv"),
        ("adpcm_ima_wav", 48000, "stereo", "mkv"),
        ("wmav2", 44100, "stereo", "mkv"),
    ],
    "mpegts": [("aac", 48000, "stereo", ALL), ("ac3", 48000, "stereo", ALL), ("mp2", 48000, "stereo", ALL)],
}
SOURCES = {"matroska": ".mkv", "mov": ".mov", "avi": ".avi", "mpegts": ".ts"}


def upscale(source: Path, output: Path, **options: object) -> vidsr.JobReport:
    preset = None if output.suffix == ".webm" else "ultrafast"
    return vidsr.run(vidsr.Job(source=source, output=output, backend="nearest", preset=preset, **options))


def takes(source: Path, index: int, form: str) -> bool:
    """Whether FFmpeg writes a header with a copy of a stream; without vidsr."""
    with av.open(str(source)) as file:
        out = av.open(io.BytesIO(), "w", format=form)
        try:
            out.add_stream_from_template(file.streams[index], opaque=True)
            out.start_encoding()
        except (ValueError, av.FFmpegError):
            return False
        finally:
            with suppress(ValueError, OSError, av.FFmpegError):
                out.close()
    return True


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A source of each kind, with a track of each codec that it holds."""
    folder = tmp_path_factory.mktemp("sounds")
    made = {}
    for form, entries in SOUND.items():
        codec = "mpeg2video" if form == "mpegts" else "mpeg4"
        plain = make_clip(folder / f"{form}.mkv", times=13, size=(32, 32), codec=codec)
        made[form] = folder / f"in{SOURCES[form]}"
        with extended(plain, made[form], form) as (out, later):
            for codec, rate, layout, _ in entries:
                add_tone(out, later, codec, rate=rate, layout=layout)
    return made


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", SOUND)
def test_sound(sounds: dict[str, Path], tmp_path: Path, form: str, suffix: str) -> None:
    source, output = sounds[form], tmp_path / f"out{suffix}"
    short = {".m4v": "mp4"}.get(suffix, suffix[1:])
    fits = [number for number, entry in enumerate(SOUND[form], 1) if short in entry[3].split()]
    misfits = sorted(set(range(1, len(SOUND[form]) + 1)) - set(fits))
    for index in misfits:
        if short == "mp4" and SOUND[form][index - 1][0].startswith("pcm_"):
            continue  # its muxer finds out in the trailer that Matroska did not say what each channel is
        assert not takes(source, index, "matroska" if short == "mkv" else short)
    if misfits:
        with pytest.raises(OptionsError) as caught:
            plan_streams(vidsr.probe(source), output)
        for index in misfits:
            assert f"--drop {index}" in str(caught.value)
    report = upscale(source, output, drop=tuple(misfits))
    assert not [w for w in report.warnings if "left out" in w or "converted" in w]
    assert len(codecs_of(output)) == 1 + len(fits)
    for place, index in enumerate(fits, 1):
        same = packets_of(source, index) == packets_of(output, place)
        # Packets of AAC in MPEG-TS begin with a header of their own: the same sound proves the rest.
        own_header = form == "mpegts" and SOUND[form][index - 1][0] == "aac"
        assert same != own_header
        if own_header:
            assert decoded_sound(source, index) == decoded_sound(output, place)


def test_sound_described_as_in_wave_goes_on(sounds: dict[str, Path], tmp_path: Path) -> None:
    """From AVI into Matroska, and from there once more: what was written is understood."""
    upscale(sounds["avi"], tmp_path / "one.mkv")
    upscale(tmp_path / "one.mkv", tmp_path / "two.mkv")
    for index in range(1, 1 + len(SOUND["avi"])):
        assert packets_of(tmp_path / "two.mkv", index) == packets_of(sounds["avi"], index)
        assert decoded_sound(tmp_path / "two.mkv", index) == decoded_sound(sounds["avi"], index)


def test_dts(data: Path, tmp_path: Path) -> None:
    """There is no encoder here: its packets are a shared clip's, which has no video beside them."""
    source = tmp_path / "in.mkv"
    clip = data / "video" / "androidx-media" / "mkv" / "sample_with_dts.mkv"
    with av.open(str(clip)) as file:
        packets = list(file.demux(audio=0))
        plain = make_clip(tmp_path / "plain.mkv", times=10, size=(32, 32))
        with extended(plain, source) as (out, later):
            stream = out.add_stream_from_template(file.streams.audio[0], opaque=True)

            def copy() -> None:
                for packet in packets:
                    if packet.size:
                        packet.stream = stream
                        out.mux(packet)

            later.append(copy)
    for suffix in (".mp4", ".mov", ".mkv"):
        upscale(source, tmp_path / f"out{suffix}")
        assert packets_of(tmp_path / f"out{suffix}", 1) == packets_of(source, 1)
    with pytest.raises(OptionsError, match=r"webm cannot hold stream 1 \(audio, dts\)"):
        plan_streams(vidsr.probe(source), Path("out.webm"))


# A display set without pictures: a composition of nothing, and the end.
PGS = b"\x16\0\x0b" + bytes(11) + b"\x80\0\0"

SUBTITLES: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("subrip", "matroska", b"words", {".mp4": "mov_text", ".mov": "mov_text", ".webm": "webvtt"}),
    ("webvtt", "matroska", b"words", {".mp4": "mov_text", ".mov": "mov_text"}),
    ("mov_text", "mp4", b"\0\5words", {".mkv": "subrip", ".webm": "webvtt"}),
    ("ass", "matroska", b"0,0,Default,,0,0,0,,words", {}),
    ("hdmv_pgs_subtitle", "matroska", PGS, {}),
    ("dvb_subtitle", "matroska", bytes(8), {}),
    ("dvd_subtitle", "matroska", b"\0\x0a\0\4\0\0\0\4\xff\xff", {}),
]
HELD = {
    "subrip": [".mkv"],
    "webvtt": [".mkv", ".webm"],
    "mov_text": [".mp4", ".m4v", ".mov"],
    "ass": [".mkv"],
    "hdmv_pgs_subtitle": [".mkv"],
    "dvb_subtitle": [".mkv"],
    "dvd_subtitle": [".mp4", ".mkv"],
}


@pytest.mark.parametrize(("codec", "form", "packet", "converted"), SUBTITLES, ids=[s[0] for s in SUBTITLES])
def test_subtitles(tmp_path: Path, codec: str, form: str, packet: bytes, converted: dict[str, str]) -> None:
    plain = make_clip(tmp_path / "plain.mp4", times=13, size=(32, 32))
    source = tmp_path / "source"
    name = {"hdmv_pgs_subtitle": "pgssub", "dvb_subtitle": "dvbsub", "dvd_subtitle": "dvdsub"}.get(
        codec, codec
    )
    with extended(plain, source, form) as (out, later):
        add_packets(out, later, name, [(80, 200, packet), (320, 120, packet)])
    for suffix in (".mp4", ".mov", ".mkv", ".webm"):
        output = tmp_path / f"out{suffix}"
        if suffix in HELD[codec]:
            report = upscale(source, output)
            sent = [data for data in packets_of(source, 1) if data.strip(b"\0") or codec != "mov_text"]
            assert [d for d in packets_of(output, 1) if d.strip(b"\0") or codec != "mov_text"] == sent
            assert codecs_of(output)[1] == codec
            assert not [w for w in report.warnings if "converted" in w]
        elif suffix in converted:
            report = upscale(source, output)
            assert codecs_of(output)[1] == converted[suffix]
            words = [data for data in packets_of(output, 1) if data.strip(b"\0")]
            assert [data[-5:] for data in words] == [b"words"] * 2
            assert f"stream 1 (subtitle, {codec}) is converted to {converted[suffix]}" in report.warnings
        else:
            with pytest.raises(OptionsError, match="cannot hold stream 1") as caught:
                plan_streams(vidsr.probe(source), output)
            assert "name the output .mkv, or add --drop 1 to leave it out" in str(caught.value)
