"""Where segments begin: at key frames, the same places found beforehand and on the way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from describe import describe
from fields import make_fields
from hypothesis import given
from hypothesis import strategies as st
from synth import make_clip

import vidsr
from vidsr.pipeline import open_sink
from vidsr.planning import make_plan
from vidsr.video.cuts import cut_before, cuts_among, find_cuts
from vidsr.video.video_sink import VideoSink

UNEVEN = [0, 3003, 6006, 12012, 15015, 15017, 21021, 24024, 60060, 63063]


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 9))
def test_no_segment_is_shorter_or_twice_as_long(keys: list[bool], wanted: int) -> None:
    frames = list(enumerate(keys))
    cuts = cuts_among(frames, wanted)
    lengths = [b - a for a, b in zip(cuts, [*cuts[1:], len(frames)], strict=True)]
    assert sum(lengths) == len(frames)
    assert all(wanted <= length <= 2 * wanted for length in lengths[:-1])
    assert all(length <= 2 * wanted for length in lengths)
    for begin, length in zip(cuts[1:], lengths, strict=False):
        assert keys[begin] or length == 2 * wanted
        assert not any(keys[begin - length + wanted : begin]), "the first key frame that is far enough"


def test_the_rule() -> None:
    assert not cut_before(9, 10, key=True)
    assert cut_before(10, 10, key=True)
    assert not cut_before(19, 10, key=False)
    assert cut_before(20, 10, key=False)


def on_the_way(source: Path, output: Path, **options: object) -> list[int]:
    """Return where a job that reads in order cuts, in ticks of the source."""
    job = vidsr.Job(source=source, output=output, backend="nearest", preset="ultrafast", **options)
    plan = make_plan(job)
    starts = []
    record = VideoSink._record

    def noting(self: VideoSink, part: object) -> None:
        starts.append(part.start // self._unit)
        record(self, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoSink, "_record", noting)
        vidsr.run(job)
    assert plan.output == output
    return starts


@pytest.mark.parametrize(
    ("suffix", "options", "times"),
    [
        (".mp4", {"g": "12", "bf": "3"}, 60),
        (".mkv", {"g": "12", "bf": "3"}, 60),
        (".mkv", {"g": "7", "bf": "2", "x264-params": "open-gop=1"}, 60),
        (".mp4", {"g": "300"}, 60),
        (".mp4", {"g": "2"}, UNEVEN),
        (".ts", {"g": "12", "bf": "2"}, 60),
        (".webm", {"codec": "libvpx-vp9", "g": "9"}, 40),
        (".mkv", {"codec": "ffv1"}, 20),
    ],
)
def test_found_beforehand_as_on_the_way(
    tmp_path: Path, suffix: str, options: dict[str, str], times: int | list[int]
) -> None:
    options = dict(options)
    base = Fraction(1, 90000) if isinstance(times, list) else Fraction(1, 25)
    source = make_clip(
        tmp_path / f"in{suffix}",
        codec=options.pop("codec", "libx264"),
        options=options,
        times=times,
        time_base=base,
    )
    wanted = 3 if isinstance(times, list) else 10
    info = vidsr.probe(source)
    cuts, why = find_cuts(info, wanted)
    assert why == ""
    assert list(cuts) == on_the_way(source, tmp_path / "out.mp4", segment_frames=wanted)
    assert len(cuts) > 1


@pytest.mark.parametrize("mode", ["frame", "field"])
def test_fields_are_not_cut_apart(tmp_path: Path, mode: str) -> None:
    source = make_fields(tmp_path / "in.mp4", "t" * 20, options={"g": "5"})
    job = vidsr.Job(source=source, output=tmp_path / "out.mp4", backend="nearest", deinterlace=mode)
    plan = make_plan(job)
    cuts, _ = find_cuts(plan.info, 7, each=2 if mode == "field" else 1)
    assert list(cuts) == on_the_way(source, tmp_path / "o.mp4", segment_frames=7, deinterlace=mode)
    assert len(cuts) > 1


def test_part_of_a_source(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", times=60, options={"g": "6"})
    info = vidsr.probe(source)
    ticks = [int(second / info.time_base) for second in (Fraction(3, 5), Fraction(2))]
    cuts, _ = find_cuts(info, 10, begin=ticks[0], end=ticks[1])
    assert list(cuts) == on_the_way(source, tmp_path / "out.mp4", segment_frames=10, start=0.6, end=2.0)
    assert cuts[0] == ticks[0]


def test_what_can_only_be_cut_on_the_way(tmp_path: Path) -> None:
    avi = make_clip(tmp_path / "in.avi", codec="mpeg4", times=20)
    assert find_cuts(vidsr.probe(avi), 10) == ((), "AVI has no presentation times")
    picture = make_clip(tmp_path / "in.png", codec="png", pixel_format="gray", times=1)
    assert find_cuts(vidsr.probe(picture), 10) == ((), "pictures have no key frames")


@pytest.mark.parametrize("order", [(2, 0, 3, 1), (3, 2, 1, 0)])
def test_segments_made_in_any_order_give_the_same_bytes(tmp_path: Path, order: tuple[int, ...]) -> None:
    source = make_clip(tmp_path / "in.mkv", times=60, options={"g": "12", "bf": "3"}, sound=True)
    wanted = tmp_path / "wanted.mkv"
    common = {"source": source, "backend": "nearest", "preset": "ultrafast", "segment_frames": 12}
    vidsr.run(vidsr.Job(output=wanted, **common))
    from vidsr.batch.steps import Steps

    job = vidsr.Job(output=tmp_path / "out.mkv", **common)
    with Steps(threads=1) as steps:
        found = steps.look("one", job)
        assert len(found.segments) == 5
        for number in order:
            steps.make(
                "k",
                job,
                found.segments[number],
                more=lambda _: None,
                recorded=lambda number, frames: None,
                told=lambda _: None,
            )
        # The same command goes on with what is missing: segment 4.
        again = steps.look("one", job)
        assert [part.done for part in again.segments] == [True] * 4 + [False]
        plan = make_plan(job, check_output=False)
        with open_sink(job, plan) as sink:
            assert [(s.number, s.until) for s in sink.left()] == [(4, None)]
    report = vidsr.run(job)
    assert report.frames_resumed == 48
    assert (tmp_path / "out.mkv").read_bytes() == wanted.read_bytes()
    assert describe(tmp_path / "out.mkv").sound == describe(source).sound
