"""``vidsr upscale --plan``: everything that would be done, tried for two seconds, and nothing written."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fields import make_fields
from synth import make_clip

from vidsr import rehearsal, trial
from vidsr.cli import _run
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan
from vidsr.video.work import find_unfinished

SMALL = (32, 24)
_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_watched: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what Python code makes; a hook cannot be removed, so it is asleep most of the time."""
    if not _watching:
        return
    if event in _WRITES:
        _watched.append(f"{event} {arguments[0]}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        _watched.append(f"open {arguments[0]} {arguments[1]}")


sys.addaudithook(_watch)


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return all paths below a folder, and its own time, with what would change."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.stat()
        found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def plan_text(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert _run(["upscale", *map(str, arguments), "--backend", "nearest", "--plan"]) == code
    return capfd.readouterr()


def plan_of(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    out, err = plan_text(capfd, *arguments, "--json")
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize(
    ("output", "more"),
    [
        ("out.mp4", []),
        ("out.mkv", ["-c", "ffv1"]),
        ("out.mov", ["-c", "prores"]),
        ("out.webm", []),
        ("out_%03d.png", []),
        ("null:", []),
    ],
)
def test_nothing_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], output: str, more: list[str]
) -> None:
    global _watching
    source = make_clip(tmp_path / "in.mp4", times=30, size=SMALL, sound="webm" not in output)
    name = output if output == "null:" else tmp_path / output
    before = _state(tmp_path)
    _watched.clear()
    _watching = True
    try:
        found = plan_of(capfd, source, "-o", name, *more)
    finally:
        _watching = False
    assert _state(tmp_path) == before
    # The folder is tried with a file that never has a name.
    assert [made for made in _watched if made != f"open {tmp_path} w+"] == []
    assert found["trial"]["frames"] == 30
    assert found["trial"]["whole"]
    assert (found["trial"]["coded_bytes"] > 0) == (output != "null:")


def test_what_is_told_is_what_is_done(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A source shorter than the trial is measured whole: the very frames through the very encoder."""
    times = [*range(3, 30), 32, 33, 40]
    source = make_clip(tmp_path / "in.mkv", times=times, size=(160, 120), sound=True, subtitles="ass")
    found = plan_of(capfd, source)
    report = run(Job(source=source, backend="nearest"))
    for key in (
        *("source", "output", "model", "model_reason", "target", "way", "tiles", "backend", "backend_reason"),
        *("runtime", "size_in", "size_out", "color", "encoder", "encoder_options"),
    ):
        done = getattr(report, key)
        assert found[key] == (list(done) if isinstance(done, tuple) else done), key
    assert found["warnings"] == list(report.warnings)
    assert found["frames"] == {"count": report.frames, "source": "counted"}
    assert (found["container"], found["container_reason"]) == (
        "matroska",
        ".mp4 would not hold stream 2 (subtitle, ass) as it is",
    )
    size = Path(report.output or "").stat().st_size
    assert found["expected_bytes"] == pytest.approx(size, rel=0.1)


def test_text(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("in.mkv"), times=30, size=SMALL, sound=True, subtitles="subrip", colors=(0, 2, 2, 2))
    Path("out.mp4").write_bytes(b"there")
    out, err = plan_text(capfd, "in.mkv", "-o", "out.mp4", "--drop", "1", "--overwrite")
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    text = re.sub(r"\s+", " ", out)
    for words in (
        "source in.mkv, 32x24, yuv420p",
        "output out.mp4, 64x48 (a file that is there is replaced)",
        "container mp4: as it was named",
        "chosen the source is h264",
        "way 2x network; whole frames",
        "colour read as bt601 (guessed) matrix",
        "written as yuv420p, YUV 4:2:0 of 8 bits, matrix untagged, limited range (untagged), chroma left",
        "encoder libx264 crf=18 preset=medium",
        "stream 1 audio aac: dropped (asked for by --drop)",
        "stream 2 subtitle subrip: converted to mov_text",
        "frames 30 (counted)",
        "rests on all 30 frames, made in",
    ):
        assert words in text
    assert out.endswith("Nothing was written.\n")
    assert Path("out.mp4").read_bytes() == b"there"


def test_a_trial_of_a_part_is_extrapolated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mkv", times=300, size=(160, 120))
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 0.15)
    monkeypatch.setattr(rehearsal, "_LONG", 5.0)
    found = plan_of(capfd, source)
    made = found["trial"]
    assert not made["whole"]
    assert 1 <= made["frames"] < 300
    assert made["begins"] == pytest.approx(4.0, abs=0.1)
    assert found["frames"] == {"count": 300, "source": "counted"}
    assert found["expected_seconds"] == pytest.approx(made["opening"] + 300 * made["frame_seconds"])
    text, _ = plan_text(capfd, source)
    assert re.search(r"rests on +a trial of \d.\d s: \d+ frames? from 0:04 on", text)
    assert " about " in text


def test_bytes_for_many_frames_count_a_key_frame_a_segment() -> None:
    some = trial.Trial(
        frames=11, whole=False, begins=0.0, seconds=1.0, opening=0.5, frame_seconds=0.1, coded_bytes=2000,
        first_bytes=1000, stages=(), tiles="", deinterlace="", notes=(),
    )  # fmt: skip
    assert some.bytes_for(1000, 100) == 10 * 1000 + 990 * 100
    assert some.seconds_for(100) == pytest.approx(10.5)
    whole = dataclasses.replace(some, whole=True)
    assert whole.bytes_for(11, 240) == 2000
    assert whole.bytes_for(11, 4) == 3 * 1000 + 8 * 100, "the job begins two more segments"


def test_a_part_of_the_source(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.mp4", times=50, size=SMALL)
    assert plan_of(capfd, source, "--frames", "7")["frames"]["count"] == 7
    assert plan_of(capfd, source, "--start", "1", "--end", "1.4")["frames"]["count"] == 10


def test_fields_are_made_into_frames_in_the_trial_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_fields(tmp_path / "in.mp4", "t" * 20)
    one, two = (plan_of(capfd, source, "--deinterlace", mode) for mode in ("auto", "field"))
    assert "bwdif, one frame a frame" in one["trial"]["deinterlace"]
    assert (one["frames"]["count"], two["frames"]["count"]) == (20, 40)
    assert two["trial"]["frames"] == 40
    text, _ = plan_text(capfd, source, "--deinterlace", "off")
    assert re.search(r"fields +off, fields stay woven", text)


def test_frames_are_counted_where_the_rate_lies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Times that are too far apart for the rate that Matroska states: 25 fps and a frame a second."""
    source = make_clip(tmp_path / "in.mkv", times=range(0, 500, 25), size=SMALL)
    assert plan_of(capfd, source)["frames"] == {"count": 20, "source": "counted"}


def test_unfinished_work_is_told_and_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.mp4", times=30, size=SMALL)
    job = Job(source=source, output=tmp_path / "out.mp4", backend="nearest", segment_frames=10)

    def stop(progress: Any) -> None:
        if progress.frames == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, progress=stop)
    before = _state(tmp_path)
    arguments = [source, "-o", tmp_path / "out.mp4", "--segment-frames", "10"]
    found = plan_of(capfd, *arguments)
    assert (found["frames_done"], found["frames"]["count"]) == (20, 30)
    assert found["unfinished"] == {"path": str(tmp_path / "out.mp4.vidsr"), "frames": 20}
    text, _ = plan_text(capfd, *arguments)
    assert "20 frames of it are kept" in re.sub(r"\s+", " ", text)
    _, err = plan_text(capfd, *arguments, "--crf", "30", code=2)
    assert "unfinished work of another job (encoder.crf was 18, is 30)" in err
    assert plan_of(capfd, *arguments, "--crf", "30", "--discard")["frames_done"] == 0
    assert _state(tmp_path) == before
    plan = make_plan(job)
    assert find_unfinished(tmp_path / "other.mp4", plan.decisions, discard=False) is None
    assert run(job).frames_resumed == 20


def test_the_trial_goes_through_the_stages_of_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the planes of the result reach the encoder."""
    from vidsr.video.writer import SegmentWriter

    source = make_clip(tmp_path / "in.mp4", times=6, size=SMALL, time_base=Fraction(1, 25))
    seen: list[list[Any]] = []
    write = SegmentWriter.write

    def noted(self: SegmentWriter, out: Any) -> None:
        seen[-1].append((out.pts, [plane.copy() for plane in out.planes]))
        write(self, out)

    monkeypatch.setattr(SegmentWriter, "write", noted)
    job = Job(source=source, output=tmp_path / "out.mp4", backend="nearest")
    seen.append([])
    trial.try_out(job, make_plan(job))
    seen.append([])
    run(job)
    tried, done = seen
    assert len(tried) == len(done) == 6
    for (pts, planes), (wanted, others) in zip(tried, done, strict=True):
        assert pts == wanted
        assert all(np.array_equal(a, b) for a, b in zip(planes, others, strict=True))
