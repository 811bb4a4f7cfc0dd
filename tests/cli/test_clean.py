"""``vidsr clean``: only real work folders go, only those that nobody holds, and only when told to."""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip

from vidsr.cli import _run
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.planning import make_plan
from vidsr.video.leftovers import remove_leftover
from vidsr.video.parts import folder_of
from vidsr.video.work import WorkFolder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", times=30, size=(32, 24))


def job_for(clip: Path, output: Path) -> Job:
    return Job(source=clip, output=output, backend="nearest", segment_frames=10, encoder_threads=1)


def interrupted(clip: Path, output: Path) -> Path:
    """Leave the work folder of a job that ended in its third segment."""

    def stop(progress: Any) -> None:
        if progress.frames == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job_for(clip, output), progress=stop)
    return folder_of(output)


@pytest.fixture
def left(clip: Path, tmp_path: Path) -> Path:
    return interrupted(clip, tmp_path / "out.mp4")


def answer(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert _run(["clean", *map(str, arguments)]) == code
    return capfd.readouterr()


def answer_json(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    out, err = answer(capfd, *arguments, "--json")
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def state(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_a_killed_worker_of_a_batch_leaves_goes_too(clip: Path, left: Path) -> None:
    plan = make_plan(job_for(clip, left.with_suffix("")), check_output=False)
    shared = WorkFolder(left.with_suffix(""), plan.decisions, shared=True)
    path = shared.segment_path(".mp4", 2)
    path.write_bytes(b"half of it")
    shared.release()
    assert path.exists()
    assert remove_leftover(left).failure == ""
    assert not left.exists()


def test_it_is_listed_and_left(left: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = state(left)
    for path in (left, left.parent, left.with_suffix("")):
        out, err = answer(capfd, path)
        told, outcome = out.splitlines()
        assert re.fullmatch(
            re.escape(str(left.with_suffix("")))
            + r": of in.mp4, 20 frames finished, \d+ kB, (under a|\d) minutes? old",
            told,
        ), told
        assert (outcome, err) == ("nothing removed; add --yes", "")
    assert state(left) == before


def test_it_goes_with_yes(left: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    size = sum(p.stat().st_blocks * 512 for p in left.iterdir())
    (left.parent / "other.txt").write_text("kept")
    found = answer_json(capfd, left.parent, "--yes")
    assert found["freed_bytes"] == size > 0
    (one,) = found["folders"]
    assert (one["path"], one["output"]) == (str(left), str(left.with_suffix("")))
    assert (one["frames"], one["source"], one["bytes"]) == (20, "in.mp4", size)
    assert (one["removed"], one["reason"], one["state"], one["batch"]) == (True, "", "left", False)
    assert [p.name for p in left.parent.iterdir()] == ["other.txt"]
    assert answer(capfd, left.parent, "-y")[0] == "nothing is left over\n"
    assert run(job_for(clip, left.with_suffix(""))).frames_resumed == 0


def test_what_is_freed_is_said(left: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = answer(capfd, left, "-y")
    assert re.search(r"^removed 1 work folder: \d+ kB freed$", out, re.MULTILINE)
    assert not left.exists()


@pytest.mark.parametrize(("reply", "gone"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_a_terminal_is_asked(
    left: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reply: str, gone: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(reply))
    out, err = answer(capfd, left.parent)
    assert re.fullmatch(r"Remove 1 work folder, \d+ kB\? \[y/N\] ", err)
    assert left.exists() == (not gone)
    assert ("removed 1" in out) == gone
    assert ("nothing removed\n" in out) == (not gone)


def test_one_in_use_is_named_and_left(left: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = interrupted(clip, left.parent / "other.mp4")
    before = state(left)
    plan = make_plan(job_for(clip, left.with_suffix("")))
    with Held(WorkFolder(left.with_suffix(""), plan.decisions)):
        held = state(left)
        out, err = answer(capfd, left.parent, "-y")
        assert remove_leftover(left).failure == "a vidsr works in it"
    assert err == ""
    assert out.splitlines()[1].endswith("; stays: a vidsr works in it")
    assert "removed 1 work folder" in out
    assert state(left) == before == held
    assert not other.exists()


def test_one_that_workers_share_is_in_use(left: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(job_for(clip, left.with_suffix("")))
    with Held(WorkFolder(left.with_suffix(""), plan.decisions, shared=True)):
        (one,) = answer_json(capfd, left, "-y")["folders"]
    assert (one["state"], one["removed"]) == ("in use", False)
    assert left.exists()


class Held:
    """A work folder that is let go of at the end."""

    def __init__(self, folder: WorkFolder) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self._folder.release()


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mine.mp4.vidsr"
    folder.mkdir()
    (folder / "000000.mp4").write_bytes(b"mine")
    yield folder
    assert (folder / "000000.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "record",
    [
        None,
        "",
        "[]",
        "{}",
        '{"vidsr": "1"}',
        '{"vidsr": 1, "source": 2, "encoder": 3, "span": 4}',
        "[" * 99999,
    ],
)
def test_a_folder_with_the_name_alone_stays(
    foreign: Path, capfd: pytest.CaptureFixture[str], record: str | None
) -> None:
    if record is not None:
        (foreign / "plan.json").write_text(record)
    for path in (foreign, foreign.parent):
        assert answer_json(capfd, path, "-y", "-r") == {"folders": [], "freed_bytes": 0}
    assert remove_leftover(foreign).failure == "it is no work folder any more"
    _, err = answer(capfd, foreign.with_suffix(""), "-y", code=2)
    assert "no unfinished work of that name" in err


@pytest.mark.parametrize("name", ["notes.txt", "folder", "000009.json", "lock"])
def test_one_with_something_else_in_it_stays(
    left: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """A file, a folder, and links where vidsr has files."""
    target = tmp_path / "target"
    target.write_text("not to be touched")
    if name == "notes.txt":
        (left / name).write_text("mine")
    elif name == "folder":
        (left / name).mkdir()
    else:
        (left / name).unlink(missing_ok=True)
        (left / name).symlink_to(target)
    before = state(left)
    (one,) = answer_json(capfd, left, "-y")["folders"]
    assert (one["state"], one["removed"]) == ("kept", False)
    assert one["reason"].startswith(f"'{name}' in it is ")
    assert name in remove_leftover(left).failure
    assert state(left) == before
    assert target.read_text() == "not to be touched"


def test_links_are_not_followed(left: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    moved = left.rename(there / left.name)
    (here / "linked.mp4.vidsr").symlink_to(moved)
    (here / "folder").symlink_to(there)
    assert answer_json(capfd, here, "-y", "-r")["folders"] == []
    for link in (here / "linked.mp4.vidsr", here / "folder"):
        _, err = answer(capfd, link, "-y", code=2)
        assert "this is a link, and links are not followed" in err
    _, err = answer(capfd, here / "linked.mp4", "-y", code=2)
    assert "no unfinished work of that name" in err
    assert moved.is_dir()


def test_below_and_old(left: Path, clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    below = left.parent / "a" / "b"
    below.mkdir(parents=True)
    old = interrupted(clip, below / "old.mp4")
    then = time.time() - 3.5 * 86400
    for path in old.iterdir():
        os.utime(path, (then, then))
    assert [o["path"] for o in answer_json(capfd, left.parent)["folders"]] == [str(left)]
    assert len(answer_json(capfd, left.parent, left, below, "--recursive")["folders"]) == 2, "each once"
    assert "3 days old" in answer(capfd, below)[0]
    assert answer_json(capfd, below, "--older", "4")["folders"] == []
    found = answer_json(capfd, left.parent, "-r", "--older", "3", "-y")["folders"]
    assert [o["path"] for o in found] == [str(old)]
    assert 3.49 < found[0]["age_days"] < 3.51
    assert left.exists()
    assert not old.exists()


@pytest.mark.parametrize("days", ["-1", "nan", "inf"])
def test_days_that_are_none(tmp_path: Path, capfd: pytest.CaptureFixture[str], days: str) -> None:
    _, err = answer(capfd, tmp_path, "--older", days, code=2)
    assert err.startswith("vidsr: --older takes days, 0 or more, not ")


def test_pictures_and_records_that_cannot_be_read(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    left = interrupted(clip, tmp_path / "out_%03d.png")
    partial = left / "000025.png.partial"
    partial.touch()
    assert answer_json(capfd, tmp_path / "out_%03d.png")["folders"][0]["frames"] == 25
    (left / "000003.json").write_text("{")
    assert "frames not known" in answer(capfd, left)[0]
    answer(capfd, left, "-y")
    assert list(tmp_path.iterdir()) == []


def test_a_long_name(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / ("n" * 250 + ".mp4")
    left = interrupted(clip, output)
    answer(capfd, output, "-y")
    assert not left.exists()


def test_everything_that_a_job_writes_is_known(clip: Path, tmp_path: Path) -> None:
    """Names that `vidsr clean` does not know would keep a folder for ever."""
    from vidsr.video import leftovers, parts

    plan = make_plan(job_for(clip, tmp_path / "out.mp4"))
    folder = WorkFolder(tmp_path / "out.mp4", plan.decisions)
    folder.set_cuts((0, 5))
    folder.begin_naming()
    with Held(folder), Held(WorkFolder(tmp_path / "two.mp4", plan.decisions)):
        names = [p.name for p in folder.path.iterdir()]
        assert {"plan.json", "cuts.json", "lock", "naming"} == set(names)
        pid = os.getpid()
        names += [f"{n}.{pid}.partial" for n in ("plan.json", "cuts.json", "naming", "000000.json")]
        folder._shared = True
        names += [folder.segment_path(suffix, 3).name for suffix in (".mp4", ".nut", ".mkv")]
        names += ["joined.mkv", "record.lock", "000003.png", "000003.png.partial"]
        assert all(map(leftovers._OURS.fullmatch, names)), names
    assert parts.folder_of(tmp_path / "out.mp4") == folder.path
