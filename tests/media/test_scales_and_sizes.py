"""Whole jobs at scales and sizes that no network makes: pixels, times, names, and what is said of them."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from describe import decode, describe
from synth import make_clip
from test_pictures import read_png, write_png

import vidsr
from vidsr.cli import _run

VARIABLE = [0, 1, 5, 6, 7, 20, 21, 22, 40, 41]


def run(*arguments: object) -> None:
    assert _run(["upscale", *map(str, arguments), "--no-progress"]) == 0


@pytest.mark.parametrize("tile", ["0", "32"])
@pytest.mark.parametrize(
    ("pixel_format", "size", "asked", "target"),
    [
        ("yuv420p", (64, 48), "1.5", (96, 72)),
        ("yuv420p10le", (53, 37), "1.5", (80, 56)),
        ("yuv444p", (60, 40), "12/5", (144, 96)),
        ("gbrp10le", (50, 30), "1.7", (85, 51)),
        ("gray", (64, 48), "5/4", (80, 60)),
        ("yuva420p", (64, 48), "1.25", (80, 60)),
    ],
)
def test_every_sample_is_the_one_under_it(
    tmp_path: Path,
    pixel_format: str,
    size: tuple[int, int],
    asked: str,
    target: tuple[int, int],
    tile: str,
) -> None:
    colors = (2, 0, 2, 2) if pixel_format.startswith("gbr") else (1, 1, 1, 1)
    clip = make_clip(
        tmp_path / "in.mkv", pixel_format=pixel_format, size=size, times=3, codec="ffv1", colors=colors
    )
    nearest = ("--backend", "nearest", "--chroma", "nearest", "-c", "ffv1")
    run(clip, "-o", tmp_path / "out.mkv", "--scale", asked, "--tile", tile, *nearest)
    for small, large in zip(decode(clip), decode(tmp_path / "out.mkv"), strict=True):
        assert large[0].shape == target[::-1]
        for one, many in zip(small, large, strict=True):
            rows, columns = (
                np.minimum((2 * np.arange(n) + 1) * s // (2 * t), have - 1)
                for n, s, t, have in zip(many.shape, size[::-1], target[::-1], one.shape, strict=True)
            )
            np.testing.assert_array_equal(many, one[np.ix_(rows, columns)])


@pytest.mark.parametrize("asked", [("--scale", "1.5"), ("--size", "1920x1080")])
def test_a_real_clip_keeps_its_times_and_sound(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], asked: tuple[str, str]
) -> None:
    source = data / "video" / "mdn" / "cc0-videos" / "friday.mp4"
    output = tmp_path / "out.mp4"
    span = ("--end", "0.7", "--segment-frames", "6", "--preset", "ultrafast", "--json")
    run(source, "-o", output, *asked, *span)
    report = json.loads(capfd.readouterr().out)
    before, after = describe(source), describe(output)
    kept = [t for t in before.times if t - before.times[0] < Fraction(7, 10)]
    assert len(kept) == report["frames"] == len(after.times) > 12
    assert [t - after.times[0] for t in after.times] == [t - kept[0] for t in kept]
    assert after.sound[0] == before.sound[0][: len(after.sound[0])] != []
    shape = Fraction(before.size[0], before.size[1]) * (before.aspect or 1)
    assert Fraction(after.size[0], after.size[1]) * (after.aspect or 1) == shape
    if asked[0] == "--scale":
        assert (after.size, report["way"]) == ((960, 720), "2x network, then down to 1.5x (Lanczos)")
        assert report["warnings"] == []
    else:
        assert after.size == (1920, 1080)
        # Compressed: the network for such sources, at whatever scales there are some.
        assert re.fullmatch(r"\dx network, then (up|down) to 1920x1080 \(Lanczos\)", report["way"])
        assert report["model"].endswith("-video")
        assert after.aspect == Fraction(3, 4)
        assert "its pixels are marked as 3:4" in report["warnings"][0]
    # The picture is what it was: shrunk again by plain averages it is near the source.
    one, other = decode_first(source), decode_first(output)
    small = area(other, one.shape)
    assert np.abs(small - one).mean() < 3


def decode_first(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return next(file.decode(video=0)).to_ndarray(format="gray").astype(np.float64)


def area(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the plane at a smaller size, every sample the mean of what it covers."""
    for axis, wanted in enumerate(shape):
        edges = np.linspace(0, plane.shape[axis], wanted + 1)
        total = np.insert(np.cumsum(plane, axis=axis), 0, 0, axis=axis)
        places = np.apply_along_axis(lambda t: np.interp(edges, np.arange(len(t)), t), axis, total)  # noqa: B023
        plane = np.diff(places, axis=axis) / (edges[1] - edges[0])
    return plane


def test_variable_times_are_kept(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", times=VARIABLE, time_base=Fraction(1, 30), size=(66, 50))
    run(source, "--scale", "7/3", "--backend", "nearest", "--segment-frames", 3, "--verify", "full")
    after = describe(tmp_path / "in_2.333x.mp4")
    assert after.size == (154, 116)
    assert [t - after.times[0] for t in after.times] == [Fraction(t, 30) for t in VARIABLE]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (("--scale", "1.5"), "clip_1.5x.mp4"),
        (("--scale", "2"), "clip_2x.mp4"),
        (("--size", "120x"), "clip_120x90.mp4"),
        (("--size", "100x100"), "clip_100x100.mp4"),
    ],
)
def test_names(tmp_path: Path, asked: tuple[str, str], name: str) -> None:
    source = make_clip(tmp_path / "clip.mp4", times=2)
    run(source, *asked, "--backend", "nearest")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["clip.mp4", name])


