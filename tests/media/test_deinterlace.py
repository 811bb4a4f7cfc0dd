"""Interlaced sources: whole frames come out of woven fields, at their times, and nothing else changes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from describe import decode, describe
from fields import MOVING, STILL, job, luma_at, make_fields, read, same, woven
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError
from vidsr.planning import make_plan
from vidsr.video.deinterlace import Deinterlacing, in_fields
from vidsr.video.reader import Reader, Span
from vidsr.video.video_sink import VideoSink

IRREGULAR = [0, 3003, 6006, 12012, 15015, 15017, 21021, 24024, 60060, 63063]
MIXED = "pppttttpppbbbbppp"


def combing(luma: np.ndarray) -> float:
    """Return how much more a row differs from its neighbour than from the next of its own field."""
    rows = luma[MOVING][:-4].astype(int)
    return float(np.abs(np.diff(rows, axis=0)).mean() - np.abs(rows[2:] - rows[:-2]).mean())


@pytest.mark.parametrize("kind", ["t", "b"])
def test_one_frame_a_field_is_what_the_camera_saw(tmp_path: Path, kind: str) -> None:
    frames, _ = read(make_fields(tmp_path / "in.mp4", kind * 12), "field")
    assert len(frames) == 24
    assert [pts - frames[0][0] for pts, _ in frames] == [512 * n for n in range(24)]
    for number, (_, luma) in enumerate(frames):
        # The bar is the same in all rows: what is right at its place is right everywhere.
        assert np.array_equal(luma[MOVING][:-4], luma_at(number)[MOVING][:-4]), number
        if 1 < number < 22:
            assert np.array_equal(luma[STILL], luma_at(number)[STILL]), number


@pytest.mark.parametrize("kind", ["t", "b"])
def test_one_frame_a_frame_shows_the_first_field(tmp_path: Path, kind: str) -> None:
    source = make_fields(tmp_path / "in.mp4", kind * 12)
    frames, reader = read(source, "auto")
    before, off = read(source, "off")
    assert [pts for pts, _ in frames] == [pts for pts, _ in before]
    for number, (_, luma) in enumerate(frames):
        assert np.array_equal(luma[MOVING][:-4], luma_at(2 * number)[MOVING][:-4]), number
        assert combing(luma) < 0.1
        assert combing(before[number][1]) > 10
        if 0 < number < 11:
            assert np.array_equal(luma[STILL], before[number][1][STILL]), number
    assert same(frames, read(source, "frame")[0])
    assert reader.warnings == []
    assert off.warnings == ["the source is interlaced: its fields are upscaled as they are woven"]
    assert reader.deinterlaced == "auto, bwdif, one frame a frame: 12 of 12 frames, 12 flagged interlaced"


def test_progressive_material_is_left_alone(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", times=9)
    results = []
    for number, mode in enumerate(("off", "auto")):
        output = tmp_path / f"{number}.mp4"
        report = vidsr.run(job(source, output, deinterlace=mode))
        assert report.warnings == ()
        results.append(output.read_bytes())
    assert results[0] == results[1]
    assert report.deinterlace == "auto, no frame is flagged interlaced"
    assert "deinterlace" not in make_plan(job(source, tmp_path / "new.mp4")).decisions
    # The decoder's own frame, not a copy that went through a filter.
    with Reader(vidsr.probe(source), deinterlace=Deinterlacing("auto")) as reader:
        assert all(frame.origin.time_base == Fraction(1, 12800) for frame in reader)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("mode", ["auto", "field"])
def test_a_job_keeps_times_and_sound(tmp_path: Path, mode: str, suffix: str) -> None:
    source = make_fields(
        tmp_path / "in.mp4", "t" * 10, times=IRREGULAR, time_base=Fraction(1, 90000), sound=True
    )
    told = []
    output = tmp_path / f"out{suffix}"
    report = vidsr.run(job(source, output, deinterlace=mode, verify="full"), progress=told.append)
    before, after = describe(source), describe(output)
    wanted = before.times
    if mode == "field":
        # A field lasts half of the way to the next frame; the last frame is as long as it says.
        ends = [*before.times[1:], before.times[-1] + Fraction(1, 25)]
        wanted = [t for a, b in zip(before.times, ends, strict=True) for t in (a, (a + b) / 2)]
    assert report.frames == told[-1].frames == told[-1].total == len(wanted)
    allowed = 0 if suffix == ".mp4" else Fraction(1, 1000)
    assert max(abs(a - b) for a, b in zip(after.times, wanted, strict=True)) <= allowed
    assert before.sound == after.sound
    shift = [a - b for a, b in zip(before.sound_times[0], after.sound_times[0], strict=True)]
    assert max(map(abs, shift)) <= Fraction(1, 1000)
    with av.open(str(output)) as file:
        assert not any(frame.interlaced_frame for frame in file.decode(video=0))
    luma = [planes[0] for planes in decode(output)]
    assert all(combing(rows[::2, ::2]) < 0.1 for rows in luma)
    assert report.warnings == () or suffix == ".mkv"
    assert report.deinterlace.startswith(
        f"{mode}, bwdif, one frame a {'field' if mode == 'field' else 'frame'}"
    )


def test_field_mode_doubles_the_rate(tmp_path: Path) -> None:
    source = make_fields(tmp_path / "in.mp4", "t" * 50)
    report = vidsr.run(job(source, tmp_path / "out.mp4", deinterlace="field", start=0.5, end=1.5))
    assert report.frames == 50
    assert "25 to 50 a second" in report.deinterlace
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].average_rate == 50
    assert vidsr.run(job(source, tmp_path / "few.mp4", deinterlace="field", frames=7)).frames == 7


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize("mode", ["auto", "field"])
def test_reading_begins_anywhere_with_the_same_frames(tmp_path: Path, mode: str, suffix: str) -> None:
    # A second is 25 frames: searched for that much earlier, MPEG-TS gives a key frame that is just too late.
    source = make_fields(tmp_path / f"in{suffix}", "b" * 40, times=range(5, 45), options={"g": "26"})
    whole, _ = read(source, mode)
    base = in_fields(vidsr.probe(source)).time_base * (1 if mode == "field" else 2)
    for number in range(len(whole) - 1):
        assert same(read(source, mode, after=whole[number][0])[0], whole[number + 1 :]), number
        start = float((whole[number][0] - whole[0][0]) * base)
        assert same(read(source, mode, Span(start=start, frames=2))[0], whole[number : number + 2]), number


def test_a_search_that_lands_too_late_begins_anew(tmp_path: Path) -> None:
    """In MPEG-TS one lands anywhere; with key frames far apart, nothing before `begin` could be decoded."""
    source = make_clip(tmp_path / "in.ts", times=60, options={"g": "25", "bf": "0"})
    whole, _ = read(source, "auto")
    assert len(whole) == 60
    for number in (0, 10, 24, 30, 40, 49, 55):
        assert same(read(source, "auto", after=whole[number][0])[0], whole[number + 1 :]), number


def test_a_stream_that_is_interlaced_in_places(tmp_path: Path) -> None:
    source = make_fields(tmp_path / "in.ts", MIXED)
    whole, reader = read(source, "auto")
    # Neighbours are the same, whether they are filtered themselves or not.
    every, _ = read(source, "frame")
    flagged = [number for number, kind in enumerate(MIXED) if kind != "p"]
    assert same([whole[number] for number in flagged], [every[number] for number in flagged])
    for number, (kind, (_, luma)) in enumerate(zip(MIXED, whole, strict=True)):
        if kind == "p":
            assert np.array_equal(luma, woven(number, "p")), number
        else:
            assert np.array_equal(luma[MOVING][:-4], luma_at(2 * number)[MOVING][:-4]), number
            assert np.array_equal(luma[STILL], luma_at(0)[STILL]), number
    assert reader.deinterlaced.endswith("8 of 17 frames, 8 flagged interlaced")
    for number in range(len(whole) - 1):
        assert same(read(source, "auto", after=whole[number][0])[0], whole[number + 1 :]), number
    # The first frame says nothing of it: the warning comes when fields do.
    report = vidsr.run(job(source, tmp_path / "out.mp4", deinterlace="off"))
    assert report.warnings == ("the source is interlaced: its fields are upscaled as they are woven",)
    assert report.deinterlace == "off, fields stay woven"


@pytest.mark.parametrize("mode", ["auto", "field"])
@pytest.mark.parametrize("stop", [1, 7, 14])
def test_an_interrupted_job_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, stop: int
) -> None:
    source = make_fields(tmp_path / "in.mp4", "t" * 20, sound=True)
    wanted = tmp_path / "wanted.mp4"
    vidsr.run(job(source, wanted, deinterlace=mode, segment_frames=3))
    output = tmp_path / "out.mp4"
    write, count = VideoSink.write, 0

    def interrupted(self: VideoSink, out: object) -> None:
        nonlocal count
        count += 1
        if count > stop:
            raise KeyboardInterrupt
        write(self, out)

    with monkeypatch.context() as patch:
        patch.setattr(VideoSink, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vidsr.run(job(source, output, deinterlace=mode, segment_frames=3))
    if stop > 6:
        with pytest.raises(OptionsError, match=f"deinterlace was {mode}, is off"):
            vidsr.run(job(source, output, deinterlace="off", segment_frames=3))
    report = vidsr.run(job(source, output, deinterlace=mode, segment_frames=3))
    # With one key frame a segment has twice the wanted length, and is whole when the next frame has come.
    assert report.frames_resumed == (stop - 1) // 6 * 6
    assert output.read_bytes() == wanted.read_bytes()


def test_sizes_that_change_are_reported_once_each(tmp_path: Path) -> None:
    sizes = [(96, 64)] * 4 + [(64, 48)] * 4 + [(96, 64)] * 3 + [(128, 80)] * 3 + [(64, 48)] * 2
    source = make_fields(tmp_path / "in.ts", "t" * 16, sizes=sizes)
    for mode in ("auto", "field"):
        frames, reader = read(source, mode)
        assert {luma.shape for _, luma in frames} == {(64, 96)}
        assert len(frames) == (32 if mode == "field" else 16)
        assert len(reader.warnings) == 2
        assert "64x48" in reader.warnings[0]
        assert "128x80" in reader.warnings[1]
        assert all(combing(luma) < 0.5 for _, luma in frames)
        # A frame of another size is no neighbour.
        alone, _ = read(make_fields(tmp_path / "alone.ts", "t" * 4), mode)
        assert same([(0, luma) for _, luma in alone], [(0, luma) for _, luma in frames[: len(alone)]])
        for number in range(len(frames) - 1):
            assert same(read(source, mode, after=frames[number][0])[0], frames[number + 1 :]), number


def test_a_format_that_changes_is_reported_and_made_the_first(tmp_path: Path) -> None:
    formats = ["yuv420p"] * 4 + ["yuv422p"] * 4 + ["yuv420p"] * 2 + ["yuv444p"] * 2
    source = make_fields(tmp_path / "in.ts", "t" * 12, formats=formats)
    frames, reader = read(source, "auto")
    assert [text.split(" on")[0] for text in reader.warnings] == [
        f"the pixel format changes to {name}" for name in ("yuv422p", "yuv444p")
    ]
    assert same(frames, read(make_fields(tmp_path / "same.ts", "t" * 12), "auto")[0])


def test_telecined_film_is_mentioned(tmp_path: Path) -> None:
    said = ["the source looks like film that was telecined (3:2 pulldown); this is not undone"]
    assert read(make_fields(tmp_path / "hard.ts", "pppttpppttpppttppptt"), "auto")[1].warnings == said
    times = [0]
    for number in range(11):
        times.append(times[-1] + (3003 if number % 2 else 4504))
    soft = make_clip(tmp_path / "soft.mp4", times=times, time_base=Fraction(1, 90000))
    assert read(soft, "auto")[1].warnings == said
    assert read(make_clip(tmp_path / "not.mp4", times=IRREGULAR), "auto")[1].warnings == []


@pytest.mark.parametrize(("kind", "unflagged"), [("t", "p"), ("b", "p"), ("b", "t"), ("p", "t")])
def test_idet_looks_at_the_picture(tmp_path: Path, kind: str, unflagged: str) -> None:
    """The flag says nothing, or the wrong thing: what is woven decides."""
    source = make_fields(tmp_path / "in.mp4", kind * 16, flagged=unflagged)
    report = vidsr.run(job(source, tmp_path / "out.mp4", deinterlace="idet"))
    luma = [planes[0][::2, ::2] for planes in decode(tmp_path / "out.mp4")]
    for number, rows in enumerate(luma):
        assert np.array_equal(rows[MOVING][:-4], luma_at(2 * number)[MOVING][:-4]), number
    assert report.warnings == ()
    seen = {"t": "16 top field first", "b": "16 bottom field first", "p": "0 top field first, 0 bottom"}[kind]
    assert seen in report.deinterlace
    assert "woven" not in report.deinterlace
    assert report.deinterlace.startswith("idet saw ")
    plan = make_plan(job(source, tmp_path / "new.mp4", deinterlace="idet"))
    assert plan.decisions["deinterlace"] == {"t": "frame tff", "b": "frame bff", "p": "off"}[kind]
