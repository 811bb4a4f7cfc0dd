"""Training pictures, degraded once into memory-mapped files, and random batches of patches from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidsr import records
from vidsr.errors import TrainingError
from vidsr.locks import lock_folder
from vidsr.training.clips import fill_with_clips
from vidsr.training.pictures import LUMA_STEPS, fill_with_pictures
from vidsr.training.recipe import DataOptions, Recipe, Source
from vidsr.video.still import find_pictures

__all__ = ["Batch", "PatchStore", "prepare"]

_MADE_FOR = "made_for.json"
"""A store's file that says which folders it was made of, and how."""


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
        self.folder = folder
        self._index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.channels: int = self._index["channels"]
        self.scale: int = self._index["scale"]
        self.low = np.load(folder / "low.npy", mmap_mode="r")
        self.high = np.load(folder / "high.npy", mmap_mode="r")
        self.sizes = np.array(self._index["sizes"], dtype=np.int64)  # [pictures, (height, width)]
        areas = self.sizes.prod(axis=1) * self.channels
        self.starts = np.concatenate([[0], np.cumsum(areas)[:-1]])

    @property
    def peak(self) -> float:
        """The stored number that stands for 1."""
        return 255.0 * (LUMA_STEPS if self.channels == 1 else 1)

    @property
    def megapixels(self) -> float:
        """Size of all high-resolution pictures, in millions of pixels."""
        return float(self.sizes.prod(axis=1).sum()) * self.scale**2 / 1e6

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def batches(self, options: DataOptions, *, seed: int, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps start..stop-1; step k's depends on `seed` and k alone.

        Raises:
            TrainingError: No picture is as large as a patch.
        """
        for step, places in self.draws(options, seed=seed, start=start, stop=stop):
            low, high = [], []
            for picture, y, x, turn in places:
                low.append(_turned(self._cut(self.low, picture, y, x, options.patch, 1), turn))
                cut = self._cut(self.high, picture, y, x, options.patch, self.scale)
                high.append(_turned(cut, turn))
            yield Batch(step, self._floats(low), self._floats(high))

    def draws(
        self, options: DataOptions, *, seed: int, start: int, stop: int
    ) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each step and where its patches lie: [batch, (picture, y, x, turn)].

        Patches are drawn uniformly over all positions of all pictures, and turned or mirrored at
        random: turn & 1 upside down, & 2 left to right, then & 4 rows and columns exchanged.

        Raises:
            TrainingError: No picture is as large as a patch.
        """
        room = np.maximum(self.sizes - options.patch + 1, 0)
        weights = room.prod(axis=1).astype(np.float64)
        if not weights.any():
            raise TrainingError(
                f"no training picture has {options.patch * self.scale} pixels on each side",
                hint="give larger pictures, or a smaller data.patch",
            )
        chances = weights / weights.sum()
        for step in range(start, stop):
            random = np.random.default_rng((seed, step))
            pictures = random.choice(len(chances), options.batch, p=chances)
            yield (
                step,
                np.array(
                    [(p, *random.integers(room[p]), random.integers(8)) for p in pictures], dtype=np.int64
                ),
            )

    def _cut(
        self, flat: NDArray[np.generic], picture: int, y: int, x: int, patch: int, scale: int
    ) -> NDArray[np.generic]:
        height, width = self.sizes[picture] * scale
        start = self.starts[picture] * scale * scale
        shape = (self.channels, height, width)
        plane = flat[start : start + self.channels * height * width].reshape(shape)
        return plane[:, y * scale : (y + patch) * scale, x * scale : (x + patch) * scale]

    def _floats(self, patches: list[NDArray[np.generic]]) -> NDArray[np.float32]:
        return np.stack(patches).astype(np.float32) / np.float32(self.peak)


def prepare(
    recipe: Recipe, root: Path, cache: Path, *, report: Callable[[str], None] = lambda _: None
) -> PatchStore:
    """Degrade the recipe's pictures into a store under `cache`, or open the one that is there.

    A picture is cropped so that the scale divides it; both resolutions are kept as uint8 RGB first,
    then converted to unrounded BT.601 luma for a luma network, as the evaluation protocol does.

    Where none of the recipe's folders is there, as on a machine to which only the cache was carried, the one
    store that was made for such a recipe is opened.

    Raises:
        SourceError: A folder is missing or empty, or a picture cannot be read.
    """
    sources = recipe.data.sources
    how: list[object] = [recipe.model.scale, recipe.model.channels, recipe.data.degradation]
    if recipe.data.degradation == "video":
        how.append(records.to_mapping(recipe.data.video))
    made_for = json.dumps([*how, *([str(s.folder), *_done_first(s)] for s in sources)])
    if not any((root / source.folder).is_dir() for source in sources):
        carried = [
            path.parent for path in cache.glob(f"*/{_MADE_FOR}") if path.read_text("utf-8") == made_for
        ]
        if len(carried) == 1 and (carried[0] / "index.json").exists():
            return PatchStore(carried[0])
    files = [(path, source) for source in sources for path in find_pictures([root / source.folder])]
    key = json.dumps(
        [*how, *([str(p.relative_to(root)), p.stat().st_size, *_done_first(s)] for p, s in files)]
    )
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, wait=True):  # another run may be filling it
        if not (folder / "index.json").exists():
            fill = fill_with_clips if recipe.data.degradation == "video" else fill_with_pictures
            fill(folder, recipe, files, report)
        if not (folder / _MADE_FOR).exists():  # as in stores of earlier versions
            (folder / _MADE_FOR).write_text(made_for, encoding="utf-8")
    return PatchStore(folder)


def _done_first(source: Source) -> list[object]:
    """Return what is done to a source's pictures, as a store's key holds it."""
    return [source.halve, source.soften, *([source.contrast] if source.contrast != 1 else [])]


def _turned(patch: NDArray[np.generic], turn: int) -> NDArray[np.generic]:
    if turn & 1:
        patch = patch[:, ::-1]
    if turn & 2:
        patch = patch[:, :, ::-1]
    return patch.swapaxes(1, 2) if turn & 4 else patch
