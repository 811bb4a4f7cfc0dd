"""What ``vidsr models list`` prints: one line a model where there is room, a few where there is not."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidsr.errors import ModelError

if TYPE_CHECKING:
    from vidsr.models.card import ModelSpec
    from vidsr.models.cost import Cost
    from vidsr.models.lookup import Model

__all__ = ["Entry", "entry_of", "rows", "table", "terminal_width"]

_HEADS = ("", *"model scale kind parameters file kMAC/px speed int8 Set5 Set14 description".split())
_RIGHT = {"parameters", "file", "kMAC/px", "Set5", "Set14"}
_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in a list."""

    spec: ModelSpec
    file_bytes: int | None
    """None: the file is missing."""
    cost: Cost | None
    """None: the file is not one that vidsr runs; 'vidsr models show' says why."""

    def to_mapping(self) -> dict[str, Any]:
        """Return the card, and what was found of the file, for JSON."""
        from vidsr import records

        cost = self.cost
        return records.to_mapping(self.spec) | {
            "file_bytes": self.file_bytes,
            "parameters": None if cost is None else cost.parameters,
            "kmac_per_pixel": None if cost is None else round(cost.kmac, 3),
            "speed": None if cost is None else cost.speed,
        }


def entry_of(model: Model) -> Entry:
    """Return a model's entry; a damaged file costs its figures, not the list."""
    from vidsr.models.cost import cost_of

    size = model.path.stat().st_size if model.path.is_file() else None
    try:
        return Entry(model.spec, size, cost_of(model))
    except ModelError:
        return Entry(model.spec, size, None)


def terminal_width() -> int | None:
    """Return the columns of the terminal, None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return the cells, the heading first."""
    found: list[tuple[str, ...]] = [_HEADS]
    for entry in entries:
        spec, cost = entry.spec, entry.cost
        found.append(
            (
                "*" if spec.default else "",
                spec.id,
                f"{spec.scale}x",
                spec.kind,
                _UNKNOWN if cost is None else f"{cost.parameters:,}",
                _UNKNOWN if entry.file_bytes is None else _size(entry.file_bytes),
                _UNKNOWN if cost is None else f"{cost.kmac:.1f}",
                _UNKNOWN if cost is None else cost.speed,
                "yes" if "int8" in spec.files else _UNKNOWN,
                _psnr(spec, "set5"),
                _psnr(spec, "set14"),
                spec.description or _UNKNOWN,
            )
        )
    return found


def table(entries: Sequence[Entry], width: int | None) -> str:
    """Return the list for a terminal of `width` columns; None: as wide as it gets."""
    cells = rows(entries)
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEADS))]
    figures = sum(widths[:-1]) + 2 * (len(widths) - 2)
    if width is None or figures + 2 + widths[-1] <= width:
        return "\n".join(_line(row, widths) for row in cells)
    if figures <= width:
        lines = [_line(cells[0][:-1], widths)]
        for row in cells[1:]:
            lines += [_line(row[:-1], widths), f"  {_cut(row[-1], width - 2)}"]
        return "\n".join(lines)
    lines = []
    for mark, name, _, kind, parameters, size, kmac, speed, int8, set5, set14, told in cells[1:]:
        lines += [
            f"{mark:1} {name}",
            f"  {kind}, {speed} ({kmac} kMAC/px)",
            f"  {parameters} parameters, {size}{', int8' if int8 == 'yes' else ''}",
            f"  Set5 {set5}, Set14 {set14} dB",
            f"  {told}",
        ]
    return "\n".join(_cut(line, width) for line in lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.rjust(wide) if head in _RIGHT else cell.ljust(wide)
        for cell, head, wide in zip(row, _HEADS, widths, strict=False)
    ]
    return f"{cells[0]:1} {'  '.join(cells[1:])}".rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(1, width) - 1]}…"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _psnr(spec: ModelSpec, name: str) -> str:
    value = spec.quality.get(name, {}).get("psnr_y_float")
    return _UNKNOWN if value is None else f"{value:.2f}"
