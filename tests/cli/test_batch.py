"""`vidsr batch` as it is typed: exit codes, what is said, events, status, retry and cancel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from synth import make_clip

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "batch-events.schema.json").read_text(encoding="utf-8"))
QUICK = (
    "--backend",
    "nearest",
    "--preset",
    "ultrafast",
    "--workers",
    "1",
    "--max-tries",
    "1",
    "--no-progress",
)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("e2.mkv", "e10.mkv"):
        make_clip(folder / name, times=4)
    return folder


def batch(*words: object, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vidsr", "batch", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, input=given)


def events_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for event in found:
        jsonschema.validate(event, SCHEMA)
    return found


def test_first_run_second_run_and_a_lost_result(clips: Path) -> None:
    done = batch(clips, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "2 jobs: 2 new" in done.stderr
    assert "2 jobs: 2 done" in done.stdout
    made = sorted(path.name for path in clips.iterdir())
    assert made == [".vidsr-batch", "e10.mkv", "e10_2x.mp4", "e2.mkv", "e2_2x.mp4"]
    (clips / "e2_2x.mp4").unlink()
    before = (clips / "e10_2x.mp4").stat().st_mtime_ns
    again = batch(clips, *QUICK)
    assert again.returncode == 0
    assert "what was made of it has vanished: e2.mkv" in again.stderr
    assert (clips / "e2_2x.mp4").exists()
    assert (clips / "e10_2x.mp4").stat().st_mtime_ns == before


def test_sources_known_by_all_their_bytes_may_be_touched(clips: Path) -> None:
    assert batch(clips, *QUICK, "--hash", "full").returncode == 0
    os.utime(clips / "e2.mkv", (1, 1))
    assert "2 jobs: 2 done before" in batch(clips, *QUICK, "--hash", "full").stderr
    os.utime(clips / "e10.mkv", (1, 1))
    assert "the source changed" in batch(clips, *QUICK, "--overwrite").stderr


def test_a_poster_in_the_folder_is_left_out_of_video(clips: Path) -> None:
    (clips / "poster.png").write_bytes(b"a picture")
    done = batch(clips, *QUICK)
    assert done.returncode == 0, done.stdout
    assert "warning: poster.png is left out: what is asked for is video" in done.stderr


def test_other_options_are_another_job_which_replaces_nothing_by_itself(clips: Path) -> None:
    batch(clips, *QUICK)
    before = (clips / "e2_2x.mp4").read_bytes()
    other = batch(clips, *QUICK, "--crf", "40")
    assert other.returncode == 3
    assert "begins anew, because it is another job now: e2.mkv: crf was None, is 40" in other.stderr
    assert "this file exists; add --overwrite" in other.stdout
    assert (clips / "e2_2x.mp4").read_bytes() == before
    assert batch(clips, *QUICK, "--crf", "40", "--overwrite").returncode == 0
    assert (clips / "e2_2x.mp4").read_bytes() != before


def test_events_fit_the_schema(clips: Path) -> None:
    (clips / "bad.mkv").write_bytes(b"nothing" * 100)
    done = batch(clips, *QUICK, "--json")
    assert (done.returncode, done.stderr) == (3, "")
    events = events_of(done)
    assert [events[0]["event"], events[-1]["event"]] == ["begin", "end"]
    assert {e["event"] for e in events} == {"begin", "job", "progress", "end"}
    assert {e["name"]: e["state"] for e in events if e["event"] == "job"} == {
        "bad.mkv": "failed", "e2.mkv": "done", "e10.mkv": "done",
    }  # fmt: skip
    report = next(e["report"] for e in events if e["event"] == "job" and e["state"] == "done")
    assert report["frames"] == 4
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**events[0], "new": "two"}, SCHEMA)


def test_status_retry_and_cancel(clips: Path) -> None:
    (clips / "bad.mkv").write_bytes(b"nothing" * 100)
    batch(clips, *QUICK)
    status = batch("status", clips)
    assert status.returncode == 0
    lines = status.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["failed", "bad.mkv"], ["done", "e2.mkv"], ["done", "e10.mkv"],
    ]  # fmt: skip
    assert "cannot open this" in lines[0]
    assert lines[-1] == "3 jobs: 2 done, 1 failed"
    assert batch("retry", "--state", clips).stdout == "1 job waits again\n"
    told = json.loads(batch("status", clips, "--json").stdout)
    assert told["counts"] == {"waiting": 1, "running": 0, "done": 2, "failed": 0, "cancelled": 0}
    assert batch("cancel", "bad.mkv", "--state", clips).stdout == "1 job cancelled\n"
    unknown = batch("cancel", "other.mkv", "--state", clips)
    assert unknown.returncode == 2
    assert "no job of this batch is called 'other.mkv'" in unknown.stderr
    assert batch("status", clips.parent).returncode == 2


def test_a_manifest_and_what_the_command_line_says(clips: Path) -> None:
    manifest = clips.parent / "jobs.toml"
    manifest.write_text(
        '[defaults]\nbackend = "nearest"\npreset = "ultrafast"\nscale = 3\noutput = "out/{stem}.mkv"\n'
        '[[files]]\nsource = "in"\n[[files]]\nsource = "in/e2.mkv"\nscale = 4\n',
        encoding="utf-8",
    )
    done = batch(manifest, "--workers", "1", "--json")
    assert done.returncode == 0, done.stdout
    reports = {e["name"]: e["report"] for e in events_of(done) if e.get("report")}
    assert {name: report["target"] for name, report in reports.items()} == {"e2.mkv": "4x", "e10.mkv": "3x"}
    assert {path.name for path in (clips.parent / "out").glob("*.mkv")} == {"e2.mkv", "e10.mkv"}


def test_each_warning_is_a_line_of_its_own(clips: Path) -> None:
    done = batch(clips, *QUICK, "--pix-fmt", "yuv444p")
    assert done.returncode == 0, done.stdout
    lines = done.stderr.splitlines()
    assert lines.count("  warning: libx264 gets yuv444p: the source is yuv420p") == 2
    assert "\\n" not in done.stderr


def test_a_list_on_stdin(clips: Path) -> None:
    done = batch("-", *QUICK, "--output-dir", clips.parent / "out", given=f"{clips / 'e2.mkv'}\n")
    assert done.returncode == 0, done.stderr
    assert (clips.parent / "out" / "e2_2x.mp4").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing.mkv"], "there is no such file"),
        (["{clips}", "--workers", "0"], "--workers takes auto or a number"),
        (["{clips}", "--hash", "half"], "--hash takes quick or full"),
        (["{clips}", "-o", "x", "--output-dir", "y"], "--output and --output-dir"),
        (["{clips}", "-o", "{{stem}}"], "names no file"),
        (["{clips}", "--cluster", "here"], "--cluster takes"),
        (["{clips}", "--gpus", "1"], "--gpus is for a cluster"),
        (["{clips}/e2.mkv", "--watch"], "only folders can be watched"),
        (["{clips}", "--crf", "high"], "--crf"),
        (["status", "{clips}"], "no batch"),
    ],
)
def test_wrong_usage_is_one_line(clips: Path, words: list[str], says: str) -> None:
    done = batch(*(word.format(clips=clips) for word in words))
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (clips / ".vidsr-batch").exists()