def test_a_turned_clip_gets_the_size_it_is_shown_at(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", times=2, rotation=90)
    run(source, "--size", "72x96", "--backend", "nearest")
    after = describe(tmp_path / "clip_72x96.mp4")
    assert (after.size, after.rotation, after.aspect or 1) == ((96, 72), 90, 1)


@pytest.mark.parametrize("aspect", [None, Fraction(16, 11)])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "auto"),
        (".mkv", "x265"),
        (".mov", "prores"),
        (".mp4", "vp9"),
        (".mp4", "av1"),
        (".webm", "auto"),
        (".mkv", "ffv1"),
        (".mkv", "av1"),
    ],
)
def test_another_shape_is_shown_undistorted_or_said_not_to_be(
    tmp_path: Path, suffix: str, codec: str, aspect: Fraction | None
) -> None:
    source = make_clip(tmp_path / "in.mp4", times=2, aspect=aspect)
    output = tmp_path / f"out{suffix}"
    preset = "12" if codec == "av1" else None
    job = vidsr.Job(
        source=source, output=output, size="128x72", backend="nearest", codec=codec, preset=preset
    )
    report = vidsr.run(job)
    after = describe(output)
    assert after.size == report.size_out == (128, 72)
    assert any("shown undistorted" in text for text in report.warnings)
    # 64x48 in 128x72: pixels become 3/4 as wide.
    marked = after.aspect == (aspect or 1) * Fraction(3, 4)
    assert marked == (suffix in (".mp4", ".mov") or codec == "x265")
    assert any("will look distorted" in text for text in report.warnings) != marked


def test_pictures_are_marked_or_said_to_look_distorted(tmp_path: Path) -> None:
    write_png(tmp_path / "in.png", "rgb24", (40, 30))
    for suffix, marked in ((".png", True), (".jpg", True), (".bmp", False)):
        job = vidsr.Job(
            source=tmp_path / "in.png", output=tmp_path / f"out{suffix}", size="81x45", backend="nearest"
        )
        report = vidsr.run(job)
        assert any("will look distorted" in text for text in report.warnings) != marked
        with av.open(str(job.output)) as file:
            frame = next(file.decode(video=0))
            aspect = file.streams.video[0].sample_aspect_ratio
        assert (frame.width, frame.height) == (81, 45)
        assert (aspect == Fraction(20, 27)) == marked
    values = read_png(tmp_path / "in.png", "rgb24")
    rows, columns = ((2 * np.arange(n) + 1) * s // (2 * n) for n, s in ((45, 30), (81, 40)))
    np.testing.assert_array_equal(read_png(tmp_path / "out.png", "rgb24"), values[np.ix_(rows, columns)])


def test_nothing_is_padded_whatever_the_encoder_takes(tmp_path: Path) -> None:
    """The source's chroma is as large as its luma, what x264 gets is not: sizes must be even."""
    source = make_clip(tmp_path / "in.mkv", pixel_format="yuv444p", codec="ffv1", size=(35, 35), times=2)
    for pix_fmt, size in (("yuv420p", (52, 52)), ("yuv444p", (53, 53))):
        job = vidsr.Job(
            source=source,
            output=tmp_path / f"{pix_fmt}.mp4",
            scale=Fraction(3, 2),
            pix_fmt=pix_fmt,
            backend="nearest",
        )
        report = vidsr.run(job)
        assert (report.size_out, describe(job.output).size) == (size, size)
        assert not any("repeated" in text for text in report.warnings)


def test_a_job_of_another_size_does_not_go_on_with_what_is_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidsr.video.video_sink import VideoSink

    source = make_clip(tmp_path / "in.mp4", times=9)
    arguments = [source, "-o", tmp_path / "out.mp4", "--backend", "nearest", "--segment-frames", 3]
    write, count = VideoSink.write, [0]

    def stop(self: VideoSink, out: object) -> None:
        count[0] += 1
        if count[0] == 8:
            raise KeyboardInterrupt
        write(self, out)  # type: ignore[arg-type]

    monkeypatch.setattr(VideoSink, "write", stop)
    assert _run(["upscale", *map(str, arguments), "--scale", "1.5", "--no-progress"]) == 130
    monkeypatch.undo()
    plan = json.loads((tmp_path / "out.mp4.vidsr" / "plan.json").read_text())
    assert (plan["target"], plan["way"]) == ("96x72", "2x network, then down to 96x72 (Lanczos)")
    capfd.readouterr()
    assert _run(["upscale", *map(str, arguments), "--size", "98x72", "--no-progress"]) == 2
    assert "target was 96x72, is 98x72" in capfd.readouterr().err
    assert not (tmp_path / "out.mp4").exists()
    run(*arguments, "--size", "96x72", "--json")
    assert "unfinished work" not in capfd.readouterr().err
