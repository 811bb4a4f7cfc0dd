"""Threads of the network and the encoder: chosen by measurement, once, and the same ever after for a job."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from synth import make_clip

from vidsr import budget, concurrency
from vidsr.budget import SHORT_FRAMES, Budget, choose_budget, with_budget
from vidsr.cli.outcome import told
from vidsr.contest import rate_together
from vidsr.errors import DecodeError, VidsrError
from vidsr.forecast import foresee
from vidsr.job import NULL_OUTPUT, Job
from vidsr.pipeline import run
from vidsr.planning import Plan, make_plan

OPTIONS = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 6}


@dataclass
class Bench:
    """A machine whose speeds are made up, by threads of the network and of the encoder."""

    folder: Path
    speeds: dict[tuple[int, int], float | None] = field(default_factory=dict)
    tried: list[tuple[int, int]] = field(default_factory=list)
    fails: VidsrError | None = None

    def job(self, **options: object) -> Job:
        given = {"source": self.folder / "in.mp4", "output": self.folder / "out.mp4", **OPTIONS, **options}
        return Job(**given)

    def rate(self, job: Job, plan: Plan) -> float | None:
        assert plan.settings is not None
        pair = (plan.session.threads, int(plan.settings.options["threads"]))
        assert json.loads(json.dumps(plan.decisions))["encoder"]["threads"] == str(pair[1])
        self.tried.append(pair)
        if self.fails:
            raise self.fails
        return self.speeds.get(pair, 10.0)

    def choose(self, job: Job | None = None, *, frames: int | None = 10**4, tries: bool = True) -> Budget:
        job = job or self.job()
        plan = replace(make_plan(job, check_output=False), expected_frames=frames)
        return choose_budget(job, plan, tries=tries, measure=self.rate)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: Callable[[int], None]) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_clip(tmp_path / "in.mp4", times=24)
    cores(4)
    return Bench(tmp_path)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def give(number: int) -> None:
        for module in (budget, concurrency):
            monkeypatch.setattr(module, "usable_cores", lambda: number)

    return give


def kept(bench: Bench) -> Path:
    return bench.folder / "cache" / "vidsr" / "budgets.json"


def test_the_fastest_is_taken_and_remembered(bench: Bench) -> None:
    bench.speeds = {(4, 4): 10.0, (1, 4): 12.0, (3, 4): 11.0, (4, 1): 5.0}
    first = bench.choose()
    assert (first.threads, first.encoder_threads) == (1, 4)
    assert first.reason == "1 for the network, 4 for libx264: fastest of 4 tried (measured now)"
    assert bench.tried == [(4, 4), (1, 4), (3, 4), (4, 1), (4, 4), (1, 4)]  # the winner and the rule again
    again = bench.choose()
    assert again == replace(first, reason=first.reason.replace("measured now", "remembered"))
    assert len(bench.tried) == 6
    assert "in.mp4" not in kept(bench).read_text(encoding="utf-8")
    bench.choose(bench.job(preset="medium"))
    assert len(bench.tried) == 12  # other work is measured for itself


@pytest.mark.parametrize("other", [10.0, 10.2, 9.0])
def test_what_is_not_clearly_faster_is_left(bench: Bench, other: float) -> None:
    bench.speeds = dict.fromkeys([(1, 4), (3, 4), (4, 1)], other)
    chosen = bench.choose()
    assert (chosen.threads, chosen.encoder_threads) == (4, 4)
    assert chosen.reason.endswith("4 tried, no other is clearly faster (measured now)")
    assert len(bench.tried) == 4


def test_a_slow_moment_of_the_rule_is_no_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([6.0, 10.0, 9.0, 8.0, 10.0, 10.1])
    monkeypatch.setattr(bench, "rate", lambda *_: next(rates))
    assert bench.choose().threads == 4


def test_two_cores_have_three_candidates(bench: Bench, cores: Callable[[int], None]) -> None:
    cores(2)
    bench.choose()
    assert bench.tried == [(2, 2), (1, 2), (2, 1)]


def test_one_core_has_nothing_to_share(bench: Bench, cores: Callable[[int], None]) -> None:
    cores(1)
    assert bench.choose() == Budget(1, 1, 0, "1 for the network, 1 for libx264: there is one core")
    assert not bench.tried


def test_what_is_asked_for_is_taken(bench: Bench) -> None:
    both = bench.choose(bench.job(threads=3, encoder_threads=7))
    assert both == Budget(3, 7, 0, "3 for the network, 7 for libx264: as was asked for")
    assert not bench.tried
    bench.choose(bench.job(encoder_threads=7))
    assert {encoder for _, encoder in bench.tried} == {7}
    bench.tried.clear()
    bench.choose(bench.job(threads=3))
    assert bench.tried == [(3, 4), (3, 1)]
    bench.tried.clear()
    assert bench.choose(bench.job(encoder_options={"threads": "2"})).reason.endswith("is left to itself")
    assert not bench.tried
    bench.choose()
    bench.tried.clear()
    for options in ({}, {"encoder_threads": 7}, {"threads": 3}):  # each is remembered for itself
        assert bench.choose(bench.job(**options)).reason.endswith("(remembered)")
    assert not bench.tried


@pytest.mark.parametrize(
    ("options", "frames"),
    [({}, SHORT_FRAMES - 1), ({"output": NULL_OUTPUT}, 10**4), ({"output": Path("x.png")}, 10**4)],
)
def test_nothing_is_measured_where_it_would_not_pay(
    bench: Bench, options: dict[str, Path], frames: int
) -> None:
    chosen = bench.choose(bench.job(**options), frames=frames)
    assert chosen.threads == 4
    assert chosen.encoder_threads == (0 if options else 4)
    assert not bench.tried
    assert not kept(bench).exists()


def test_a_number_of_frames_that_is_not_known_is_many(bench: Bench) -> None:
    bench.choose(frames=None)
    assert len(bench.tried) == 4


def test_what_cannot_be_measured_goes_by_the_rule(bench: Bench) -> None:
    bench.speeds = {(1, 4): 99.0, (3, 4): None}
    assert bench.choose().reason.endswith("one for each core; too slow or too short to try")
    bench.fails = DecodeError("broken")
    assert bench.choose().reason.endswith("one for each core; trying failed (broken)")
    assert not kept(bench).exists()


BROKEN = ["", "{", "[]", "[" * 10**5, '{"KEY": 3}', '{"KEY": {"4,4": "x"}}', '{"KEY": {"1,4": 9}}']


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_measured_anew(bench: Bench, text: str) -> None:
    bench.choose()
    (key,) = json.loads(kept(bench).read_text(encoding="utf-8"))
    kept(bench).write_text(text.replace("KEY", key), encoding="utf-8")
    bench.tried.clear()
    bench.choose()
    assert len(bench.tried) == 4
    assert key in json.loads(kept(bench).read_text(encoding="utf-8"))


def test_another_machine_measures_for_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.choose()
    monkeypatch.setattr(concurrency, "processor", lambda: "another")
    bench.choose()
    assert len(bench.tried) == 8


def test_a_home_that_cannot_be_written_costs_only_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.folder / "file" / "cache"))
    bench.speeds = {(1, 4): 20.0}
    assert bench.choose().threads == bench.choose().threads == 1
    assert len(bench.tried) == 12
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert bench.choose().threads == 1


def _leave_work(bench: Bench, threads: int) -> None:
    """Interrupt a job after its first segments."""

    def stop(progress: object) -> None:
        if getattr(progress, "frames", 0) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(bench.job(encoder_threads=threads), progress=stop)
    assert (bench.folder / "out.mp4.vidsr" / "plan.json").exists()


def test_a_job_goes_on_with_the_threads_it_began_with(bench: Bench) -> None:
    bench.speeds = {(1, 4): 20.0}
    assert bench.choose().encoder_threads == 4  # and is remembered
    _leave_work(bench, 3)
    tried = list(bench.tried)
    chosen = bench.choose()
    assert (chosen.threads, chosen.encoder_threads) == (4, 3)
    assert chosen.reason == "4 for the network, 3 for libx264: as an earlier run began"
    assert bench.choose(bench.job(discard=True)).encoder_threads == 4
    assert bench.tried == tried
    assert foresee(bench.job()).frames_done > 0
    report = run(bench.job())
    assert (report.frames, report.encoder_options["threads"]) == (24, "3")
    assert report.frames_resumed > 0
    assert "threads   4 for the network, 3 for libx264: as an earlier run began" in told(report)
    assert not os.path.lexists(bench.folder / "out.mp4.vidsr")


def test_the_network_has_the_remembered_threads_where_the_encoder_has(bench: Bench) -> None:
    bench.speeds = {(1, 4): 20.0}
    bench.choose()
    _leave_work(bench, 4)
    assert bench.choose().threads == 1


def test_a_forecast_tries_nothing(bench: Bench) -> None:
    assert bench.choose(tries=False).reason.endswith("one for each core, unless the job itself finds better")
    assert not bench.tried


def test_a_budget_is_part_of_the_plan(bench: Bench) -> None:
    plan = make_plan(bench.job(codec="libx265"))
    made = with_budget(bench.job(codec="libx265"), plan, Budget(1, 3, 2, "", 1))
    assert (made.session.threads, made.session.in_flight, made.session.streams) == (1, 2, 1)
    assert made.settings is not None
    assert made.settings.options["x265-params"].startswith("pools=3:")
    assert made.decisions == make_plan(bench.job(codec="libx265", encoder_threads=3)).decisions


def test_a_moment_of_a_job_has_a_rate(bench: Bench) -> None:
    clip = make_clip(bench.folder / "short.mp4", times=12, size=(320, 240))
    job = bench.job(source=clip)
    assert rate_together(job, make_plan(job)) is None  # it ends before there is a rate
    many = make_clip(bench.folder / "longer.mp4", times=900, size=(160, 120), options={"preset": "ultrafast"})
    job = bench.job(source=many, threads=1, encoder_threads=1, preset="veryslow", scale=4)
    rate = rate_together(job, make_plan(job))
    assert rate is not None
    assert 1 < rate < 2000
