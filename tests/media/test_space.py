"""What a job takes of the disk while it works: at most about twice its result, and told beforehand."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from synth import make_clip

from vidsr import forecast
from vidsr.cli import plan as plan_text
from vidsr.job import Job
from vidsr.pipeline import run
from vidsr.video import pictures, video_sink

FRAMES = 60
_SLACK = 40_000  # the plan, and a record for each segment with the times of its frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    return make_clip(path, times=FRAMES, size=(160, 120), sound=True, options={"g": "10", "crf": "10"})


def job_for(clip: Path, output: Path, **more: Any) -> Job:
    fixed = {"backend": "nearest", "segment_frames": 10, "crf": 10.0} | more
    return Job(source=clip, output=output, **fixed)


def taken(folder: Path) -> int:
    """Return the bytes of all files below a folder that are there right now."""
    found: dict[int, int] = {}
    for parent, _, names in os.walk(folder):  # passes over folders that are removed meanwhile
        for name in names:
            with suppress(FileNotFoundError):  # renamed or removed meanwhile
                state = Path(parent, name).stat()
                # Each once: one that is renamed meanwhile is met under both names.
                found[state.st_ino] = state.st_size
    return sum(found.values())


@contextmanager
def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Measure a folder again and again, and at the moment before and after a result gets its name."""
    seen: list[int] = []
    over = threading.Event()

    def poll() -> None:
        while not over.wait(0.001):
            seen.append(taken(folder))

    def measured(give: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def give_name(path: Path, target: Path) -> None:
            seen.append(taken(folder))
            give(path, target)
            seen.append(taken(folder))

        return give_name

    for module in (video_sink, pictures):
        monkeypatch.setattr(module, "give_name", measured(module.give_name))
    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("out.mp4", {}),
        ("out.mkv", {}),
        ("out.mkv", {"codec": "ffv1", "crf": None}),
        ("out.mov", {"codec": "prores", "crf": None}),
    ],
)
def test_a_video_takes_twice_its_size(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, Any]
) -> None:
    job = job_for(clip, tmp_path / name, **more)
    told = forecast.foresee(job)
    assert taken(tmp_path) == 0
    with watched(tmp_path, monkeypatch) as seen:
        run(job)
    result, peak = (tmp_path / name).stat().st_size, max(seen)
    assert taken(tmp_path) == result, "nothing else is left"
    assert peak <= 2 * result + _SLACK
    assert peak > 1.8 * result, "the measurement saw the join"
    assert told.temporary_bytes == pytest.approx(peak, rel=0.15), "six segments were told of one"
    assert told.expected_bytes == pytest.approx(result, rel=0.15)
    assert told.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


def test_pictures_take_their_size(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_for(clip, tmp_path / "out_%03d.png", crf=None, frames=20)
    told = forecast.foresee(job)
    with watched(tmp_path, monkeypatch) as seen:
        run(job)
    result = taken(tmp_path)
    assert max(seen) <= result + _SLACK
    assert told.temporary_bytes == told.expected_bytes == pytest.approx(result, rel=0.01)


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_plan_shows_it(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 10**12)
    text = words(plan_text.told(forecast.foresee(job_for(clip, tmp_path / "out.mp4"))))
    assert re.search(
        r"size (?:about )?\S+ kB space (?:about )?\S+ [kM]B while it works:"
        r" its segments and, while they are joined, the result; 1\.0 TB are free rests on",
        text,
    ), text
    text = words(plan_text.told(forecast.foresee(job_for(clip, tmp_path / "out_%d.png", crf=None))))
    assert re.search(r"space (?:about )?\S+ [kM]B while it works; 1\.0 TB are free rests on", text), text
    none = forecast.foresee(job_for(clip, Path("null:")))
    assert "space" not in words(plan_text.told(none)).split()
    assert none.free_bytes is None


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=count))


def space_warnings(job: Job) -> list[str]:
    return [text for text in forecast.foresee(job).warnings if "disk" in text]


def test_a_small_disk_is_warned_of(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_for(clip, tmp_path / "out.mp4")
    needed = forecast.foresee(job).temporary_bytes
    assert needed is not None
    free(monkeypatch, needed)
    assert space_warnings(job) == []
    free(monkeypatch, needed - 1)
    (text,) = space_warnings(job)
    assert f"the job needs about {needed / 1e6:,.1f} MB there while it works" in text
    assert space_warnings(job_for(clip, Path("null:"))) == []


def test_what_is_there_already_is_not_needed_again(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(clip, tmp_path / "out.mp4")

    def stop(progress: Any) -> None:
        if progress.frames == 45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, progress=stop)
    needed = forecast.foresee(job).temporary_bytes
    assert needed is not None
    there = taken(tmp_path)
    assert there > needed / 4
    free(monkeypatch, needed - there)
    assert space_warnings(job) == []
    free(monkeypatch, needed - there - 1)
    assert len(space_warnings(job)) == 1


def test_a_disk_that_does_not_say(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(shutil, "disk_usage", refused)
    job = job_for(clip, tmp_path / "out.mp4")
    assert forecast.foresee(job).free_bytes is None
    assert space_warnings(job) == []
    assert "free" not in plan_text.told(forecast.foresee(job))
