"""Patches cut on a GPU: the pictures stay in its memory, so that it never waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidsr.training.data import PatchStore
from vidsr.training.recipe import DataOptions

__all__ = ["ResidentStore", "TensorBatch"]


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """A `Batch` that is on the device already."""

    step: int
    low: Tensor
    high: Tensor


class ResidentStore:
    """All pictures of a store on one device; gives the very batches that the store itself would."""

    def __init__(self, store: PatchStore, device: torch.device) -> None:
        """Copy the pictures: as many bytes as low.npy and high.npy have."""
        self._store, self._device = store, device
        self._flat = {1: self._moved(store.low), store.scale: self._moved(store.high)}
        self._widths = torch.from_numpy(store.sizes[:, 1].copy()).to(device)
        self._areas = torch.from_numpy(store.sizes.prod(axis=1)).to(device)
        self._starts = torch.from_numpy(store.starts.copy()).to(device)

    def batches(self, options: DataOptions, *, seed: int, start: int, stop: int) -> Iterator[TensorBatch]:
        """See `PatchStore.batches`."""
        for step, places in self._store.draws(options, seed=seed, start=start, stop=stop):
            moved = torch.from_numpy(places).to(self._device, non_blocking=True)
            low = self._cut(moved, options.patch, 1)
            yield TensorBatch(step, low, self._cut(moved, options.patch, self._store.scale))

    def _moved(self, flat: NDArray[np.generic]) -> Tensor:
        # torch can hardly compute with uint16: the bits travel as int16.
        array = np.array(flat)  # torch wants memory that it could write to
        return torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array).to(self._device)

    def _cut(self, places: Tensor, patch: int, scale: int) -> Tensor:
        """Return patches [batch, channels, side, side] by computing where each sample lies."""
        picture, top, left, turn = (column[:, None, None] for column in places.unbind(1))
        side = patch * scale
        row = torch.arange(side, device=self._device)[None, :, None]
        column = torch.arange(side, device=self._device)[None, None, :]
        swap = (turn & 4) != 0
        row, column = torch.where(swap, column, row), torch.where(swap, row, column)
        row = torch.where((turn & 1) != 0, side - 1 - row, row)
        column = torch.where((turn & 2) != 0, side - 1 - column, column)
        width, area = self._widths[picture] * scale, self._areas[picture] * scale * scale
        index = self._starts[picture] * scale * scale + (top * scale + row) * width + left * scale + column
        channels = torch.arange(self._store.channels, device=self._device)[None, :, None, None]
        values = self._flat[scale][index[:, None] + channels * area[:, None]]
        if values.dtype == torch.int16:
            values = values.to(torch.int32) & 0xFFFF
        return values.float() / self._store.peak
