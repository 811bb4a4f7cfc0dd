"""Streams that begin early or late, are empty, end later, repeat times, or have none: all in step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from streams import add_packets, add_tone, extended
from synth import make_clip

import vidsr
from vidsr.video import muxer

Times = list[Fraction]
SUFFIXES = [".mp4", ".mov", ".mkv"]


def upscale(source: Path, output: Path, **options: Any) -> vidsr.JobReport:
    job = vidsr.Job(source=source, output=output, backend="nearest", preset="ultrafast", **options)
    return vidsr.run(job)


def times_of(path: Path) -> tuple[Times, list[Times]]:
    """Return the times of the video's packets, and of each other stream's."""
    with av.open(str(path)) as file:
        found: list[Times] = [[] for _ in file.streams]
        for packet in file.demux():
            if packet.size and packet.pts is not None:
                found[packet.stream.index].append(packet.pts * packet.time_base)
    return sorted(found[0]), found[1:]


def make(path: Path, *, video_at: Fraction = Fraction(0), sound_at: Fraction = Fraction(0)) -> Path:
    """Write a Matroska file whose picture and sound begin at given seconds."""
    first = round(video_at * 25)
    plain = make_clip(path.with_name("plain.mp4"), times=range(first, first + 13), size=(32, 32))
    sound = path.with_name("sound.mkv")
    with extended(make_clip(path.with_name("other.mp4"), times=13, size=(32, 32)), sound) as (out, later):
        add_tone(out, later, "ac3")
    with av.open(str(plain)) as pictures, av.open(str(sound)) as tones, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(pictures.streams.video[0], opaque=True)
        audio = out.add_stream_from_template(tones.streams.audio[0], opaque=True)
        for packet in pictures.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for packet in tones.demux(audio=0):
            if packet.size:
                packet.pts += round(sound_at / packet.time_base)
                packet.dts, packet.stream = packet.pts, audio
                out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("video_at", "sound_at"), [(2, 0), (0, 30), (5, 5), (0, 0)])
def test_sound_begins_elsewhere(tmp_path: Path, suffix: str, video_at: int, sound_at: int) -> None:
    source = make(tmp_path / "in.mkv", video_at=Fraction(video_at), sound_at=Fraction(sound_at))
    upscale(source, tmp_path / f"out{suffix}")
    (video, (sound,)), (video_out, (sound_out,)) = times_of(source), times_of(tmp_path / f"out{suffix}")
    assert len(sound_out) == len(sound)
    assert len(video_out) == len(video)
    for before, after in zip(sound, sound_out, strict=True):
        assert abs((after - video_out[0]) - (before - video[0])) <= Fraction(2, 1000)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_stream_without_packets(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in.mkv"
    with extended(make_clip(tmp_path / "plain.mp4", times=5, size=(32, 32)), source) as (out, later):
        add_packets(out, later, "subrip", [])
        out.add_stream("aac", rate=48000, layout="stereo")
        add_tone(out, later, "ac3")
    upscale(source, tmp_path / f"out{suffix}")
    # MP4 has one sample, without words, of the subtitles, and nothing of the sound.
    assert times_of(tmp_path / f"out{suffix}")[1][-1] == pytest.approx(times_of(source)[1][2], abs=0.002)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_that_ends_much_later_is_kept(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in.mkv"
    with extended(make_clip(tmp_path / "plain.mp4", times=3, size=(32, 32)), source) as (out, later):
        add_tone(out, later, "ac3", seconds=15)
    upscale(source, tmp_path / f"out{suffix}")
    assert len(times_of(tmp_path / f"out{suffix}")[1][0]) == len(times_of(source)[1][0]) > 400


@contextmanager
def altered(monkeypatch: pytest.MonkeyPatch, alter: Callable[[Any, int], None]) -> Iterator[None]:
    """Let the muxer read packets that `alter` has changed; it gets each and its number in its stream."""
    opened = muxer.open_info

    class Source:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def demux(self, streams: Any) -> Iterator[Any]:
            counts: dict[int, int] = {}
            for packet in self.file.demux(streams):
                number = counts.get(packet.stream.index, 0)
                counts[packet.stream.index] = number + 1
                if packet.size:
                    alter(packet, number)
                yield packet

    @contextmanager
    def reopened(path: Path, **options: Any) -> Iterator[Any]:
        with opened(path, **options) as file:
            yield Source(file)

    with monkeypatch.context() as patch:
        patch.setattr(muxer, "open_info", reopened)
        yield


def no_times(packet: Any, number: int) -> None:
    packet.pts = packet.dts = None


def no_times_after_the_first(packet: Any, number: int) -> None:
    if number:
        packet.pts = packet.dts = None


def no_decoding_times(packet: Any, number: int) -> None:
    packet.dts = None


def no_presentation_times(packet: Any, number: int) -> None:
    packet.pts = None


def repeated(packet: Any, number: int) -> None:
    if number in (3, 4, 5):
        packet.pts = packet.dts = packet.pts - (number - 2) * 32


def decoded_after_it_is_shown(packet: Any, number: int) -> None:
    packet.dts = packet.pts + 100


def negative(packet: Any, number: int) -> None:
    packet.pts -= 64
    packet.dts = packet.pts


def no_length(packet: Any, number: int) -> None:
    packet.duration = 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("alter", "off"),
    [
        (no_times, 0.005),  # its sound begins 5 ms late, which nothing tells then
        (no_times_after_the_first, 0.0),
        (no_decoding_times, 0.0),
        (no_presentation_times, 0.0),
        (no_length, 0.0),
        (repeated, 0.1),
        (decoded_after_it_is_shown, 0.11),
        (negative, 0.07),
    ],
)
def test_times_that_cannot_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    alter: Callable[[Any, int], None],
    off: float,
) -> None:
    """Every packet is in the result, and none further from its time than what was done to it."""
    source = make(tmp_path / "in.mkv", video_at=Fraction(0))
    with altered(monkeypatch, alter):
        upscale(source, tmp_path / f"out{suffix}")
    before, after = times_of(source)[1][0], times_of(tmp_path / f"out{suffix}")[1][0]
    if alter is negative and suffix != ".mkv":
        # What lies before zero is cut by the edit list, as players expect.
        before, off = before[len(before) - len(after) :], off + 0.001
        assert len(after) >= 13
    assert len(after) == len(before)
    assert max(abs(float(b - a)) for a, b in zip(before, after, strict=True)) <= off + 0.0021


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_subtitles_at_one_time_and_out_of_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    plain = make_clip(tmp_path / "plain.mp4", times=25, size=(32, 32))
    cues = [(80, 200, b"one"), (80, 100, b"two"), (400, 0, b"three"), (440, 2000, b"four")]
    with extended(plain, tmp_path / "in.mkv") as (out, later):
        add_packets(out, later, "subrip", cues)

    def back(packet: Any, number: int) -> None:
        if number == 3:
            packet.pts = packet.dts = 60

    with altered(monkeypatch, back):
        upscale(tmp_path / "in.mkv", tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        words = [bytes(p) for p in file.demux(subtitles=0) if p.size and bytes(p).strip(b"\0")]
    skip = 0 if suffix == ".mkv" else 2
    assert [w[skip:] for w in words] == [b"one", b"two", b"three", b"four"]
