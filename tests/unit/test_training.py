"""Small training runs: they learn, go on exactly where they stopped, and keep what is good."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidsr import records
from vidsr.errors import SourceError, TrainingError
from vidsr.evaluation.bicubic import downscale
from vidsr.evaluation.metrics import luma_bt601
from vidsr.networks.export import model_id
from vidsr.training import loop
from vidsr.training import run as run_module
from vidsr.training.data import prepare
from vidsr.training.loop import Progress, train
from vidsr.training.optim import learning_rate
from vidsr.training.recipe import OptimizerOptions, Recipe
from vidsr.training.run import CHECKPOINT, build, load_averaged
from vidsr.training.validate import validate

Trainer = Callable[..., Path]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four pictures of soft and hard edges, 40x44, as PPM."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "train").mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:44] / 40
    for i in range(4):
        waves = np.sin(2 * np.pi * (random.uniform(2, 6) * x + random.uniform(2, 6) * y + random.uniform()))
        edges = np.sign(x * random.normal() + y * random.normal() + random.normal() / 4)
        rgb = 128 + 60 * waves[..., None] * random.uniform(0.3, 1, 3) + 50 * edges[..., None]
        body = np.clip(rgb, 0, 255).astype(np.uint8).tobytes()
        (root / f"train/{i}.ppm").write_bytes(b"P6 44 40 255\n" + body)
    return root


def recipe_of(**changes: Any) -> Recipe:
    """Return a tiny recipe; ``changes`` are values by ``section__key``."""
    sections: dict[str, dict[str, Any]] = {
        "model": {"network": "ecbsr", "scale": 2, "channels": 1, "blocks": 1, "features": 16},
        "data": {"sources": [{"folder": "train", "licence": "CC0"}], "patch": 8, "batch": 4},
        "optimizer": {"steps": 12, "rate": 2e-3, "warmup": 2, "ema": 0.9},
        "run": {"seed": 3, "precision": "f32", "compile": False},
    }
    for name, value in changes.items():
        section, key = name.split("__")
        sections[section][key] = value
    return records.from_mapping(Recipe, sections)


@pytest.fixture
def trainer(pictures: Path, tmp_path: Path) -> Trainer:
    """``train`` with the folders filled in; it takes a recipe, the run's name and further options."""

    def run(recipe: Recipe, name: str = "run", **options: Any) -> Path:
        return train(recipe, pictures, tmp_path / name, cache=tmp_path / "cache", **options)

    return run


