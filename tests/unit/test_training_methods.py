"""Optimizers, losses, schedules, teachers, and several processes on one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidsr import records
from vidsr.errors import TrainingError
from vidsr.models.card import load_card
from vidsr.training.data import prepare
from vidsr.training.loop import Progress, train
from vidsr.training.optim import LOSSES, learning_rate, make_optimizer
from vidsr.training.publish import publish
from vidsr.training.recipe import OptimizerOptions, Recipe
from vidsr.training.resident import ResidentStore
from vidsr.training.run import CHECKPOINT, load_averaged


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with three pictures of random blocks, 48x48, as PPM."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "train").mkdir()
    random = np.random.default_rng(0)
    for i in range(3):
        blocks = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        body = blocks.repeat(4, axis=0).repeat(4, axis=1).tobytes()
        (root / f"train/{i}.ppm").write_bytes(b"P6 48 48 255\n" + body)
    return root


def recipe_of(**changes: Any) -> Recipe:
    """Return a tiny recipe; ``changes`` are values by ``section__key``."""
    sections: dict[str, dict[str, Any]] = {
        "model": {"network": "ecbsr", "scale": 2, "channels": 1, "blocks": 1, "features": 8},
        "data": {"sources": [{"folder": "train", "licence": "CC0"}], "patch": 8, "batch": 4},
        "optimizer": {"steps": 6, "rate": 2e-3, "warmup": 2, "ema": 0.5},
        "run": {"seed": 3, "precision": "f32", "compile": False, "device": "cpu"},
    }
    for name, value in changes.items():
        section, key = name.split("__")
        sections.setdefault(section, {})[key] = value
    return records.from_mapping(Recipe, sections)


def distance_after(kind: str, steps: int) -> float:
    """Return how far a matrix still is from the solution of a badly conditioned problem."""
    random = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=random))[0] for n in (12, 20))
    wanted = torch.randn(12, 20, generator=random)
    # Steep along some mixtures of rows and columns, flat along others: no scaling of single entries helps.
    a = left @ torch.diag(torch.logspace(0, -2, 12)) @ left.T
    b = right @ torch.diag(torch.logspace(0, -2, 20)) @ right.T
    parameter = torch.nn.Parameter(torch.zeros(12, 20))
    options = OptimizerOptions(steps=steps, kind=kind, rate=0.1, final_rate=1e-4, warmup=1)  # type: ignore[arg-type]
    optimizer = make_optimizer(options, [parameter])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate(options, step)
        optimizer.zero_grad()
        (a @ (parameter - wanted) @ b).square().sum().backward()
        optimizer.step()
    return float((parameter.detach() - wanted).norm() / wanted.norm())


def test_soap_follows_directions_that_adam_cannot_see() -> None:
    assert distance_after("soap", 400) < 0.3 * distance_after("adam", 400)


@pytest.mark.parametrize("kind", ["adam", "soap"])
def test_resumed_run_is_bit_identical(pictures: Path, tmp_path: Path, kind: str) -> None:
    recipe = recipe_of(optimizer__kind=kind, optimizer__steps=24, optimizer__clip=0.1)
    for name, stops in (("straight", (24,)), ("parts", (5, 13, 24))):
        for stop in stops:
            train(recipe, pictures, tmp_path / name, cache=tmp_path / "cache", steps=stop)
    one, other = (
        torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("straight", "parts")
    )
    for part in ("network", "averaged"):
        assert all(torch.equal(one[part][key], other[part][key]) for key in one[part])


def test_losses_are_their_formulas() -> None:
    difference = torch.tensor([0.0, -0.5, 1.0])
    assert float(LOSSES["l1"].of(difference)) == pytest.approx(0.5)
    assert float(LOSSES["l2"].of(difference)) == pytest.approx(1.25 / 3)
    wanted = (1e-3 + (0.25 + 1e-6) ** 0.5 + (1 + 1e-6) ** 0.5) / 3
    assert float(LOSSES["charbonnier"].of(difference)) == pytest.approx(wanted)


def test_psnr_as_a_loss_weighs_patches_alike() -> None:
    easy, hard = torch.full((1, 1, 4, 4), 0.01), torch.full((1, 1, 4, 4), 0.1)
    both = torch.cat([easy, hard]).requires_grad_()
    loss = LOSSES["psnr"]
    assert loss.shown * float(loss.of(both.detach())) == pytest.approx(-(40 + 20) / 2, abs=0.5)
    loss.of(both).backward()  # type: ignore[no-untyped-call]
    assert both.grad is not None
    # Of what is squared, the root's gradient times the error is the same for both patches.
    pull = (both.grad * both.detach()).sum(dim=(1, 2, 3))
    assert float(pull[0] / pull[1]) == pytest.approx(1, rel=0.2)  # 2e-5 of the easy one's 1e-4 hold it back
    assert float(loss.of(torch.zeros(2, 1, 4, 4))) == pytest.approx(-4.7, abs=0.01)  # finite


def test_the_fourth_root_weighs_patches_by_the_power_of_three_quarters() -> None:
    easy, hard = torch.full((1, 1, 4, 4), 0.01), torch.full((1, 1, 4, 4), 0.16)
    both = torch.cat([easy, hard]).requires_grad_()
    loss = LOSSES["root"]
    assert float(loss.of(both.detach())) == pytest.approx((0.1 + 0.4) / 2, rel=1e-3)
    assert loss.shown * 0.1 == pytest.approx(2.55**0.5)  # an error of 2.55 codes
    loss.of(both).backward()  # type: ignore[no-untyped-call]
    assert both.grad is not None
    of_the_square = (both.grad / both.detach())[:, 0, 0, 0]
    assert float(of_the_square[0] / of_the_square[1]) == pytest.approx(256**0.75, rel=1e-3)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_is_trained_shown_and_named(loss: str, pictures: Path, tmp_path: Path) -> None:
    recipe = recipe_of(optimizer__loss=loss, optimizer__steps=4)
    seen: list[float] = []
    train(recipe, pictures, tmp_path / "run", cache=tmp_path / "cache", report=lambda p: seen.append(p.loss))
    assert np.isfinite(seen).all()
    assert (seen[-1] < 0) == (loss == "psnr")
    assert (tmp_path / "run/curve.png").stat().st_size
    (tmp_path / "models").mkdir()
    card = load_card(publish(tmp_path / "run", tmp_path / "models", default=False))
    assert LOSSES[loss].name in card.training.text


def test_steps_halve_the_rate() -> None:
    options = OptimizerOptions(
        steps=100, rate=8e-4, final_rate=1e-4, warmup=4, schedule="step", halve_every=20
    )
    assert [learning_rate(options, s) for s in (1, 3, 19, 20, 40, 60, 99)] == pytest.approx(
        [4e-4, 8e-4, 8e-4, 4e-4, 2e-4, 1e-4, 1e-4]
    )
    with pytest.raises(ValueError, match=r"needs optimizer\.halve_every"):
        recipe_of(optimizer__schedule="step")


def test_a_pupil_that_knows_everything_has_nothing_to_learn(pictures: Path, tmp_path: Path) -> None:
    train(recipe_of(), pictures, tmp_path / "teacher", cache=tmp_path / "cache")
    losses = {}
    for weight in (1.0, 0.25):
        seen: list[Progress] = []
        pupil = recipe_of(
            model__start="teacher", teacher__run="teacher", teacher__weight=weight, optimizer__steps=1
        )
        train(pupil, pictures, tmp_path / f"pupil{weight}", cache=tmp_path / "cache", report=seen.append)
        losses[weight] = seen[-1].loss
    assert losses[1.0] < 0.5  # of 255: only what the teacher's clamping to 0..1 cuts off
    assert losses[0.25] > 5


def test_a_teacher_of_another_scale_is_refused(pictures: Path, tmp_path: Path) -> None:
    train(recipe_of(), pictures, tmp_path / "teacher", cache=tmp_path / "cache")
    with pytest.raises(TrainingError, match="the teacher has scale 2 and 1 channels, the network 3 and 1"):
        train(recipe_of(model__scale=3, teacher__run="teacher"), pictures, tmp_path / "pupil", cache=tmp_path)


def test_larger_scales_start_from_the_smaller_one(pictures: Path, tmp_path: Path) -> None:
    train(recipe_of(), pictures, tmp_path / "two", cache=tmp_path / "cache")
    recipe = recipe_of(model__scale=3, model__start="two", optimizer__rate=0.0, optimizer__final_rate=0.0)
    train(recipe, pictures, tmp_path / "three", cache=tmp_path / "cache", steps=1)
    two, three = (load_averaged(tmp_path / name)[1].state_dict() for name in ("two", "three"))
    differing = {name for name in two if two[name].shape != three[name].shape}
    assert differing
    assert all(name.startswith("body.2.") for name in differing)  # the layer that makes the picture
    assert all(torch.equal(two[name], three[name]) for name in two.keys() - differing)
    with pytest.raises(TrainingError, match="trained another network"):
        train(recipe_of(model__start="two", model__features=6), pictures, tmp_path / "x", cache=tmp_path)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(pictures: Path, tmp_path: Path) -> None:
    recipe = recipe_of(optimizer__steps=20, data__validation="train")
    path = tmp_path / "recipe.toml"
    path.write_text(records.dump(recipe), encoding="utf-8")
    alone = train(recipe, pictures, tmp_path / "alone", cache=tmp_path / "cache")
    command = [sys.executable, "-m", "vidsr", "train", str(path), "--data", str(pictures), "--run",
               str(tmp_path / "both"), "--cache", str(tmp_path / "other"), "--threads", "1"]  # fmt: skip
    done = subprocess.run(
        [*command, "--processes", "2"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checkpoint.pt") == 1  # one of them speaks
    fresh = train(recipe_of(run__seed=4), pictures, tmp_path / "fresh", cache=tmp_path / "cache")
    one, other, stranger = (
        torch.load(p, weights_only=True)["averaged"] for p in (alone, tmp_path / "both" / CHECKPOINT, fresh)
    )
    apart = [max(float((one[k] - x[k]).abs().max()) for k in one) for x in (other, stranger)]
    assert apart[0] < 0.01 < 0.1 < apart[1]


@pytest.mark.slow
def test_failure_of_several_processes_is_told_once(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(records.dump(recipe_of(data__batch=3)), encoding="utf-8")
    command = [sys.executable, "-m", "vidsr", "train", str(path), "--data", str(pictures), "--run",
               str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--processes", "2"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    assert done.stderr.count("a batch of 3 cannot be shared by 2 processes") == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3])
def test_patches_cut_on_the_device_are_the_same(
    pictures: Path, tmp_path: Path, channels: int, scale: int
) -> None:
    recipe = recipe_of(model__channels=channels, model__scale=scale, data__batch=40, data__patch=7)
    store = prepare(recipe, pictures, tmp_path)
    resident = ResidentStore(store, torch.device("cpu"))
    for here, there in zip(
        store.batches(recipe.data, seed=1, start=3, stop=5),
        resident.batches(recipe.data, seed=1, start=3, stop=5),
        strict=True,
    ):
        assert here.step == there.step
        assert np.array_equal(here.low, there.low.numpy())
        assert np.array_equal(here.high, there.high.numpy())
