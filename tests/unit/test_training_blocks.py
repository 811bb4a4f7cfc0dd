"""Training with the blocks that have batch normalisation: averages, resuming, folding, the option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vidsr import records
from vidsr.cli.train import train as train_verb
from vidsr.errors import TrainingError
from vidsr.networks.block import averaged_state
from vidsr.networks.ecbsr import BLOCKS
from vidsr.training.loop import train
from vidsr.training.recipe import Recipe
from vidsr.training.run import build, load_averaged

NORMALISED = ["repvgg", "acb", "dbb"]
EMA = 0.7


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with one picture of noise, 40x40."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "train").mkdir()
    body = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8).tobytes()
    (root / "train/0.ppm").write_bytes(b"P6 40 40 255\n" + body)
    return root


def recipe_of(block: str) -> Recipe:
    model = {"network": "ecbsr", "scale": 2, "channels": 1, "blocks": 1, "features": 4, "block": block}
    return records.from_mapping(
        Recipe,
        {
            "model": model,
            "data": {"sources": [{"folder": "train", "licence": "CC0"}], "patch": 8, "batch": 4},
            "optimizer": {"steps": 6, "rate": 1e-2, "warmup": 1, "ema": EMA},
            "run": {"seed": 3, "precision": "f32", "compile": False},
        },
    )


def saved(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


@pytest.mark.parametrize("block", BLOCKS)
def test_averaged_network_folds_to_what_it_computes(block: str, root: Path, tmp_path: Path) -> None:
    train(recipe_of(block), root, tmp_path / "run", cache=tmp_path / "cache")
    recipe, network, _ = load_averaged(tmp_path / "run")
    assert recipe.model.block == block
    x = torch.rand(2, 1, 9, 7, dtype=torch.float64)
    with torch.no_grad():
        wanted = network.double().forward_branches(x)
        nearest = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        assert (wanted - nearest).abs().max() > 1e-3  # it has left its quiet start
        torch.testing.assert_close(network(x), wanted, rtol=0, atol=1e-10)
        torch.testing.assert_close(network.fold()(x), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("block", NORMALISED)
def test_statistics_are_averaged_as_the_weights_are(block: str, root: Path, tmp_path: Path) -> None:
    """Step by step, the run's own states give its averages; stopping at each step changes nothing."""
    recipe, folder = recipe_of(block), tmp_path / "run"
    averages = {name: v.detach().clone() for name, v in averaged_state(build(recipe)).items()}
    assert any(name.endswith("running_var") for name in averages)
    state: dict[str, Any] = {}
    for step in range(6):
        state = saved(train(recipe, root, folder, cache=tmp_path / "cache", steps=step + 1))
        decay = min(EMA, (1 + step) / (10 + step))
        for name, average in averages.items():
            now: Tensor = state["network"][name]
            average.lerp_(now, 1 - decay)
            torch.testing.assert_close(state["averaged"][name], average, rtol=1e-5, atol=1e-7)
    moved = [name for name in averages if not torch.equal(state["averaged"][name], state["network"][name])]
    assert any(name.endswith("running_mean") for name in moved)
    straight = saved(train(recipe, root, tmp_path / "straight", cache=tmp_path / "cache"))
    for part in ("network", "averaged"):
        for name, value in straight[part].items():
            assert torch.equal(value, state[part][name]), name


def test_the_option_trains_another_network_in_another_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(records.dump(recipe_of("ecb")))
    train_verb(path, root, steps=1, threads=1)
    train_verb(path, root, block="acb", steps=1, threads=1)
    one, other = (load_averaged(tmp_path / "runs" / name)[0] for name in ("small", "small-acb"))
    assert (one.model.block, other.model.block) == ("ecb", "acb")
    assert other == Recipe.load(path).with_block("acb")
    assert one.digest != other.digest
    with pytest.raises(TrainingError, match=r"'model.block' must be 'ecb' or .* not 'vgg'"):
        train_verb(path, root, block="vgg", steps=1, threads=1)
