"""The clock never falls behind, whatever a model takes; what is done about it is told."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from previewing import words_of
from synth import make_clip

from vidsr.job import Job
from vidsr.preview.clip import Clip
from vidsr.preview.networks import Networks
from vidsr.preview.pace import SLACK_S, Pace, StepDown
from vidsr.preview.player import Play, Wish
from vidsr.upscaler import Upscaler

FRAME = Fraction(1, 25)


def test_a_frame_is_late_when_it_cannot_be_ready_in_time() -> None:
    now = [10.0]
    pace = Pace(lambda: now[0])
    pace.took(0.2)
    assert not pace.late(Fraction(0))  # before the first there is no clock
    pace.begin()
    assert pace.late(Fraction(1, 10))
    assert not pace.late(Fraction(1, 5))
    assert pace.early(Fraction(1)) == pytest.approx(1 - 0.2 * 1.3 - 0.02)
    now[0] += 1
    assert pace.due(Fraction(1)) == pytest.approx(0)
    assert pace.late(Fraction(1))
    assert not pace.late(Fraction(str(1.2 - SLACK_S + 0.001)))


def test_a_few_drops_are_no_reason_to_step_down_and_many_are() -> None:
    step = StepDown(seconds=1.0, share=0.2)
    assert not any(step.saw(k * FRAME, dropped=k % 6 == 0) for k in range(100))
    step.forget()
    turns = [step.saw(k * FRAME, dropped=k % 3 == 0) for k in range(100)]
    assert turns.index(True) * FRAME >= Fraction(4, 5)  # not before it has seen some


class _Heavy:
    """Makes a model slow, by its size."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
        submit = Upscaler.submit
        opened = Networks._open

        def opens(networks: Networks, model: str, scale: Fraction) -> object:
            made = opened(networks, model, scale)
            made.upscaler.slow = seconds.get(made.name, 0.0)
            return made

        def slowly(upscaler: Upscaler, *given: object) -> object:
            time.sleep(getattr(upscaler, "slow", 0.0))
            return submit(upscaler, *given)

        monkeypatch.setattr(Networks, "_open", opens)
        monkeypatch.setattr(Upscaler, "submit", slowly)


def run(source: Path, model: str) -> tuple[list[dict], float, Play]:
    clip = Clip(Job(source=source))
    networks = Networks(clip)
    with networks.borrowed(model, Fraction(2)):
        pass
    play = Play(clip, networks, Wish(model=model, scale=Fraction(2)))
    began = time.perf_counter()
    data = b"".join(play.chunks)
    wall = time.perf_counter() - began
    play.close()
    networks.close()
    return words_of(data)[0], wall, play


@pytest.mark.clock
@pytest.mark.slow
def test_a_model_too_heavy_is_replaced_and_the_clock_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Heavy(monkeypatch, {"2x-ecbsr-m10c16": 0.3})
    source = make_clip(tmp_path / "clip.mp4", times=100)
    words, wall, play = run(source, "2x-ecbsr-m10c16")
    assert wall == pytest.approx(4.0, abs=0.6)
    (step,) = [w for w in words if w["k"] == "step"]
    assert step["from"] == "2x-ecbsr-m10c16"
    assert step["model"] != step["from"]
    assert step["model"].startswith("2x-")
    assert "ms a frame" in step["why"]
    assert play.pace.made + play.pace.dropped == 100
    late = [w for w in words if w["k"] == "frame" and w["t"] > 3.0]
    assert len(late) > 15
    assert {w["model"] for w in late} == {step["model"]}


@pytest.mark.clock
@pytest.mark.slow
def test_where_nothing_is_smaller_frames_are_dropped_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Heavy(monkeypatch, {"2x-ecbsr-m4c8": 0.25})
    words, wall, play = run(make_clip(tmp_path / "clip.mp4", times=100), "2x-ecbsr-m4c8")
    assert wall == pytest.approx(4.0, abs=0.6)
    assert len([w for w in words if w["k"] == "slow"]) == 1
    assert 8 <= play.pace.made <= 20
    assert play.pace.dropped == 100 - play.pace.made


@pytest.mark.clock
def test_closing_stops_everything_at_once(tmp_path: Path) -> None:
    clip = Clip(Job(source=make_clip(tmp_path / "clip.mp4", times=500, sound=True)))
    networks = Networks(clip)
    play = Play(clip, networks, Wish(model="auto", scale=Fraction(2)))
    for _ in range(5):
        next(play.chunks)
    began = time.perf_counter()
    play.close()
    assert time.perf_counter() - began < 1.0
    assert play.pace.made < 60
    networks.close()