def saved(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def steps_in_history(folder: Path) -> list[int]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as lines:
        return [int(row["step"]) for row in csv.DictReader(lines)]


def assert_equal_runs(one: Path, other: Path) -> None:
    a, b = saved(one), saved(other)
    assert a["step"] == b["step"]
    for part in ("network", "averaged"):
        assert a[part].keys() == b[part].keys()
        for name in a[part]:
            assert torch.equal(a[part][name], b[part][name]), f"{part} {name}"


def test_loss_falls_and_quality_rises(trainer: Trainer, pictures: Path) -> None:
    seen: list[Progress] = []
    recipe = recipe_of(
        optimizer__steps=300, data__validation="train", run__validate_every=100, run__checkpoint_every=1000
    )
    path = trainer(recipe, report=seen.append)
    assert [p.step for p in seen] == [100, 200, 300]
    assert seen[2].loss < 0.7 * seen[0].loss
    qualities = [p.psnr or 0.0 for p in seen]
    assert qualities[2] > qualities[0]
    assert steps_in_history(path.parent) == [100, 200, 300]
    assert (path.parent / "curve.png").read_bytes()[:4] == b"\x89PNG"
    _, network, step = load_averaged(path.parent)
    assert step == 300
    assert validate(network, pictures / "train") == pytest.approx(qualities[2], abs=1e-9)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_resumed_run_is_bit_identical(trainer: Trainer, precision: str) -> None:
    recipe = recipe_of(run__precision=precision)
    straight = trainer(recipe, "straight")
    assert saved(trainer(recipe, "parts", steps=6))["step"] == 6
    assert_equal_runs(trainer(recipe, "parts"), straight)


def test_another_seed_is_another_run(trainer: Trainer) -> None:
    """Guards the test above: it would pass if nothing was ever learnt."""
    one, other = trainer(recipe_of(), "one"), trainer(recipe_of(run__seed=4), "other")
    with pytest.raises(AssertionError, match="network"):
        assert_equal_runs(one, other)


def test_finished_run_stays_as_it_is(trainer: Trainer) -> None:
    path = trainer(recipe_of())
    before = saved(path)
    after = saved(trainer(recipe_of()))
    assert after["step"] == before["step"] == 12
    assert torch.equal(after["network"]["slopes.0"], before["network"]["slopes.0"])


def test_other_recipe_is_refused(trainer: Trainer) -> None:
    path = trainer(recipe_of(), steps=2)
    before = path.read_bytes()
    with pytest.raises(TrainingError, match="another recipe"):
        trainer(recipe_of(optimizer__rate=1e-3))
    assert path.read_bytes() == before


def test_damaged_checkpoint_is_named(trainer: Trainer) -> None:
    path = trainer(recipe_of(), steps=2)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=rf"{CHECKPOINT}: cannot read this checkpoint"):
        trainer(recipe_of())


