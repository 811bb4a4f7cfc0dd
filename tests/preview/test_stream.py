"""What a play sends: its times, its sound, both halves, any source."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from previewing import words_of
from synth import make_clip, planes_at

from vidsr.frame import PixelFormat
from vidsr.job import Job
from vidsr.preview.clip import Clip
from vidsr.preview.networks import Networks
from vidsr.preview.player import Play, Wish
from vidsr.video.sound import SoundReader

TWO = Fraction(2)


def played(source: Path, *, job: dict | None = None, **wish: object) -> tuple[bytes, Clip]:
    clip = Clip(Job(source=source, **(job or {})))
    networks = Networks(clip)
    play = Play(clip, networks, Wish(**{"model": "2x-ecbsr-m4c8", "scale": TWO, **wish}))
    try:
        return b"".join(play.chunks), clip
    finally:
        play.close()
        networks.close()


def decoded(data: bytes) -> tuple[list[av.VideoFrame], np.ndarray, list[float]]:
    """Return pictures, and sound with the time of its first sample."""
    with av.open(io.BytesIO(data)) as container:
        frames, blocks, first = [], [], []
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                frames.append(frame)
            else:
                first.append(float(frame.pts * frame.time_base))
                blocks.append(frame.to_ndarray()[0])
    return frames, np.concatenate(blocks) if blocks else np.zeros(0), first[:1]


def test_every_frame_at_its_time_from_any_second_on(tmp_path: Path) -> None:
    times = [0, 2, 3, 7, 8, 12, 13, 14, 20, 21]
    data, _ = played(make_clip(tmp_path / "vfr.mp4", times=times, time_base=Fraction(1, 25)))
    frames, _, _ = decoded(data)
    assert [round(f.time * 25, 2) for f in frames] == times
    words, names = words_of(data)
    assert [w["k"] for w in words] == ["begin"] + ["frame"] * 10 + ["end"]
    assert words[0]["at"] == 0
    assert names.count("moof") == names.count("mdat") == 10
    data, _ = played(tmp_path / "vfr.mp4", at=0.3)
    assert words_of(data)[0][0]["at"] == pytest.approx(8 / 25)
    assert [round(f.time * 25, 2) for f in decoded(data)[0]] == [0, 4, 5, 6, 12, 13]


def test_a_step_forward_and_a_step_back(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", times=[0, 1, 4, 5, 30])
    for at, back, shown in ((4.001 / 25, False, 5), (4 / 25, True, 1), (30 / 25, True, 5), (0, True, 0)):
        data, _ = played(source, at=at, back=back, count=1)
        assert words_of(data)[0][0]["at"] == pytest.approx(shown / 25)
        assert len(decoded(data)[0]) == 1


def test_the_picture_holds_the_upscaled_frame_and_below_it_its_source(tmp_path: Path) -> None:
    size = (64, 48)
    data, _ = played(make_clip(tmp_path / "clip.mp4", options={"crf": "4"}), at=0.2, count=1)
    about = words_of(data)[0][0]
    assert (about["stack"], about["below"], about["target"]) == ([128, 144], 96, [128, 96])
    picture = decoded(data)[0][0].to_ndarray(format="yuv420p")[:144]
    source = planes_at(PixelFormat.parse("yuv420p"), size, 5)[0].astype(int)
    assert np.abs(picture[96:144, :64] - source).mean() < 3
    shrunk = picture[:96].reshape(48, 2, 64, 2).mean((1, 3))
    assert shrunk.shape == source.shape
    assert np.abs(shrunk - source)[4:-4, 4:-4].mean() < 12
    assert (picture[96:, 70:] < 20).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("odd.mkv", {"size": (65, 47), "codec": "ffv1", "pixel_format": "yuv444p"}),
        ("ten.mkv", {"codec": "ffv1", "pixel_format": "yuv420p10le"}),
        ("rgb.mkv", {"codec": "ffv1", "pixel_format": "gbrp10le", "colors": (2, 0, 1, 1)}),
        ("gray.mkv", {"codec": "ffv1", "pixel_format": "gray"}),
        ("interlaced.mp4", {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1"}}),
    ],
)
def test_sources_of_all_kinds(tmp_path: Path, name: str, options: dict) -> None:
    data, clip = played(make_clip(tmp_path / name, times=4, **options))
    words, _ = words_of(data)
    assert [w["k"] for w in words][-1] == "end"
    frames = decoded(data)[0]
    assert len(frames) == 4
    width, height = words[0]["stack"]
    assert (width % 2, height % 2) == (0, 0)
    assert words[0]["target"] == [2 * clip.size[0], 2 * clip.size[1]]
    own = frames[2].to_ndarray(format="gray")
    lower = own[words[0]["below"] :][: clip.size[1], : clip.size[0]].astype(float)
    shrunk = (
        own[: 2 * clip.size[1], : 2 * clip.size[0]].reshape(clip.size[1], 2, clip.size[0], 2).mean((1, 3))
    )
    assert np.abs(shrunk - lower)[4:-4, 4:-4].mean() < 12


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_turned_sources_say_how(tmp_path: Path, turned: int) -> None:
    clip = Clip(Job(source=make_clip(tmp_path / "turned.mp4", rotation=turned)))
    angle = np.deg2rad(clip.info.rotation)
    wanted = (np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    assert clip.turn == pytest.approx(wanted, abs=1e-3)


def test_each_field_becomes_a_frame_where_asked(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "i.mp4", options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    data, _ = played(source, job={"deinterlace": "field"})
    assert [round(f.time * 50) for f in decoded(data)[0]] == list(range(20))


@pytest.mark.parametrize("at", [pytest.param(0.0, marks=pytest.mark.slow), 1.52])
def test_sound_is_with_its_picture(flashing: Path, at: float) -> None:
    data, _ = played(flashing, at=at)
    frames, sound, first = decoded(data)
    bright = [f.to_ndarray(format="gray")[:192].mean() > 120 for f in frames]
    flash = frames[bright.index(True)].time
    beep = int(np.argmax(np.abs(sound) > 0.2)) / 48000 + first[0]
    assert flash == pytest.approx(1.0 if at == 0 else 2.0 - words_of(data)[0][0]["at"], abs=0.001)
    assert abs(beep - flash) < 0.04


def test_sound_that_begins_late_or_ends_early_is_silence_there(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", times=25, sound=True)
    clip = Clip(Job(source=source))
    with SoundReader(clip.info, Fraction(-1, 2)) as sound:
        early = sound.read(48000)
        assert not early[:, :23000].any()
        assert np.abs(early[:, 26000:]).max() > 0.1
    with SoundReader(clip.info, Fraction(9, 10)) as sound:
        assert not sound.read(96000)[:, 20000:].any()


def test_jpegs_for_browsers_without_media_source_extensions(tmp_path: Path) -> None:
    data, _ = played(make_clip(tmp_path / "clip.mp4", times=3), form="mjpeg")
    parts = data.split(b"--vidsr-frame\r\n")[1:]
    pictures = [p.split(b"\r\n\r\n", 1)[1].rstrip(b"\r\n") for p in parts if b"image/jpeg" in p]
    assert len(pictures) == 3
    with av.open(io.BytesIO(pictures[0])) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (128, 144)


def test_what_goes_wrong_is_told_in_the_stream(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4")
    words, _ = words_of(played(source, model="/etc/passwd")[0])
    assert words[0]["k"] == "error"
    assert "no model" in words[0]["text"]
