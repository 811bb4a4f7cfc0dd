"""Training pictures, degraded once into memory-mapped files, and random batches of patches from them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import TrainingError
from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.metrics import luma_bt601
from vidsr.locks import lock_folder
from vidsr.training.recipe import DataOptions, Recipe, Source
from vidsr.video.still import find_pictures, read_picture

__all__ = ["Batch", "PatchStore", "prepare"]

_LUMA_STEPS = 256  # luma is kept as fixed point, 1/256 of a code value


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step's patches, float32 in 0..1."""

    step: int
    low: NDArray[np.float32]
    """[batch, channels, patch, patch]"""
    high: NDArray[np.float32]
    """[batch, channels, patch * scale, patch * scale]"""


class PatchStore:
    """Pairs of pictures in two flat memory-mapped files, read in patches.

    Luma is stored as uint16 in 1/256 code values, RGB as uint8.
    """

    def __init__(self, folder: Path) -> None:
        """Open a store that `prepare` made."""
        self._index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self._channels: int = self._index["channels"]
        self._scale: int = self._index["scale"]
        self._low = np.load(folder / "low.npy", mmap_mode="r")
        self._high = np.load(folder / "high.npy", mmap_mode="r")
        self._sizes = np.array(self._index["sizes"], dtype=np.int64)  # [pictures, (height, width)]
        areas = self._sizes.prod(axis=1) * self._channels
        self._starts = np.concatenate([[0], np.cumsum(areas)[:-1]])

    @property
    def megapixels(self) -> float:
        """Size of all high-resolution pictures, in millions of pixels."""
        return float(self._sizes.prod(axis=1).sum()) * self._scale**2 / 1e6

    def batches(self, options: DataOptions, *, seed: int, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps start..stop-1; step k's depends on `seed` and k alone.

        Patches are drawn uniformly over all positions of all pictures, and turned or mirrored at
        random (8 ways).

        Raises:
            TrainingError: No picture is as large as a patch.
        """
        room = np.maximum(self._sizes - options.patch + 1, 0)
        weights = room.prod(axis=1).astype(np.float64)
        if not weights.any():
            raise TrainingError(
                f"no training picture has {options.patch * self._scale} pixels on each side",
                hint="give larger pictures, or a smaller data.patch",
            )
        chances = weights / weights.sum()
        for step in range(start, stop):
            random = np.random.default_rng((seed, step))
            low, high = [], []
            for picture in random.choice(len(chances), options.batch, p=chances):
                y, x = random.integers(room[picture])
                turn = int(random.integers(8))
                low.append(_turned(self._cut(self._low, picture, y, x, options.patch, 1), turn))
                cut = self._cut(self._high, picture, y, x, options.patch, self._scale)
                high.append(_turned(cut, turn))
            yield Batch(step, self._floats(low), self._floats(high))

    def _cut(
        self, flat: NDArray[np.generic], picture: int, y: int, x: int, patch: int, scale: int
    ) -> NDArray[np.generic]:
        height, width = self._sizes[picture] * scale
        start = self._starts[picture] * scale * scale
        shape = (self._channels, height, width)
        plane = flat[start : start + self._channels * height * width].reshape(shape)
        return plane[:, y * scale : (y + patch) * scale, x * scale : (x + patch) * scale]

    def _floats(self, patches: list[NDArray[np.generic]]) -> NDArray[np.float32]:
        peak = 255.0 * (_LUMA_STEPS if self._channels == 1 else 1)
        return np.stack(patches).astype(np.float32) / np.float32(peak)


def prepare(
    recipe: Recipe, root: Path, cache: Path, *, report: Callable[[str], None] = lambda _: None
) -> PatchStore:
    """Degrade the recipe's pictures into a store under `cache`, or open the one that is there.

    A picture is cropped so that the scale divides it; both resolutions are kept as uint8 RGB first,
    then converted to unrounded BT.601 luma for a luma network, as the evaluation protocol does.

    Raises:
        SourceError: A folder is missing or empty, or a picture cannot be read.
    """
    files = [
        (path, source) for source in recipe.data.sources for path in find_pictures([root / source.folder])
    ]
    key = json.dumps(
        [recipe.model.scale, recipe.model.channels, recipe.data.degradation]
        + [[str(p.relative_to(root)), p.stat().st_size, s.halve, s.soften] for p, s in files]
    )
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, wait=True):  # another run may be filling it
        if not (folder / "index.json").exists():
            _fill(folder, recipe, files, report)
    return PatchStore(folder)


def _fill(
    folder: Path, recipe: Recipe, files: list[tuple[Path, Source]], report: Callable[[str], None]
) -> None:
    scale, channels = recipe.model.scale, recipe.model.channels
    sizes, lows, highs = [], [], []
    for number, (path, source) in enumerate(files, 1):
        high = read_picture(path)
        if source.halve:
            high = downscale(crop_to_multiple(high, 2), 2)
        if source.soften:
            high = _softened(high, source.soften)
        high = crop_to_multiple(high, scale)
        low = downscale(high, scale)
        sizes.append(low.shape[:2])
        lows.append(_stored(low, channels).ravel())
        highs.append(_stored(high, channels).ravel())
        report(f"preparing pictures: {number}/{len(files)}")
    for name, parts in (("low", lows), ("high", highs)):
        partial = folder / f"{name}.partial.npy"
        np.save(partial, np.concatenate(parts))
        os.replace(partial, folder / f"{name}.npy")
    index = {"channels": channels, "scale": scale, "sizes": sizes}
    partial = folder / "index.partial"
    partial.write_text(json.dumps(index), encoding="utf-8")
    os.replace(partial, folder / "index.json")


def _softened(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
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


def _stored(rgb: NDArray[np.uint8], channels: int) -> NDArray[np.generic]:
    if channels == 3:
        return np.ascontiguousarray(rgb.transpose(2, 0, 1))
    return np.rint(luma_bt601(rgb) * _LUMA_STEPS).astype(np.uint16)


def _turned(patch: NDArray[np.generic], turn: int) -> NDArray[np.generic]:
    if turn & 1:
        patch = patch[:, ::-1]
    if turn & 2:
        patch = patch[:, :, ::-1]
    return patch.swapaxes(1, 2) if turn & 4 else patch
