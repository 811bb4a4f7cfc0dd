"""Every kind of file through the fastest network, against an independent reading of it by PyAV."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from describe import Description, describe
from synth import make_clip
from test_fidelity import LIMITED_ONLY, largest_error
from test_times import recording

import vidsr
from vidsr.errors import VidsrError
from vidsr.video.opening import LENIENT

MODEL = "ecbsr-m4c8"
PIXELS = 4_000_000
"""Of source frames that are upscaled of one file; longer ones are capped."""


@dataclass(frozen=True)
class Expected:
    """A row of ``shared_clips.tsv``: what does not simply work, and why."""

    outcome: str
    """refused: nothing is written (refused .mp4: into MP4); stops: a partial result; without N: frame N is
    left out; repacked: its sound is not compared by packets."""
    frames: int
    says: str


def exceptions() -> dict[str, Expected]:
    with Path(__file__).with_name("shared_clips.tsv").open(encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        return {r["file"]: Expected(r["outcome"], int(r["frames"]), r["says"]) for r in rows}


def frame_times(path: Path) -> list[Fraction]:
    """Return when each frame is shown, as PyAV decodes it packet by packet, whatever is damaged."""
    times = []
    with av.open(f"file:{path}", **LENIENT) as file:
        covers = av.stream.Disposition.attached_pic
        stream = next(s for s in file.streams.video if not s.disposition & covers)
        stream.thread_type = "SLICE"
        for packet in file.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                untimed = len(times) / stream.guessed_rate if frame.pts is None else 0
                times.append(untimed or (frame.pts or 0) * stream.time_base)
        ordered = file.format.name != "avi"  # whose times are guesses, see `vidsr.video.clock`
    return times if ordered else sorted(times)


def compare(
    source: Path, output: Path, frames: int | None, *, sound: bool = True, without: int | None = None
) -> None:
    """Check that a result holds its source's frames at their times, its other packets and its tags."""
    before, after = describe(source), describe(output)
    times = frame_times(source)
    if without is not None:
        del times[without]
    times = times[:frames]
    exact = output.suffix == ".mp4"
    assert largest_error(times, after.times, (times[0], after.times[0])) <= (
        0 if exact else Fraction(1, 1000)
    )
    assert len(set(after.times)) == len(after.times)
    assert after.size == (before.size[0] * 2, before.size[1] * 2)
    if (
        before.colors != LIMITED_ONLY
        and "gbr" not in before.pixel_format
        and before.pixel_format[:3] != "bgr"
    ):
        assert after.colors == before.colors
    assert float(after.aspect or 1) == pytest.approx(float(before.aspect or 1), abs=1e-4)
    assert after.rotation == before.rotation
    assert after.tags.get("title") == before.tags.get("title")
    if frames is None:
        assert [c[2] for c in after.chapters] == [c[2] for c in before.chapters]
    if sound:
        compare_sound(before, after, times[0], whole=frames is None)


def compare_sound(before: Description, after: Description, first: Fraction, *, whole: bool) -> None:
    """Check that each packet of sound is there and as far from the first frame as it was."""
    kept = [(a, t) for a, t in zip(before.sound, before.sound_times, strict=True) if a]
    found = [(a, t) for a, t in zip(after.sound, after.sound_times, strict=True) if a]
    assert whole is False or len(kept) == len(found)
    for (packets, times), (copies, at) in zip(kept, found, strict=False):
        assert copies == (packets if whole else packets[: len(copies)])
        heard = [(a, b) for a, b in zip(times, at, strict=False) if a >= first]
        error = largest_error([a for a, _ in heard], [b for _, b in heard], (first, after.times[0]))
        assert error <= Fraction(1, 1000)


