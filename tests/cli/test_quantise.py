"""``vidsr models quantise`` and ``--precision int8``: what is offered, what is refused, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from synth import make_clip

from vidsr.cli import _run
from vidsr.evaluation import calibration, gate
from vidsr.job import Job
from vidsr.models import load_card, lookup, write_card
from vidsr.models.card import Training, TrainingSource
from vidsr.models.lookup import Model
from vidsr.planning import make_plan

ENGINES = Path(__file__).parents[2] / "engines"
ID = "2x-ecbsr-m4c8"


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One model without an int8 file, trained on pictures in `tmp_path`."""
    folder = tmp_path / "engines"
    folder.mkdir()
    spec = load_card(ENGINES / f"{ID}.toml")
    training = Training("", (TrainingSource("train", "CC0"), TrainingSource("train (halved)", "CC0")))
    write_card(replace(spec, files={"f32": spec.files["f32"]}, training=training, quality={}), folder)
    shutil.copy(ENGINES / f"{ID}.onnx", folder)
    monkeypatch.setattr(lookup, "engine_folders", lambda: [folder])
    few = partial(calibration.cut_patches, count=12, side=16)
    monkeypatch.setattr(calibration, "cut_patches", few)
    (tmp_path / "train").mkdir()
    rows, columns = np.ogrid[:160, :160]
    for i in range(3):
        picture = 128 + 60 * np.sin(rows / (3 + i)) * np.cos(columns / 5) + 0 * rows
        body = np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2).tobytes()
        (tmp_path / f"train/{i}.ppm").write_bytes(b"P6 160 160 255\n" + body)
    return folder


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What each measurement in turn says is lost on friday."""
    told: list[float] = []

    def measured(model: Model, quantised: Model, data: Path) -> list[gate.Loss]:
        assert quantised.proto.graph.node  # what is measured can be read by its card
        lost = told.pop(0)
        return [gate.Loss("set5", 37.0, 36.95), gate.Loss("friday", 46.0, 46.0 - lost)]

    monkeypatch.setattr(gate, "measured", measured)
    return told


def test_what_loses_little_is_offered(
    engines: Path, losing: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    losing += [0.09]
    assert _run(["models", "quantise", ID, "--data", str(engines.parent), "--write"]) == 0
    out, _ = capfd.readouterr()
    assert "friday  46.000  45.910   0.090" in out
    spec = load_card(engines / f"{ID}.toml")
    assert spec.quality == {
        "int8/set5": {"psnr_y": 36.95, "psnr_y_f32": 37.0, "psnr_y_lost": 0.05},
        "int8/friday": {"psnr_y": 45.91, "psnr_y_f32": 46.0, "psnr_y_lost": 0.09},
    }
    model = lookup.find_model(ID, 2)
    assert model.at("int8").proto.graph.node
    assert _run(["models", "list", "--json"]) == 0
    assert "int8" in json.loads(capfd.readouterr().out)[0]["files"]


def test_what_loses_more_is_not(
    engines: Path, losing: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.read_bytes() for p in engines.iterdir()}
    losing += [0.2, 0.11]
    options = ["--data", str(engines.parent), "--steps", "1", "--write"]
    assert _run(["models", "quantise", ID, *options]) == 1
    out, err = capfd.readouterr()
    assert "calibrated:" in out
    assert "fine-tuned, 1 steps:" in out
    assert err == "not offered: more than 0.1 dB lost on friday 0.110\n"
    assert {p.name: p.read_bytes() for p in engines.iterdir()} == before
    losing += [0.2]
    assert _run(["models", "quantise", ID, "--data", str(engines.parent), "--steps", "0"]) == 1


def test_fine_tuning_can_save_it(engines: Path, losing: list[float]) -> None:
    losing += [0.2, 0.05]
    options = ["--data", str(engines.parent), "--steps", "1", "--write"]
    assert _run(["models", "quantise", ID, *options]) == 0
    assert lookup.find_model(ID, 2).offers("int8")


def test_missing_data_is_told(engines: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["models", "quantise", "2x-none", "--data", str(tmp_path)]) == 2
    assert "no model is called '2x-none'; 'vidsr models list'" in capfd.readouterr().err
    assert _run(["models", "quantise", ID, "--data", str(tmp_path / "none")]) == 1
    assert "no such folder of pictures" in capfd.readouterr().err
    assert _run(["models", "quantise", ID, "--data", str(tmp_path)]) == 1
    assert "HR: this part of the evaluation is missing" in capfd.readouterr().err


@pytest.mark.media
def test_jobs(engines: Path, losing: list[float], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    losing += [0.05]
    assert _run(["models", "quantise", ID, "--data", str(engines.parent), "--write"]) == 0
    write_card(replace(load_card(ENGINES / "2x-rfdn-s.toml"), quality={}), engines)
    shutil.copy(ENGINES / "2x-rfdn-s.onnx", engines)
    clip = make_clip(tmp_path / "clip.mp4", times=6, size=(64, 48))
    out = tmp_path / "out.mp4"
    command = ["upscale", str(clip), "-o", str(out), "--no-progress", "--json", "-y"]
    capfd.readouterr()
    assert _run([*command, "--model", "2x-rfdn-s", "--precision", "int8"]) == 2
    assert f"2x-rfdn-s does not offer int8; these do: {ID}\n" in capfd.readouterr().err
    assert _run([*command, "--fast", "--precision", "bf16"]) == 2
    assert "--fast is int8 where a model offers it, --precision bf16 is not" in capfd.readouterr().err
    assert not out.exists()
    for options in (["--precision", "int8"], ["--fast"]):
        assert _run([*command, "--model", ID, *options]) == 0
        report = json.loads(capfd.readouterr().out)
        assert report["runtime"]["precision"] == "int8"
        assert not any("--fast" in warning for warning in report["warnings"])
    assert _run([*command, "--model", "2x-rfdn-s", "--fast"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["runtime"]["precision"] != "int8"
    assert any("--fast is int8 where there is one; 2x-rfdn-s does not" in w for w in report["warnings"])


@pytest.mark.media
def test_a_job_goes_on_only_with_the_same_file(engines: Path, losing: list[float], tmp_path: Path) -> None:
    losing += [0.05]
    assert _run(["models", "quantise", ID, "--data", str(engines.parent), "--write"]) == 0
    clip = make_clip(tmp_path / "clip.mp4", times=6, size=(64, 48))
    plans = [
        make_plan(Job(source=clip, output=tmp_path / "o.mp4", model=ID, **options))
        for options in ({"precision": "f32"}, {"precision": "int8"}, {"fast": True})
    ]
    files = load_card(engines / f"{ID}.toml").files
    assert [p.decisions["model"] for p in plans] == [files[k].sha256 for k in ("f32", "int8", "int8")]
    assert [p.decisions["runtime"]["precision"] for p in plans] == ["f32", "int8", "int8"]
