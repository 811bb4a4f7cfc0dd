"""The degradation "clean": pictures and their MATLAB-style bicubic reductions, for a `PatchStore`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.metrics import luma_bt601
from vidsr.training.recipe import Recipe, Source
from vidsr.video.still import read_picture

__all__ = ["LUMA_STEPS", "fill_with_pictures", "high_pictures", "softened", "stretched", "write_index"]

LUMA_STEPS = 256
"""Luma is kept as fixed point, in units of 1/256 of a code value."""


def fill_with_pictures(
    folder: Path, recipe: Recipe, files: list[tuple[Path, Source]], report: Callable[[str], None]
) -> None:
    """Write low.npy, high.npy and index.json of the recipe's pictures into `folder`."""
    scale, channels = recipe.model.scale, recipe.model.channels
    sizes, lows, highs = [], [], []
    for number, picture in enumerate(high_pictures(files), 1):
        high = crop_to_multiple(picture, scale)
        low = downscale(high, scale)
        sizes.append((low.shape[0], low.shape[1]))
        lows.append(_stored(low, channels).ravel())
        highs.append(_stored(high, channels).ravel())
        report(f"preparing pictures: {number}/{len(files)}")
    for name, parts in (("low", lows), ("high", highs)):
        partial = folder / f"{name}.partial.npy"
        np.save(partial, np.concatenate(parts))
        os.replace(partial, folder / f"{name}.npy")
    write_index(folder, channels, scale, sizes)


def high_pictures(files: list[tuple[Path, Source]]) -> Iterator[NDArray[np.uint8]]:
    """Yield each picture [H, W, 3], halved, stretched and softened as its source says.

    Raises:
        SourceError: One cannot be read.
    """
    for path, source in files:
        high = read_picture(path)
        if source.halve:
            high = downscale(crop_to_multiple(high, 2), 2)
        if source.contrast != 1:
            high = stretched(high, source.contrast)
        yield softened(high, source.soften) if source.soften else high


def stretched(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return the picture with its contrast about mid-gray times `factor`, clipped."""
    codes = np.arange(256)
    table = np.clip(np.floor((codes - 127.5) * factor + 128), 0, 255).astype(np.uint8)
    made: NDArray[np.uint8] = table[picture]
    return made


def softened(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Blur picture [H, W, 3] with a Gaussian of `sigma` pixels, the border repeated."""
    reach = int(np.ceil(3 * sigma))
    window = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma * sigma))
    window /= window.sum()
    total = picture.astype(np.float64)
    for axis in (0, 1):
        widths = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(total, widths, mode="edge")
        length = total.shape[axis]
        parts = (w * padded.take(range(i, i + length), axis) for i, w in enumerate(window))
        total = np.sum(list(parts), axis=0)
    return np.floor(total + 0.5).astype(np.uint8)


def write_index(folder: Path, channels: int, scale: int, sizes: list[tuple[int, int]]) -> None:
    """Write index.json, the last file of a store: one without it is filled again."""
    partial = folder / "index.partial"
    index = {"channels": channels, "scale": scale, "sizes": sizes}
    partial.write_text(json.dumps(index), encoding="utf-8")
    os.replace(partial, folder / "index.json")


def _stored(rgb: NDArray[np.uint8], channels: int) -> NDArray[np.generic]:
    if channels == 3:
        return np.ascontiguousarray(rgb.transpose(2, 0, 1))
    return np.rint(luma_bt601(rgb) * LUMA_STEPS).astype(np.uint16)
