"""The degradation "video": seeded, aligned, and what the encoders really do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsr import records
from vidsr.errors import TrainingError
from vidsr.evaluation.bicubic import downscale
from vidsr.training.data import PatchStore, prepare
from vidsr.training.recipe import Recipe

SIDE = 64


def write_picture(root: Path, *, side: int = 200) -> None:
    """A picture of soft blobs and hard edges."""
    (root / "train").mkdir()
    random = np.random.default_rng(2)
    coarse = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    rgb = coarse.repeat(8, axis=0).repeat(8, axis=1)
    height, width = rgb.shape[:2]
    (root / "train/a.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + rgb.tobytes())


def recipe_of(*, scale: int = 2, channels: int = 1, **video: Any) -> Recipe:
    options = {"clips": 4, "frames": 4, "kept": 2, "side": SIDE, "softened": 0.0, "noise": 0.0, **video}
    return records.from_mapping(
        Recipe,
        {
            "model": {"network": "ecbsr", "scale": scale, "channels": channels, "blocks": 1, "features": 8},
            "data": {
                "sources": [{"folder": "train", "licence": "CC0"}],
                "patch": 32,
                "batch": 2,
                "degradation": "video",
                "video": options,
            },
            "optimizer": {"steps": 1},
        },
    )


def pictures_of(store: PatchStore, scale: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    low = store.low.reshape(-1, channels, SIDE, SIDE)
    return low, store.high.reshape(-1, channels, SIDE * scale, SIDE * scale)


@pytest.mark.parametrize("scale", [2, 3])
def test_uncoded_clips_are_the_protocol_s_reduction(tmp_path: Path, scale: int) -> None:
    write_picture(tmp_path, side=280)
    store = prepare(recipe_of(scale=scale, uncoded=1.0), tmp_path, tmp_path / "cache")
    low, high = pictures_of(store, scale)
    assert len(low) == 8
    for one, other in zip(low[:, 0], high[:, 0], strict=True):
        codes = np.rint(other / 256).astype(np.uint8)
        assert np.array_equal(one, downscale(codes, scale).astype(np.uint16) * 256)


def test_equal_seeds_make_equal_clips(tmp_path: Path) -> None:
    write_picture(tmp_path)
    one, again, other = (
        prepare(recipe_of(seed=seed), tmp_path, tmp_path / cache)
        for seed, cache in ((1, "a"), (1, "b"), (2, "a"))
    )
    assert np.array_equal(one.low, again.low)
    assert np.array_equal(one.high, again.high)
    assert not np.array_equal(one.low, other.low)


@pytest.mark.parametrize("x265", [0.0, 1.0])
def test_harder_compression_loses_more_and_nothing_moves(tmp_path: Path, x265: float) -> None:
    write_picture(tmp_path)
    errors = []
    for crf in (10.0, 40.0):
        options = {"crf": [crf, crf], "x265": x265, "uncoded": 0.0}
        low, high = pictures_of(prepare(recipe_of(**options), tmp_path, tmp_path / "cache"), 2)
        means = high.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4)) / 256
        plain = np.stack([downscale(np.rint(h[0] / 256).astype(np.uint8), 2) for h in high])
        errors.append(np.abs(low[:, 0] / 256.0 - plain).mean())
        here = np.abs(low[:, 0] / 256 - means).mean()
        assert all(np.abs(np.roll(low[:, 0], s, axis=2) / 256 - means).mean() > here for s in (-1, 1))
    assert 0 < errors[0] < errors[1] / 2


def test_noise_and_blur_are_there_when_asked_for(tmp_path: Path) -> None:
    write_picture(tmp_path)
    clean, soft, noisy = (
        prepare(recipe_of(clips=24, uncoded=1.0, **options), tmp_path, tmp_path / "cache")
        for options in ({}, {"softened": 0.5, "soften": 2.0}, {"noise": 30.0})
    )

    def roughness(flat: np.ndarray) -> float:
        return float(np.abs(np.diff(flat.astype(np.float64))).mean())

    assert roughness(soft.high) < 0.97 * roughness(clean.high)
    assert np.array_equal(noisy.high, clean.high)  # what is aimed at has no noise
    assert roughness(noisy.low) > 1.02 * roughness(clean.low)


def test_rgb_networks_get_rgb(tmp_path: Path) -> None:
    write_picture(tmp_path)
    recipe = recipe_of(channels=3, uncoded=1.0, motion=0)
    low, high = pictures_of(prepare(recipe, tmp_path, tmp_path / "cache"), 2, 3)
    assert low.dtype == high.dtype == np.uint8
    means = high.reshape(-1, 3, SIDE, 2, SIDE, 2).mean(axis=(3, 5))
    # Chroma has been through 4:2:0, so only nearly: but no channel is another's.
    for a in range(3):
        own = np.abs(low[:, a] - means[:, a]).mean()
        assert own < 25
        assert all(np.abs(low[:, a] - means[:, b]).mean() > 2 * own for b in range(3) if b != a)


def test_pictures_smaller_than_a_window_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path, side=120)
    with pytest.raises(TrainingError, match="no training picture has 128 pixels on each side"):
        prepare(recipe_of(), tmp_path, tmp_path / "cache")
