"""Many tiny jobs, some of which cannot be done: the others are, and a second run touches only the failed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import ROOT
from synth import make_clip

OPTIONS = "--backend nearest --preset ultrafast --encoder-threads 1 --workers 2 --max-tries 1 --json".split()


def junk(path: Path, clip: Path) -> None:
    path.write_bytes(b"no video at all" * 50)


def empty(path: Path, clip: Path) -> None:
    path.touch()


def cut(path: Path, clip: Path) -> None:
    path.write_bytes(clip.read_bytes()[:700])


def only_sound(path: Path, clip: Path) -> None:
    silent = "import av,sys;o=av.open(sys.argv[1],'w',format='wav');s=o.add_stream('pcm_s16le',rate=8000);"
    frame = (
        "import numpy as n;f=av.AudioFrame.from_ndarray(n.zeros((1,800),n.int16),layout='mono');f.rate=8000;"
    )
    ending = "[o.mux(p) for p in s.encode(f)];[o.mux(p) for p in s.encode()];o.close()"
    subprocess.run([sys.executable, "-c", silent + frame + ending, path], check=True)


def text(path: Path, clip: Path) -> None:
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nwords\n", encoding="utf-8")


def zeros(path: Path, clip: Path) -> None:
    path.write_bytes(bytes(5000))


def result_is_there(path: Path, clip: Path) -> None:
    shutil.copy(clip, path)
    path.with_name(f"{path.stem}_2x.mkv").write_bytes(b"somebody's")
    path.with_name(f"{path.stem}_2x.mp4").write_bytes(b"somebody's")


def work_folder_is_a_file(path: Path, clip: Path) -> None:
    shutil.copy(clip, path)
    path.with_name(f"{path.stem}_2x.mp4.vidsr").write_bytes(b"")


def lies(path: Path, clip: Path) -> None:
    """Cut off the end of what the header promises, inside the last packet."""
    data = clip.read_bytes()
    path.write_bytes(data[: len(data) - 300])


KINDS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "junk": (junk, "cannot open this"),
    "empty": (empty, "empty"),
    "cut": (cut, ""),
    "sound": (only_sound, "no video"),
    "text": (text, ""),
    "zeros": (zeros, "cannot open this"),
    "there": (result_is_there, "exists"),
    "folder": (work_folder_is_a_file, ""),
    "lies": (lies, ""),
}


def run(folder: Path, *more: str) -> tuple[int, list[dict[str, object]]]:
    command = [sys.executable, "-m", "vidsr", "batch", str(folder), *OPTIONS, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def check(folder: Path, count: int, failures: int) -> None:
    folder.mkdir()
    clip = make_clip(folder.parent / "clip.mkv", times=3)
    bad: dict[str, str] = {}
    for number in range(count):
        name = f"{number:03}.mkv"
        if number % (count // failures) == 1 and len(bad) < failures:
            kind = list(KINDS)[len(bad) % len(KINDS)]
            KINDS[kind][0](folder / name, clip)
            bad[name] = KINDS[kind][1]
        else:
            os.link(clip, folder / name)
    code, events = run(folder)
    assert code == 3
    assert events[-1]["event"] == "end"
    assert events[-1]["jobs"] == {
        "waiting": 0, "running": 0, "done": count - failures, "failed": failures, "cancelled": 0,
    }  # fmt: skip
    failed = {e["name"]: str(e["error"]) for e in events if e["event"] == "job" and e["state"] == "failed"}
    assert failed.keys() == bad.keys()
    for name, says in bad.items():
        assert says in failed[name], name
        assert "\n" not in failed[name]
        assert name in failed[name] or f"{Path(name).stem}_2x" in failed[name]
        assert "fault in vidsr" not in failed[name]
        assert "unexpected" not in failed[name]
    made = {path: path.stat().st_mtime_ns for path in folder.glob("*_2x.mp4") if path.stat().st_size > 20}
    assert len(made) == count - failures
    code, events = run(folder)
    assert code == 3
    assert (events[0]["done"], events[0]["retried"], events[0]["new"]) == (count - failures, failures, 0)
    assert {e["name"] for e in events if e["event"] == "job"} == bad.keys()
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())


@pytest.mark.slow
def test_a_few(tmp_path: Path) -> None:
    check(tmp_path / "in", 18, 9)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_five_hundred_with_twenty_that_fail(tmp_path: Path) -> None:
    check(tmp_path / "in", 500, 20)
