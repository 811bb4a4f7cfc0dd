"""A joined file decodes to the frames of its segments, bit for bit and at their times."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from describe import decode
from synth import make_clip

import vidsr
from vidsr.pipeline import Progress
from vidsr.video.formats import planes_of
from vidsr.video.parts import Part
from vidsr.video.work import WorkFolder

pytestmark = pytest.mark.media

FRAMES = 60
LEAST = 12
# With B-frames, which x264's ultrafast has none of.
FAST = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "12"}
# Milliseconds: bursts, gaps, a pause of 3 s, and frames one tick apart.
VFR = [
    sum((40, 3, 3, 97, 1, 250, 17)[i % 7] + (3000 if i == 31 else 0) for i in range(count))
    for count in range(FRAMES)
]
QUIET = "log-level=error"

SOURCES: dict[str, tuple[str, dict[str, object]]] = {
    "vfr": (".mkv", {"times": VFR, "time_base": Fraction(1, 1000), "options": {"g": "13", "bf": "3"}}),
    "vfr-90k": (".mp4", {"times": [90 * t + t % 7 for t in VFR], "time_base": Fraction(1, 90000)}),
    "b-frames": (".mp4", {"options": {"g": "12", "bf": "5", "x264-params": "b-pyramid=normal:b-adapt=0"}}),
    "offset": (".mkv", {"times": range(37, 37 + FRAMES), "options": {"g": "14"}, "sound": True}),
    "offset-alone": (".ts", {"times": range(1000, 1000 + FRAMES), "options": {"g": "14", "bf": "2"}}),
    "10-bit": (".mp4", {"pixel_format": "yuv420p10le", "options": {"g": "15", "bf": "3"}}),
    "long-gop": (".mp4", {"options": {"g": "300", "bf": "3"}}),
    "open-gop": (".mkv", {"options": {"g": "13", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}}),
    "open-gop-x265": (
        ".mp4",
        {"codec": "libx265", "options": {"x265-params": f"keyint=13:min-keyint=13:bframes=4:{QUIET}"}},
    ),
}

# What the encoder of the result is told: where its GOPs begin has nothing to do with segments.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "x264": ("libx264", {}),
    "x264-open": ("libx264", {"g": "5", "bf": "3", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}),
    "x264-bluray": ("libx264", {"g": "9", "bf": "3", "x264-params": "open-gop=1:bluray-compat=1"}),
    "x264-refresh": ("libx264", {"intra-refresh": "1", "g": "8"}),
    "x264-intra": ("libx264", {"g": "1"}),
    "x265": ("libx265", {}),
    "x265-open": ("libx265", {"x265-params": "open-gop=1:keyint=5:min-keyint=5:bframes=3:b-adapt=0"}),
    "x265-closed": ("libx265", {"x265-params": "no-open-gop=1:keyint=7:bframes=4"}),
    "x265-radl": (
        "libx265",
        {"x265-params": "no-open-gop=1:radl=2:keyint=7:min-keyint=7:bframes=3"},
    ),
    "svt-av1": ("libsvtav1", {}),
    "svt-av1-open": ("libsvtav1", {"g": "8", "svtav1-params": "irefresh-type=1"}),
    "svt-av1-closed": ("libsvtav1", {"g": "8", "svtav1-params": "irefresh-type=2"}),
}

QUICK = {
    ("vfr", "x264", ".mkv"),
    ("vfr-90k", "x265", ".mp4"),
    ("offset", "x264-open", ".mp4"),
    ("10-bit", "x265-open", ".mkv"),
    ("long-gop", "svt-av1", ".mp4"),
    ("open-gop", "x264-open", ".mkv"),
    ("open-gop-x265", "svt-av1-open", ".mkv"),
}
ALL = [(source, encoder, suffix) for source in SOURCES for encoder in ENCODERS for suffix in (".mkv", ".mp4")]


@dataclass
class Kept:
    """The segments of finished jobs, copied before their work folder goes."""

    folder: Path
    parts: list[Part] = field(default_factory=list)
    segments: list[Path] = field(default_factory=list)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    made = Kept(tmp_path / "segments")
    made.folder.mkdir()
    remove = WorkFolder.remove

    def keep(self: WorkFolder) -> None:
        made.parts = self.parts
        made.segments = [Path(shutil.copy(part.path, made.folder)) for part in self.parts]
        remove(self)

    monkeypatch.setattr(WorkFolder, "remove", keep)
    return made


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sources that were made so far, by name."""
    folder = tmp_path_factory.mktemp("clips")
    return {name: folder / f"{name}{suffix}" for name, (suffix, _) in SOURCES.items()}


def source_of(clips: dict[str, Path], name: str) -> Path:
    if not clips[name].exists():
        make_clip(clips[name], **({"times": FRAMES} | SOURCES[name][1]))  # type: ignore[arg-type]
    return clips[name]