def run(source: Path, output: Path, expected: Expected | None) -> None:
    """Upscale a file and compare; a refusal must be the expected one, and leave nothing."""
    what, _, number = ("" if expected is None else expected.outcome).partition(" ")
    cap = None
    job = vidsr.Job(source=source, output=output, model=MODEL, preset="ultrafast")
    try:
        info = vidsr.probe(source)
        most = max(4, PIXELS // (info.width * info.height))
        if expected is None and len(frame_times(source)) > most:
            cap = most
        report = vidsr.run(replace(job, frames=cap))
    except VidsrError as error:
        said = str(error)
        assert expected is not None, f"refused: {said}"
        assert "\n" not in said
        assert expected.says in said
        partial = output.with_name(f"{output.stem}.partial{output.suffix}")
        assert not output.exists()
        assert partial.exists() == (expected.outcome == "stops")
        if expected.outcome == "stops":
            compare(source, partial, expected.frames, sound=False)
        else:
            assert not list(output.parent.glob("*.vidsr"))
        return
    assert what in ("", "without", "repacked")
    if expected is not None:
        assert any(expected.says in warning for warning in report.warnings)
        assert report.frames == expected.frames
    without = int(number) if what == "without" else None
    compare(source, output, cap, sound=not what, without=without)
    assert not list(output.parent.glob("*.vidsr"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_shared_clips(data: Path, tmp_path: Path, suffix: str) -> None:
    """Each is kept whole, or is in the table with its reason."""
    with (data / "video" / "MANIFEST.tsv").open(encoding="utf-8") as lines:
        names = [row["file"] for row in csv.DictReader(lines, delimiter="\t")]
    table, wrong = exceptions(), []
    assert not set(table) - set(names)
    for number, name in enumerate(names):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        try:
            expected = table.get(name)
            other = expected is not None and expected.outcome not in ("refused", f"refused {suffix}")
            if expected is not None and expected.outcome.startswith("refused") and other:
                expected = None
            run(data / "video" / name, folder / f"out{suffix}", expected)
        except AssertionError as error:
            wrong.append(f"{name}: {str(error).splitlines()[0]}")
        for file in folder.rglob("*.*"):
            if file.is_file():
                file.unlink()
    assert not wrong


def made(folder: Path) -> Iterator[tuple[Path, Expected | None]]:
    """Yield a file of each class, and what is expected where it does not simply work."""
    vfr = [0, 1, 5, 6, 7, 20, 21, 22, 40, 41]
    b_frames = {"bf": "2", "g": "6"}
    yield make_clip(folder / "plain.mp4", sound=True, options=b_frames), None
    yield make_clip(folder / "vfr.mkv", times=vfr, sound=True, chapters=True, title="a title"), None
    yield make_clip(folder / "late.mkv", times=[t + 100 for t in vfr], sound=True), None
    yield make_clip(folder / "b_frames.avi", codec="mpeg4", options=b_frames, times=20), None
    yield make_clip(folder / "turned.mp4", rotation=90, aspect=Fraction(4, 3), colors=(1, 6, 6, 6)), None
    yield (
        make_clip(folder / "ten.mkv", codec="libx265", pixel_format="yuv420p10le", colors=(1, 9, 9, 16)),
        None,
    )
    yield make_clip(folder / "full.mkv", pixel_format="yuv444p", colors=(2, 1, 1, 1)), None
    yield make_clip(folder / "odd.webm", codec="libvpx-vp9", size=(63, 47), sound=False), None
    yield make_clip(folder / "prores.mov", codec="prores_ks", pixel_format="yuv422p10le", sound=True), None
    yield make_clip(folder / "raw.h264", times=20), None
    yield recording(folder / "record.ts", [(20, 30)]), None
    sound = folder / "sound.mka"
    with av.open(str(make_clip(folder / "x.mkv", sound=True))) as file, av.open(str(sound), "w") as out:
        stream = out.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    yield sound, Expected("refused", 0, "there is no video in it, only audio")
    text = folder / "text.mp4"
    text.write_text("this is no video\n" * 100)
    yield text, Expected("refused", 0, "cannot open this as video")
    empty = folder / "empty.mkv"
    empty.touch()
    yield empty, Expected("refused", 0, "the file is empty")
    whole = make_clip(folder / "whole.mkv", times=30, options={"g": "10", "bf": "0"}, sound=True)
    cut = folder / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    yield cut, Expected("stops", len(frame_times(cut)), "the file is cut off")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_one_file_of_each_class(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "sources"
    source.mkdir()
    wrong = []
    for number, (path, expected) in enumerate(made(source)):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        try:
            run(path, folder / f"out{suffix}", expected)
        except AssertionError as error:
            wrong.append(f"{path.name}: {str(error).splitlines()[0]}")
    assert not wrong


def test_the_independent_reading_sees_errors(tmp_path: Path) -> None:
    """A comparison that cannot fail shows nothing."""
    source = make_clip(tmp_path / "in.mp4", times=10, sound=True)
    output = tmp_path / "out.mp4"
    run(source, output, None)
    shifted = make_clip(tmp_path / "a.mp4", times=[0, 1, 2, 3, 4, 5, 6, 7, 8, 10], sound=True, size=(128, 96))
    fewer = make_clip(tmp_path / "b.mp4", times=9, sound=True, size=(128, 96))
    for other in (shifted, fewer, make_clip(tmp_path / "c.mp4", times=10, size=(128, 96))):
        with pytest.raises(AssertionError):
            compare(source, other, None)
    assert [round((b - a) * 25) for a, b in pairwise(frame_times(shifted))][-1] == 2