def test_diverged_run_stops_and_keeps_the_last_good_checkpoint(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(optimizer__steps=40, run__checkpoint_every=10)
    usual = learning_rate
    monkeypatch.setattr(run_module, "learning_rate", lambda o, step: 1e30 if step >= 25 else usual(o, step))
    with pytest.raises(TrainingError, match=r"not finite any more at step 30; its checkpoint is the last"):
        trainer(recipe)
    monkeypatch.undo()
    assert_equal_runs(tmp_path / "run" / CHECKPOINT, trainer(recipe, "short", steps=20))


def test_weights_that_diverged_in_the_last_step_are_not_saved(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of step 10 is that of the weights before it, so it is still finite."""
    monkeypatch.setattr(run_module, "learning_rate", lambda _, step: float("inf") if step == 9 else 1e-3)
    with pytest.raises(TrainingError, match="the network is not finite any more at step 10; lower"):
        trainer(recipe_of(), steps=10)


def test_history_forgets_what_the_checkpoint_does_not_know(trainer: Trainer) -> None:
    recipe = recipe_of(optimizer__steps=40, run__checkpoint_every=10)
    path = trainer(recipe, steps=20)
    history = path.parent / "history.csv"
    assert steps_in_history(path.parent) == [10, 20]
    kept = history.read_text()
    with history.open("a", newline="") as out:
        out.write("30,1.5,0.001,\r\n40,1.25,0.001,33.5\r\n")  # from a run that was killed
    trainer(recipe, steps=20)
    assert history.read_text() == kept
    trainer(recipe)
    assert steps_in_history(path.parent) == [10, 20, 30, 40]


def test_keyboard_interrupt_saves(trainer: Trainer, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 6:
            raise KeyboardInterrupt

    recipe = recipe_of(run__checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        trainer(recipe, report=interrupt)
    assert saved(tmp_path / "run" / CHECKPOINT)["step"] == 6
    assert_equal_runs(trainer(recipe), trainer(recipe, "straight"))


def test_ctrl_c_waits_for_the_step_to_be_whole(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = torch.optim.Adam.step

    def interrupted(self: torch.optim.Adam) -> None:
        usual(self)
        if float(self.state[self.param_groups[0]["params"][0]]["step"]) == 5:
            os.kill(os.getpid(), signal.SIGINT)  # the weights have moved, their average has not

    recipe = recipe_of()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer(recipe)
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert saved(tmp_path / "run" / CHECKPOINT)["step"] == 5
    assert_equal_runs(trainer(recipe), trainer(recipe, "straight"))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_aligned_pairs_that_depend_on_seed_and_step_alone(
    pictures: Path, tmp_path: Path, channels: int
) -> None:
    recipe = recipe_of(model__channels=channels, data__patch=8, data__batch=16)
    store = prepare(recipe, pictures, tmp_path)
    assert store.megapixels == pytest.approx(4 * 40 * 44 / 1e6)
    batches = list(store.batches(recipe.data, seed=1, start=0, stop=4))
    assert [b.step for b in batches] == [0, 1, 2, 3]
    (again,) = store.batches(recipe.data, seed=1, start=2, stop=3)
    (other,) = store.batches(recipe.data, seed=2, start=2, stop=3)
    assert np.array_equal(again.low, batches[2].low)
    assert np.array_equal(again.high, batches[2].high)
    assert not np.array_equal(other.low, again.low)
    for batch in batches:
        assert batch.low.shape == (16, channels, 8, 8)
        assert batch.high.shape == (16, channels, 16, 16)
        assert batch.low.dtype == np.float32
        # The middle of a patch, shrunk again, is the low-resolution patch: same place, same turn.
        means = batch.high.reshape(16, channels, 8, 2, 8, 2).mean(axis=(3, 5))
        difference = np.abs(means - batch.low)[..., 2:-2, 2:-2]
        assert difference.mean() < 0.02
        assert np.abs(means[..., ::-1] - batch.low)[..., 2:-2, 2:-2].mean() > 4 * difference.mean()


def test_stored_luma_is_the_protocol_s(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.ppm").write_bytes(b"P6 16 16 255\n" + rgb.tobytes())
    recipe = recipe_of(data__patch=8, data__batch=1)
    store = prepare(recipe, tmp_path, tmp_path / "cache")
    (batch,) = store.batches(recipe.data, seed=0, start=0, stop=1)
    for got, picture in ((batch.low, downscale(rgb, 2)), (batch.high, rgb)):
        luma = luma_bt601(picture)
        turned = [np.rot90(p, k) for p in (luma, luma[:, ::-1]) for k in range(4)]
        assert min(np.abs(got[0, 0] * 255 - t).max() for t in turned) < 1 / 256


def test_pictures_are_degraded_once(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        prepare(recipe_of(), pictures, tmp_path, report=said.append)
    assert said == [f"preparing pictures: {i}/4" for i in (1, 2, 3, 4)]


def test_too_small_and_missing_pictures_are_refused(trainer: Trainer) -> None:
    with pytest.raises(TrainingError, match="no training picture has 64 pixels on each side"):
        trainer(recipe_of(data__patch=32))
    with pytest.raises(SourceError, match="no such folder"):
        trainer(recipe_of(data__sources=[{"folder": "absent", "licence": "CC0"}]), "other")


def test_rate_warms_up_and_falls_to_the_last() -> None:
    options = OptimizerOptions(steps=1000, rate=1e-3, final_rate=1e-6, warmup=100)
    rates = [learning_rate(options, step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == rates[99] == rates[100] == 1e-3
    assert rates[550] == pytest.approx((1e-3 + 1e-6) / 2)
    assert rates[999] == pytest.approx(1e-6, rel=0.01)
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_recipes_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(records.dump(recipe_of()).replace("scale = 2", "scale = 5"))
    with pytest.raises(TrainingError, match=r"a\.toml: model\.scale must be 2, 3 or 4"):
        Recipe.load(path)


@pytest.mark.parametrize(
    "path", sorted(Path(loop.__file__).with_name("recipes").glob("*.toml")), ids=lambda p: p.stem
)
def test_shipped_recipes_load_and_are_named_after_their_model(path: Path) -> None:
    recipe = Recipe.load(path)
    assert model_id(build(recipe), recipe.model.variant) == path.stem