def shown(path: Path) -> list[Fraction]:
    """Return the times of a file's decoded frames in seconds."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def check(kept: Kept, job: vidsr.Job, output: Path) -> None:
    """Compare a result with its segments: planes, times, and that playing can begin at each joint."""
    unit = Fraction(1, vidsr.probe(Path(str(job.source))).time_base.denominator)
    exact = output.suffix == ".mp4"
    assert len(kept.parts) > 1, "nothing was joined"
    wanted: list[tuple[np.ndarray, ...]] = []
    times: list[Fraction] = []
    joints = []
    for part, segment in zip(kept.parts, kept.segments, strict=True):
        frames = decode(segment)
        assert len(frames) == len(part.pts)
        assert shown(segment) == [pts * unit for pts in part.pts]
        joints.append(len(wanted))
        wanted += frames
        times += [(part.start + pts) * unit for pts in part.pts]
    got, got_times = decode(output), shown(output)
    assert len(got) == len(wanted) == len(got_times)
    for number, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
        assert len(mine) == len(theirs)
        for plane, other in zip(mine, theirs, strict=True):
            assert plane.dtype == other.dtype
            assert np.array_equal(plane, other), f"frame {number} is not that of its segment"
    allowed = Fraction(0) if exact else Fraction(1, 1000)
    moved = [got - time for got, time in zip(got_times, times, strict=True)]
    assert max(moved) - min(moved) <= allowed
    begin_at(output, [got_times[n] for n in joints], [wanted[n] for n in joints])


def begin_at(path: Path, times: list[Fraction], frames: list[tuple[np.ndarray, ...]]) -> None:
    """Search for each joint: it is a key frame, and comes out as it is in its segment."""
    with av.open(str(path)) as file:
        keys = {p.pts * p.time_base for p in file.demux(video=0) if p.size and p.is_keyframe}
    assert keys.issuperset(times)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        for time, wanted in zip(times, frames, strict=True):
            file.seek(round(time / stream.time_base), stream=stream)
            # FFmpeg's MP4 demuxer may go one key frame further back.
            frame = next(f for f in file.decode(stream) if f.pts * f.time_base >= time)
            assert frame.pts * frame.time_base == time
            assert all(np.array_equal(a, b) for a, b in zip(planes_of(frame), wanted, strict=True))


def job_of(
    source: Path, output: Path, encoder: str, *, segment_frames: int = LEAST, **more: Any
) -> vidsr.Job:
    codec, options = ENCODERS[encoder]
    return vidsr.Job(
        source=source,
        output=output,
        backend="nearest",
        segment_frames=segment_frames,
        codec=codec,
        preset=FAST[codec],
        encoder_options=options,
        encoder_threads=2,
        **more,
    )


@pytest.mark.parametrize(
    ("source", "encoder", "suffix"),
    [pytest.param(*c, marks=() if c in QUICK else pytest.mark.slow, id=f"{c[0]}-{c[1]}{c[2]}") for c in ALL],
)
def test_joined_as_the_segments_were(
    kept: Kept, clips: dict[str, Path], tmp_path: Path, source: str, encoder: str, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    job = job_of(source_of(clips, source), output, encoder, verify="full")
    assert vidsr.run(job).frames == FRAMES
    assert len(kept.parts) > FRAMES // (2 * LEAST)
    check(kept, job, output)
    if source.startswith("offset"):
        # Sound begins at zero in the one, and what all streams wait for goes in the other.
        expected = Fraction(37, 25) if source == "offset" else Fraction(0)
        assert abs(shown(output)[0] - expected) <= Fraction(1, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("least", [1, 2, 3])
def test_segments_shorter_than_what_an_encoder_reorders(
    kept: Kept, tmp_path: Path, least: int, encoder: str, suffix: str
) -> None:
    source = make_clip(tmp_path / "in.mp4", times=12, options={"g": str(least)})
    output = tmp_path / f"out{suffix}"
    job = job_of(source, output, encoder, segment_frames=least, verify="full")
    vidsr.run(job)
    assert [len(part.pts) for part in kept.parts] == [least] * (12 // least)
    check(kept, job, output)


class StoppedError(Exception):
    """Raised in the middle of a job, as Ctrl-C is."""


@pytest.mark.parametrize("encoder", ["x265", "svt-av1"])
@pytest.mark.parametrize("source", ["long-gop", *(pytest.param(s, marks=pytest.mark.slow) for s in SOURCES)])
def test_stopped_anywhere_and_gone_on_with_gives_the_same_bytes(
    clips: dict[str, Path], tmp_path: Path, source: str, encoder: str
) -> None:
    def run(output: Path, stop: int | None = None) -> int:
        def look(progress: Progress) -> None:
            if stop is not None and progress.frames >= stop:
                raise StoppedError

        job = job_of(source_of(clips, source), output, encoder)
        return vidsr.run(job, progress=look).frames_resumed

    whole, again = tmp_path / "whole.mkv", tmp_path / "again.mkv"
    assert run(whole) == 0
    for stop in (29, 31, FRAMES - 1):
        with pytest.raises(StoppedError):
            run(again, stop)
        assert not again.exists()
    assert LEAST <= run(again) < FRAMES
    assert again.read_bytes() == whole.read_bytes()
