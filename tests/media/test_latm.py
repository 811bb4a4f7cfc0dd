"""AAC as it is broadcast (LATM): packed otherwise, the same sound comes out; or it is refused."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from streams import add_tone, codecs_of, extended
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.video.carrying import plan_streams
from vidsr.video.latm import Config, DamagedError, LatmError, adts, read_frame


def sound_of(path: Path) -> list[bytes]:
    """Return the samples of each frame that can be decoded; shared clips end in the middle of one."""
    frames = []
    with av.open(str(path)) as file:
        for packet in file.demux(audio=0):
            try:
                frames += [frame.to_ndarray().tobytes() for frame in packet.decode()]
            except av.InvalidDataError:
                continue
    return frames


def make(path: Path, *, rate: int = 48000, layout: str = "stereo") -> Path:
    """Write MPEG-TS with sound in LATM."""
    plain = make_clip(path.with_name("plain.mkv"), times=13, size=(32, 32), codec="mpeg2video")
    sound = path.with_name("sound.mkv")
    with extended(plain, sound) as (out, later):
        add_tone(out, later, "aac", rate=rate, layout=layout)
    with av.open(str(sound)) as file, av.open(str(path), "w", "mpegts", {"mpegts_flags": "latm"}) as out:
        copies = [out.add_stream_from_template(stream, opaque=True) for stream in file.streams]
        for packet in file.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    return path


@pytest.mark.parametrize(("rate", "layout"), [(48000, "stereo"), (22050, "mono")])
def test_the_same_sound_in_files(tmp_path: Path, rate: int, layout: str) -> None:
    source = make(tmp_path / "in.ts", rate=rate, layout=layout)
    assert vidsr.probe(source).others[0].codec == "aac_latm"
    sound = sound_of(source)
    assert len(sound) >= 10
    for suffix in (".mp4", ".mov", ".mkv"):
        report = vidsr.run(vidsr.Job(source=source, output=tmp_path / f"out{suffix}", backend="nearest"))
        assert "stream 1 (audio, aac_latm) is converted to aac" in report.warnings
        assert codecs_of(tmp_path / f"out{suffix}")[1] == "aac"
        assert sound_of(tmp_path / f"out{suffix}") == sound
    report = vidsr.run(vidsr.Job(source=source, backend="nearest"))
    assert report.output == str(tmp_path / "in_2x.mkv")
    with pytest.raises(OptionsError, match=r"webm cannot hold stream 1 \(audio, aac_latm\); name the output"):
        plan_streams(vidsr.probe(source), tmp_path / "out.webm")


def test_a_broadcast(data: Path, tmp_path: Path) -> None:
    """Its first frames refer to a description that comes later; its last one is cut off."""
    source = data / "video" / "fate" / "hevc" / "loewe.mp4"
    output = tmp_path / "out.mkv"
    vidsr.run(vidsr.Job(source=source, output=output, backend="nearest", preset="ultrafast", scale=1.1))
    assert sound_of(output) == sound_of(source)
    assert len(sound_of(source)) == 16


def _loas(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return (0x2B7 << 13 | len(body)).to_bytes(3, "big") + body


# A description of AAC-LC, 48 kHz, stereo; then a frame of three bytes.
_LC = "0001000110010000"
_PLAIN = "0010000000000000" + _LC + "0001111111100"
_FRAME = "00000011" + f"{0xABCDEF:024b}"


def test_bits() -> None:
    assert read_frame(_loas(_PLAIN + _FRAME), None) == (Config(2, 3, 2), b"\xab\xcd\xef")
    assert read_frame(_loas("1" + _FRAME), Config(2, 3, 2)) == (Config(2, 3, 2), b"\xab\xcd\xef")
    assert read_frame(_loas("1" + _FRAME), None) == (None, b"")
    assert adts(Config(2, 3, 2), b"\xab\xcd\xef") == bytes.fromhex("fff14c80015ffcabcdef")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("001000000", "000000000", "several programs"),
        (_LC, "1000100110010000", "object type 17"),
        (_LC, "0001000110000000", "channels"),
        (_LC, "0001000110010100", "960"),
        ("00011111111", "00111111111", "constant length"),
        ("1111111100", "1111111110", "data beside"),
    ],
)
def test_what_adts_has_no_equal_for(old: str, new: str, reason: str) -> None:
    assert _PLAIN.count(old) >= 1
    with pytest.raises(LatmError, match=reason):
        read_frame(_loas(_PLAIN.replace(old, new, 1) + _FRAME), None)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 9, b"\x56\xe2\xbd\xff", _loas("1" + "1" * 40), _loas(_PLAIN)[:5]]
)
def test_damage(data: bytes) -> None:
    with pytest.raises(DamagedError):
        read_frame(data, Config(2, 3, 2))
