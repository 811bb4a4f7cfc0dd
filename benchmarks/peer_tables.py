"""Rows, ratios and tables of `benchmarks/peers.py`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Row", "ratio", "share_apart", "table"]


@dataclass
class Row:
    """A way to do a case and what it took."""

    name: str
    streams: int = 0
    """0: it has none."""
    pinned: bool = True
    """Whether its threads stay on their cores, as OpenVINO's do by default."""
    fps: list[float] = field(default_factory=list)
    """One of each round."""
    others: float = 0.0
    """Largest share of all cores that other programs took meanwhile."""
    refused: str = ""
    """Why there are none."""
    versions: dict[str, str] = field(default_factory=dict)
    differs: float | None = None
    """Share of luma samples more than one code away from vidsr's at f32."""

    @property
    def shape(self) -> str:
        """Streams and threads, in words."""
        return f"{self.streams or ''}{'' if self.pinned else ', free'}"


def ratio(fast: Sequence[float], slow: Sequence[float]) -> float:
    """Return the median over rounds of how many times as fast one is as the other."""
    return statistics.median(a / b for a, b in zip(fast, slow, strict=True))


def share_apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of samples that are more than one code apart."""
    if a.shape != b.shape:
        raise ValueError(f"results of {a.shape} and {b.shape} cannot be compared")
    return float((np.abs(a.astype(np.int16) - b) > 1).mean())


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a case's table."""
    ours = [row for row in rows if row.name.startswith("vidsr") and row.fps]
    heads = ["way", "streams", "fps", *(f"{row.name} is" for row in ours), "luma off by > 1"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for row in rows:
        cells = [row.name, row.shape]
        if row.fps:
            cells += [f"{statistics.median(row.fps):.1f}"]
            cells += [f"{ratio(one.fps, row.fps):.2f}x" for one in ours]
        else:
            cells += ["-"] * (1 + len(ours))
        off = "" if row.differs is None else f"{row.differs:.4%}"
        lines.append(f"| {' | '.join([*cells, row.refused or off])} |")
    return lines
