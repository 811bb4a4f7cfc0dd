"""A run's history: a CSV that survives resuming, and a picture of it."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["History"]


class _Row(NamedTuple):
    step: int
    loss: float
    rate: float
    psnr: float | None


class History:
    """``history.csv`` (step, loss, learning rate, PSNR-Y in dB) and ``curve.png``."""

    def __init__(self, folder: Path, unit: str, *, keep_until: int) -> None:
        """Open the history in `folder`, forgetting the rows of steps after `keep_until`.

        Args:
            folder: The run's.
            unit: Of the loss, in words.
            keep_until: The last step that is not forgotten.
        """
        self._unit = unit
        self._csv = folder / "history.csv"
        self._picture = folder / "curve.png"
        self._rows: list[_Row] = []
        if self._csv.exists():
            with self._csv.open(encoding="utf-8", newline="") as lines:
                rows = (_read(cells) for cells in csv.DictReader(lines))
                self._rows = [row for row in rows if row.step <= keep_until]
        # Under another name first: a crash here must not cost the history of a long run.
        partial = self._csv.with_suffix(".partial")
        with partial.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([_Row._fields, *map(_cells, self._rows)])
        os.replace(partial, self._csv)

    def add(self, *, step: int, loss: float, rate: float, psnr: float | None) -> None:
        """Append a row and write it at once."""
        row = _Row(step, loss, rate, psnr)
        self._rows.append(row)
        with self._csv.open("a", encoding="utf-8", newline="") as out:
            csv.writer(out).writerow(_cells(row))

    def draw(self) -> None:
        """Write the curve of everything so far."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        left = figure.add_subplot()
        left.plot([r.step for r in self._rows], [r.loss for r in self._rows], color="0.6", linewidth=0.8)
        scale = "linear" if self._unit == "dB" else "log"
        left.set(xlabel="step", ylabel=f"loss, {self._unit}", yscale=scale)
        measured = [(r.step, r.psnr) for r in self._rows if r.psnr is not None]
        if measured:
            right = left.twinx()
            right.plot(*zip(*measured, strict=True), "o-", markersize=3)
            right.set_ylabel("PSNR-Y on the validation pictures, dB")
        figure.savefig(self._picture, dpi=110)


def _cells(row: _Row) -> list[str]:
    psnr = "" if row.psnr is None else f"{row.psnr:.6g}"
    return [str(row.step), f"{row.loss:.6g}", f"{row.rate:.6g}", psnr]


def _read(cells: dict[str, str]) -> _Row:
    psnr = float(cells["psnr"]) if cells["psnr"] else None
    return _Row(int(cells["step"]), float(cells["loss"]), float(cells["rate"]), psnr)
