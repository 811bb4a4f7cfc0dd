"""How many workers: by measurement, once; and what becomes of what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from synth import make_clip

from vidsr.batch import tuning
from vidsr.batch.remembered import recall, remember, workers_file
from vidsr.batch.trials import _Hand, rate_of
from vidsr.batch.tuning import choose_workers, fastest
from vidsr.errors import BackendError
from vidsr.job import Job

Speeds = dict[int, float]


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Speeds], list[int]]:
    """Let a trial come to given speeds on a machine of four cores; return the list of trials."""

    def fake(speeds: Speeds) -> list[int]:
        tried: list[int] = []

        def rate(job: Job, workers: int, threads: int, *, seconds: float) -> float:
            tried.append(workers)
            return speeds[workers]

        monkeypatch.setattr(tuning, "rate_of", rate)
        monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
        monkeypatch.setattr(tuning, "_tiny", lambda *_: False)
        return tried

    return fake


def jobs_of(tmp_path: Path, count: int = 8) -> list[Job]:
    clip = make_clip(tmp_path / "clip.mkv", times=6)
    options = {"backend": "nearest", "preset": "ultrafast"}
    return [Job(source=clip, output=tmp_path / f"{n}.mp4", **options) for n in range(count)]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({1: 10.0}, 1),
        ({1: 10.0, 2: 9.6}, 1),
        ({1: 10.0, 2: 9.8}, 2),  # real batches gain more than their trials
        ({1: 10.0, 2: 12.0, 4: 11.0}, 2),
        ({1: 10.0, 2: 9.8, 4: 9.6}, 2),  # little by little is not on
        ({1: 10.0, 2: 9.0, 4: 30.0}, 1),
    ],
)
def test_the_largest_that_is_not_slower(found: Speeds, wanted: int) -> None:
    assert fastest(found) == wanted


def test_the_best_is_taken_and_remembered(tmp_path: Path, measured: Callable[[Speeds], list[int]]) -> None:
    tried = measured({1: 10.0, 2: 15.0, 4: 12.0})
    jobs = jobs_of(tmp_path)
    number, why = choose_workers(jobs)
    assert (number, tried) == (2, [1, 2, 4])
    assert why == "2 workers: of frames a second 1 made 10, 2 made 15, 4 made 12 (measured now)"
    assert choose_workers(jobs)[1].endswith("(measured by an earlier batch)")
    assert tried == [1, 2, 4]
    kept = workers_file()
    assert kept is not None
    assert kept.is_relative_to(tmp_path)
    assert "clip" not in kept.read_text(encoding="utf-8")
    other = [Job(source=jobs[0].source, output=jobs[0].output, backend="nearest", preset="slow")] * 8
    choose_workers(other)
    assert tried == [1, 2, 4] * 2, "another preset is another measurement"


def test_a_close_trial_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {1: [10.0, 9.0], 2: [10.1, 11.0], 4: [7.0]}

    def rate(job: Job, workers: int, threads: int, *, seconds: float) -> float:
        return speeds[workers].pop(0)

    monkeypatch.setattr(tuning, "rate_of", rate)
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    monkeypatch.setattr(tuning, "_tiny", lambda *_: False)
    number, why = choose_workers(jobs_of(tmp_path))
    assert number == 2
    assert "1 made 10, 2 made 11, 4 made 7" in why
    assert not any(speeds.values()), "all were asked for"


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"KEY": {"1": "fast"}}', '{"KEY": {"2": 5}}'])
def test_a_spoilt_cache_is_measured_again(
    tmp_path: Path, measured: Callable[[Speeds], list[int]], spoilt: str
) -> None:
    tried = measured({1: 10.0, 2: 8.0})
    jobs = jobs_of(tmp_path)
    choose_workers(jobs)
    kept = workers_file()
    assert kept is not None
    key = next(iter(json.loads(kept.read_text(encoding="utf-8"))))
    kept.write_text(spoilt.replace("KEY", key), encoding="utf-8")
    assert choose_workers(jobs)[0] == 1
    assert tried == [1, 2] * 2


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, measured: Callable[[Speeds], list[int]]
) -> None:
    measured({1: 10.0, 2: 8.0})
    (tmp_path / "cache").write_bytes(b"a file")
    assert choose_workers(jobs_of(tmp_path))[0] == 1


def test_a_trial_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(job: Job, workers: int, threads: int, *, seconds: float) -> float:
        raise BackendError("a trial died")

    monkeypatch.setattr(tuning, "rate_of", rate)
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    monkeypatch.setattr(tuning, "_tiny", lambda *_: False)
    number, why = choose_workers(jobs_of(tmp_path))
    assert number == 1
    assert "a trial died" in why


def test_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    jobs = jobs_of(tmp_path)
    number, why = choose_workers(jobs)
    assert number == 1, "another worker would start for longer than these take"
    assert "too small for a trial" in why
    assert [choose_workers(jobs * times)[0] for times in (4, 5, 50)] == [1, 2, 4]
    assert choose_workers(jobs * 50, limit=1)[0] == 1
    (tmp_path / "bad.mkv").write_bytes(b"nothing")
    bad = [Job(source=tmp_path / "bad.mkv", output=tmp_path / "bad.mp4")]
    assert "no source could be opened" in choose_workers(bad)[1]


def test_memory_limits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
    monkeypatch.setattr(tuning, "room_here", lambda: 1)
    number, why = choose_workers(jobs_of(tmp_path))
    assert number == 1
    assert "memory" in why


def test_remembers_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "workers.json"
    for number in range(250):
        remember(path, f"{number}", {1: 1.0 + number})
    assert recall(path, "0", [1]) is None
    assert recall(path, "249", [1]) == {1: 250.0}


def test_ctrl_c_ends_the_processes_of_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = jobs_of(tmp_path, 1)
    hands: list[_Hand] = []

    def interrupted(hand: _Hand, deadline: float) -> str:
        hands.append(hand)
        if len(hands) < 2:
            return "ready"
        assert [one._process.poll() for one in hands] == [None, None], "both are at work"
        raise KeyboardInterrupt

    monkeypatch.setattr(_Hand, "hear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rate_of(job, 2, 1, seconds=60)
    assert [one._process.poll() for one in hands] == [-9, -9]


def test_a_killed_process_of_a_trial_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = jobs_of(tmp_path, 1)
    heard = _Hand.hear

    def killed(hand: _Hand, deadline: float) -> str:
        hand._process.kill()
        return heard(hand, deadline)

    monkeypatch.setattr(_Hand, "hear", killed)
    with pytest.raises(BackendError, match="a trial process was killed by signal 9"):
        rate_of(job, 2, 1, seconds=60)


@pytest.mark.clock
@pytest.mark.slow
def test_a_real_trial(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, 1)
    assert rate_of(job, 2, 1, seconds=0.5) > 1
    assert not list(tmp_path.glob("*.mp4*")), "a trial writes nothing"
    with pytest.raises(BackendError):
        rate_of(Job(source=tmp_path / "absent.mkv", output=tmp_path / "x.mp4"), 1, 1, seconds=0.5)
