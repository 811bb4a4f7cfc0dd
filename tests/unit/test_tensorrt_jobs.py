"""Whole jobs on the backend `tensorrt`, from file to file, with GPUs that are not real."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_gpus import Machine, machine_in

from vidsr.job import Job
from vidsr.pipeline import Progress, run
from vidsr.video.probe import probe

sys.path.insert(0, str(Path(__file__).parents[1] / "media"))
from synth import make_clip

pytestmark = pytest.mark.media


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with machine_in(tmp_path, monkeypatch) as here:
        yield here


def test_a_job_builds_its_engine_and_tells_of_it(machine: Machine, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(48, 32), times=6)
    told: list[Progress] = []
    job = Job(source=clip, output=tmp_path / "out.mp4", model="ecbsr-m4c8", backend="tensorrt", device="all")
    machine.memory = 1 << 24
    report = run(job, progress=told.append)
    assert (report.backend, report.frames, report.size_out) == ("tensorrt", 6, (96, 64))
    assert report.runtime["device"] == "cuda:0, cuda:1, cuda:2"
    assert report.runtime["version"] == "10.13.3"
    assert "a GPU for the network" in report.threads
    phases = [one.phase for one in told]
    assert "building an engine: tactics 3/3" in phases
    assert phases[-1] == "joining"
    assert len(machine.builds()) == 2, "one for each kind of GPU"
    assert probe(tmp_path / "out.mp4").width == 96
    again = run(replace(job, output=tmp_path / "again.mp4", device="auto"))
    assert again.frames == 6
    assert len(machine.builds()) == 2


def test_what_memory_did_not_allow_is_in_the_report(machine: Machine, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(340, 300), times=2)
    machine.memory = 700_000
    job = Job(source=clip, output=tmp_path / "out.mp4", model="ecbsr-m4c8", backend="tensorrt", reuse="off")
    report = run(job)
    assert report.tiles == "4 tiles of 176x156 pixels a frame"
    assert any("has not enough free memory for frames of 340x300" in warning for warning in report.warnings)
