"""A run's history: a CSV that survives resuming, and a picture of it."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["History"]

_FIELDS = ("step", "loss", "rate", "psnr")


class History:
    """``history.csv`` (step, loss in 8-bit code values, learning rate, PSNR-Y in dB) and ``curve.png``."""

    def __init__(self, folder: Path, *, keep_until: int) -> None:
        """Open the history in `folder`, forgetting the rows of steps after `keep_until`."""
        self._csv = folder / "history.csv"
        self._picture = folder / "curve.png"
        self._rows: list[dict[str, float | None]] = []
        if self._csv.exists():
            with self._csv.open(encoding="utf-8", newline="") as lines:
                for row in csv.DictReader(lines):
                    if int(row["step"]) <= keep_until:
                        values = {k: float(row[k]) if row[k] else None for k in _FIELDS}
                        self._rows.append(values)
        with self._csv.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerow(_FIELDS)
        for values in self._rows:
            self._append(values)

    def add(self, *, step: int, loss: float, rate: float, psnr: float | None) -> None:
        """Append a row and write it at once."""
        values = {"step": float(step), "loss": loss, "rate": rate, "psnr": psnr}
        self._rows.append(values)
        self._append(values)

    def draw(self) -> None:
        """Write the curve of everything so far."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        left = figure.add_subplot()
        steps = [row["step"] for row in self._rows]
        left.plot(steps, [row["loss"] for row in self._rows], color="0.6", linewidth=0.8)
        left.set(xlabel="step", ylabel="L1 loss, code values", yscale="log")
        measured = [row for row in self._rows if row["psnr"] is not None]
        if measured:
            right = left.twinx()
            right.plot([r["step"] for r in measured], [r["psnr"] for r in measured], "o-", markersize=3)
            right.set_ylabel("PSNR-Y on the validation pictures, dB")
        figure.savefig(self._picture, dpi=110)

    def _append(self, values: dict[str, float | None]) -> None:
        with self._csv.open("a", encoding="utf-8", newline="") as out:
            row = [int(values["step"] or 0)]
            cells = ["" if values[k] is None else f"{values[k]:.6g}" for k in _FIELDS[1:]]
            csv.writer(out).writerow([*row, *cells])
