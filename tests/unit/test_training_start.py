"""Runs that go on from another run's weights, and pictures that are softened first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidsr import records
from vidsr.errors import TrainingError
from vidsr.locks import lock_folder
from vidsr.training.data import prepare
from vidsr.training.loop import train
from vidsr.training.pictures import stretched
from vidsr.training.recipe import Recipe
from vidsr.training.run import load_averaged


def write_pictures(root: Path) -> None:
    (root / "train").mkdir()
    random = np.random.default_rng(1)
    for i in range(2):
        body = random.integers(0, 256, (40, 48, 3), dtype=np.uint8).tobytes()
        (root / f"train/{i}.ppm").write_bytes(b"P6 48 40 255\n" + body)


def recipe_of(
    *, start: str = "", steps: int = 3, sources: tuple[float, ...] = (0.0,), rate: float = 2e-3
) -> Recipe:
    return records.from_mapping(
        Recipe,
        {
            "model": {
                "network": "ecbsr", "scale": 2, "channels": 1, "blocks": 1, "features": 8, "start": start,
            },
            "data": {
                "sources": [{"folder": "train", "licence": "CC0", "soften": s} for s in sources],
                "patch": 8,
                "batch": 2,
            },
            "optimizer": {"steps": steps, "rate": rate, "final_rate": 0.0, "warmup": 1, "ema": 0.5},
            "run": {"seed": 5, "precision": "f32", "compile": False},
        },
    )  # fmt: skip


def test_a_run_starts_from_another_s_averaged_weights(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    train(recipe_of(), tmp_path, tmp_path / "first", cache=tmp_path / "cache")
    # With a learning rate of nothing, what comes out is what went in.
    train(recipe_of(start="first", rate=0.0), tmp_path, tmp_path / "second", cache=tmp_path / "cache")
    _, first, _ = load_averaged(tmp_path / "first")
    _, second, _ = load_averaged(tmp_path / "second")
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=1e-6, atol=1e-8)


def test_a_missing_start_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    with pytest.raises(TrainingError, match="checkpoint"):
        train(recipe_of(start="nowhere"), tmp_path, tmp_path / "run", cache=tmp_path / "cache")


def test_softened_pictures_are_smoother_and_come_besides(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    both = prepare(recipe_of(sources=(0.0, 1.0)), tmp_path, tmp_path / "cache")
    plain = prepare(recipe_of(), tmp_path, tmp_path / "cache")
    assert both.megapixels == 2 * plain.megapixels
    high = both.high.reshape(4, 40, 48).astype(np.float64)
    roughness = np.abs(np.diff(high, axis=2)).mean(axis=(1, 2))
    assert roughness[2:].max() < roughness[:2].min() / 2
    # A Gaussian keeps the mean.
    np.testing.assert_allclose(high[2:].mean(axis=(1, 2)), high[:2].mean(axis=(1, 2)), rtol=0.02)


def test_contrast_is_stretched_about_the_middle() -> None:
    picture = np.array([[[0, 64, 127], [128, 160, 255]]], dtype=np.uint8)
    # Twice as far from 127.5, rounded, clipped.
    assert stretched(picture, 2.0).tolist() == [[[0, 1, 127], [129, 193, 255]]]
    assert stretched(picture, 1.0).tolist() == picture.tolist()


def test_stretched_pictures_are_another_store(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    stores = []
    for contrast in (1.0, 2.0):
        mapping = records.to_mapping(recipe_of())
        mapping["data"]["sources"][0]["contrast"] = contrast
        recipe = records.from_mapping(Recipe, mapping)
        assert (recipe.digest == recipe_of().digest) == (contrast == 1.0)
        stores.append(prepare(recipe, tmp_path, tmp_path / "cache"))
    plain, more = (store.high.astype(np.float64).std() for store in stores)
    assert more > 1.2 * plain


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / "run").mkdir()
    with lock_folder(tmp_path / "run"), pytest.raises(TrainingError, match="another process"):
        train(recipe_of(), tmp_path, tmp_path / "run", cache=tmp_path / "cache")
    train(recipe_of(), tmp_path, tmp_path / "run", cache=tmp_path / "cache")
