"""From a finished run to a measured model: all of it or nothing, and no figure that was not measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsr import records
from vidsr.cli import _run
from vidsr.errors import OutputError, SourceError, TrainingError, VidsrError
from vidsr.evaluation.results import Results
from vidsr.models.card import load_card, write_card
from vidsr.models.lookup import find_model, list_models
from vidsr.training import publish as publish_module
from vidsr.training.data import PatchStore, prepare
from vidsr.training.loop import train
from vidsr.training.measure import plan_measurement, publish_measured
from vidsr.training.publish import placed, publish
from vidsr.training.recipe import EvaluationOptions, Recipe
from vidsr.training.run import CHECKPOINT, Run

ID = "2x-ecbsr-m1c8"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root: two pictures in `train`, one in `eval/Some/HR`."""
    root = tmp_path_factory.mktemp("root")
    random = np.random.default_rng(0)
    for name in ("train/0", "train/1", "eval/Some/HR/0"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        body = random.integers(0, 256, (10, 12, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1).tobytes()
        (root / f"{name}.ppm").write_bytes(b"P6 48 40 255\n" + body)
    return root


def recipe_of(**changes: Any) -> Recipe:
    """Return a tiny recipe; ``changes`` are values by ``section__key``."""
    sections: dict[str, dict[str, Any]] = {
        "model": {"network": "ecbsr", "scale": 2, "channels": 1, "blocks": 1, "features": 8},
        "data": {"sources": [{"folder": "train", "licence": "CC0"}], "patch": 8, "batch": 2},
        "optimizer": {"steps": 4, "rate": 2e-3, "warmup": 2, "ema": 0.5},
        "run": {"seed": 3, "precision": "f32", "compile": False, "device": "cpu"},
        "evaluation": {"pictures": ["eval/Some/HR"]},
    }
    for name, value in changes.items():
        section, key = name.split("__")
        sections[section][key] = value
    return records.from_mapping(Recipe, sections)


@pytest.fixture
def publisher(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train a recipe in `runs/<name>` and publish it into `engines`."""

    def run(recipe: Recipe, name: str = "run") -> Path:
        folder, engines = tmp_path / "runs" / name, tmp_path / "engines"
        measurement = plan_measurement(recipe, root, engines)
        train(recipe, root, folder, cache=tmp_path / "cache")
        return publish_measured(folder, recipe, measurement, engines)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_neither_evaluation_nor_default_enters_the_digest() -> None:
    recipe = recipe_of()
    for other in (
        replace(recipe, model=replace(recipe.model, default=True)),
        replace(recipe, evaluation=EvaluationOptions(clips=(Path("a.mp4"),), frames=3, vmaf=True)),
    ):
        assert other.digest == recipe.digest
    assert recipe_of(run__seed=4).digest != recipe.digest


def test_digests_of_runs_that_have_begun_stay() -> None:
    """A field that is added must be left out of the digest where it has its default."""
    assert recipe_of().digest == "5333d967c1c5d6e097ed4c78f920651d3f5cbdcccce257b2c1995c92d4ede41d"


def test_figures_are_those_of_evaluate(
    publisher: Callable[..., Path], root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    card = publisher(recipe_of(model__default=True))
    spec = load_card(card)
    assert sorted(contents(card.parent)) == [f"{ID}.onnx", f"{ID}.toml"]
    assert find_model("ecbsr", 2, [card.parent]).spec == spec
    assert find_model("ecbsr", 2, [card.parent]).proto  # whose digest is checked
    written = card.read_bytes()
    write_card(replace(spec, quality={}), card.parent)
    file = card.with_suffix(".onnx")
    assert _run(["evaluate", str(root / "eval/Some/HR"), "-m", str(file), "--write-card"]) == 0
    assert capfd.readouterr().err == ""
    assert card.read_bytes() == written
    assert spec.quality["some"]["psnr_y_float"] > 5


def test_evaluation_of_today_s_recipe_counts(publisher: Callable[..., Path]) -> None:
    """Not that of the checkpoint: what is measured may be decided after the training."""
    publisher(recipe_of(evaluation__pictures=["train"]))
    assert list(load_card(publisher(recipe_of(model__default=True))).quality) == ["some"]


def test_a_model_is_replaced_only_by_a_whole_one(
    publisher: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = publisher(recipe_of()).parent
    before = contents(engines)
    with monkeypatch.context() as patch:
        patch.setattr(Results, "write_cards", lambda _: (_ for _ in ()).throw(SourceError("halfway")))
        with pytest.raises(SourceError, match="halfway"):
            publisher(recipe_of(run__seed=4), "other")
    assert contents(engines) == before
    usual, moved = os.replace, []

    def stopped(source: Path, target: Path) -> None:
        if Path(target).parent == engines and ".publishing" in str(source) and "earlier" not in str(source):
            moved.append(target)
            if len(moved) == 2:
                raise KeyboardInterrupt
        usual(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(publish_module.os, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            publisher(recipe_of(run__seed=4), "other")
    assert len(moved) == 2
    assert contents(engines) == before
    publisher(recipe_of(run__seed=4), "other")
    after = contents(engines)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    assert list_models([engines])[0].proto


def test_a_first_model_that_is_stopped_leaves_nothing(
    publisher: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = os.replace

    def stopped(source: Path, target: Path) -> None:
        usual(source, target)
        if Path(target).suffix == ".onnx":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish_module.os, "replace", stopped)
    with pytest.raises(OutputError, match="cannot write the model"):
        publisher(recipe_of())
    assert contents(tmp_path / "engines") == {}


def test_what_is_not_finished_is_not_published(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of()
    measurement = plan_measurement(recipe, root, tmp_path / "engines")
    for steps in (0, 2):
        if steps:
            train(recipe, root, tmp_path / "run", cache=tmp_path / "cache", steps=steps)
        with pytest.raises(TrainingError, match=f"{steps} of 4 steps: what is not finished is not published"):
            publish_measured(tmp_path / "run", recipe, measurement, tmp_path / "engines")
    assert contents(tmp_path / "engines") == {}


def test_two_defaults_are_refused(publisher: Callable[..., Path], root: Path, tmp_path: Path) -> None:
    engines = publisher(recipe_of(model__default=True)).parent
    other = recipe_of(model__default=True, model__features=4)
    with pytest.raises(TrainingError, match=f"{ID} is what 'ecbsr' means here at 2x for clean sources"):
        plan_measurement(other, root, engines)
    train(other, root, tmp_path / "other", cache=tmp_path / "cache")
    with pytest.raises(TrainingError, match="2x-ecbsr-m1c4 cannot be that too"):
        publish(tmp_path / "other", engines, default=False)
    publisher(recipe_of(model__default=True))  # itself again
    publisher(recipe_of(model__features=4), "other")
    assert [(m.spec.id, m.spec.default) for m in list_models([engines])] == [
        ("2x-ecbsr-m1c4", False),
        (ID, True),
    ]


WRONG = [
    ({"evaluation__pictures": []}, TrainingError, "names nothing to measure"),
    ({"evaluation__pictures": ["absent"]}, SourceError, r"absent: no such folder .*\[evaluation\] names it"),
    ({"evaluation__clips": ["a.mp4"]}, SourceError, r"a\.mp4: no such folder or clip"),
    ({"evaluation__crf": "good"}, TrainingError, r"\[evaluation\]: crf takes numbers"),
    ({"evaluation__frames": 0}, TrainingError, r"\[evaluation\]: frames must be 1 or more"),
]


@pytest.mark.parametrize(("changes", "kind", "words"), WRONG, ids=[words for _, _, words in WRONG])
def test_what_cannot_be_measured_is_refused_before_training(
    root: Path, tmp_path: Path, changes: dict[str, Any], kind: type[VidsrError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        plan_measurement(recipe_of(**changes), root, tmp_path / "engines")


def test_a_folder_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", Path("/proc/vidsr")):
        with pytest.raises(OutputError, match=r"cannot write the model .*; name a folder"):
            plan_measurement(recipe_of(), root, folder)
    with placed(tmp_path / "new/folder"):
        pass
    assert contents(tmp_path / "new/folder") == {}


def test_a_finished_run_needs_no_pictures(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of()
    path = train(recipe, root, tmp_path / "run", cache=tmp_path / "cache")
    before = path.read_bytes()
    assert train(recipe, tmp_path / "absent", tmp_path / "run", cache=tmp_path / "none") == path
    assert path.read_bytes() == before
    with pytest.raises(TrainingError, match="another recipe"):
        train(recipe_of(run__seed=4), root, tmp_path / "run", cache=tmp_path / "cache")


def test_missing_validation_pictures_are_told_before_the_first_step(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "learn", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(SourceError, match="no such folder of pictures"):
        train(recipe_of(data__validation="absent"), root, tmp_path / "run", cache=tmp_path / "cache")


def test_patches_can_be_carried_to_a_machine_without_pictures(root: Path, tmp_path: Path) -> None:
    made = prepare(recipe_of(), root, tmp_path / "cache")
    carried = prepare(recipe_of(), tmp_path / "absent", tmp_path / "cache")
    assert carried.folder == made.folder
    others = {"model__scale": 3, "data__sources": [{"folder": "train", "licence": "CC0", "halve": True}]}
    for name, value in others.items():
        with pytest.raises(SourceError, match="no such folder of pictures"):
            prepare(recipe_of(**{name: value}), tmp_path / "absent", tmp_path / "cache")


def test_the_command(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, cache, engines = tmp_path / "tiny.toml", tmp_path / "cache", tmp_path / "engines"
    path.write_text(records.dump(recipe_of()), encoding="utf-8")
    command = ["train", str(path), "--data", str(root), "--cache", str(cache), "--run", str(tmp_path / "run")]

    def answer(*more: str, code: int = 0) -> tuple[str, str]:
        assert _run([*command, *more]) == code
        out, err = capfd.readouterr()
        return out, err.replace("\r", "\n").splitlines()[-1] if err else ""

    out, _ = answer("--prepare")
    (store,) = cache.iterdir()
    size = sum(p.stat().st_size for p in store.iterdir())
    assert out == f"{store}: {size / 1e6:.1f} MB, 2 pictures, 0.0 megapixels\n"
    assert PatchStore(store).bytes == size
    assert not (tmp_path / "run").exists()
    _, told = answer("--prepare", "--publish", str(engines), code=2)
    assert told.startswith("vidsr: --prepare trains nothing")
    _, told = answer("--publish", str(engines), "--steps", "2", code=2)
    assert told.startswith(
        "vidsr: --steps 2 ends before the recipe's 4: what is not finished is not published"
    )
    assert not engines.exists()
    for _ in range(2):  # the second time the run is finished, and the model there
        out, _ = answer("--publish", str(engines))
        assert out.splitlines() == [str(tmp_path / "run" / CHECKPOINT), str(engines / f"{ID}.toml")]
    assert _run(["models", "show", str(engines / f"{ID}.onnx"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["quality"]["some"]["psnr_y_planes"] > 5
