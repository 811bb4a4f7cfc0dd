"""Scores in words and columns: tables, means over clips, and a verdict on each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidsr.evaluation.clips import FILTERS, ClipScores, Coding, Figures, Point
from vidsr.evaluation.pictures import PictureScore

__all__ = [
    "METRICS",
    "Verdict",
    "clip_table",
    "crf_label",
    "describe_coding",
    "judge",
    "mean_clip",
    "picture_table",
    "text",
]

METRICS = {"psnr_y": ("PSNR-Y", 3), "ssim_y": ("SSIM-Y", 4), "xpsnr_y": ("XPSNR-Y", 3), "vmaf": ("VMAF", 2)}
"""Field of `Figures` -> its name in tables and decimals."""

Table = list[list[str]]
"""Rows of cells; the first row is the heading."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a model stands against the filters over all clips and qualities, PSNR-Y in dB."""

    model: str
    points: int
    behind: int
    """Points at which the better filter is ahead."""
    smallest_gain: float
    """Over the better filter."""
    smallest_at: tuple[str, float | None]
    """Clip and crf of that."""
    mean_over_lanczos: dict[str, float]
    """By `crf_label`."""

    def __str__(self) -> str:
        """Return one line."""
        if self.behind:
            standing = f"BEHIND a filter at {self.behind} of {self.points} points"
        else:
            standing = f"ahead of both filters at all {self.points} points"
        clip, crf = self.smallest_at
        means = ", ".join(f"{label} {gain:+.3f}" for label, gain in self.mean_over_lanczos.items())
        return (
            f"{self.model}: {standing}; smallest gain over the better of bicubic and Lanczos"
            f" {self.smallest_gain:+.3f} dB ({clip}, {crf_label(crf)}); mean gain over Lanczos: {means}"
        )


def crf_label(crf: float | None) -> str:
    """Return "crf 23", or "uncompressed" for None."""
    return "uncompressed" if crf is None else f"crf {crf:g}"


def judge(clips: Sequence[ClipScores], models: Sequence[str]) -> list[Verdict]:
    """Return a verdict on each model; all clips have the same qualities."""
    return [_judge(clips, name) for name in models]


def _judge(clips: Sequence[ClipScores], model: str) -> Verdict:
    gains = []
    over_lanczos: dict[str, list[float]] = {}
    for clip in clips:
        for point in clip.points:
            own = point.figures[model].psnr_y
            best = max(point.figures[name].psnr_y for name in FILTERS)
            gains.append((own - best, (clip.name, point.crf)))
            over_lanczos.setdefault(crf_label(point.crf), []).append(own - point.figures["lanczos"].psnr_y)
    smallest, where = min(gains, key=lambda pair: pair[0])
    means = {label: float(np.mean(values)) for label, values in over_lanczos.items()}
    return Verdict(model, len(gains), sum(gain < 0 for gain, _ in gains), smallest, where, means)


def mean_clip(clips: Sequence[ClipScores]) -> ClipScores:
    """Return the means over clips that were coded alike; its size and rate mean nothing."""
    points = []
    for column in zip(*(clip.points for clip in clips), strict=True):
        methods = column[0].figures
        figures = {name: _mean_figures([p.figures[name] for p in column]) for name in methods}
        bits = _mean([p.bits_per_pixel for p in column])
        points.append(Point(column[0].crf, bits, _mean([p.kilobits for p in column]), figures))
    frames = sum(clip.frames for clip in clips)
    return ClipScores(f"mean of {len(clips)} clips", (0, 0), frames, 0.0, tuple(points))


def _mean_figures(figures: Sequence[Figures]) -> Figures:
    psnr_y, ssim_y, xpsnr_y = (
        float(np.mean([getattr(f, name) for f in figures])) for name in ("psnr_y", "ssim_y", "xpsnr_y")
    )
    return Figures(psnr_y, ssim_y, xpsnr_y, _mean([f.vmaf for f in figures]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def clip_table(clip: ClipScores) -> Table:
    """Return a clip's figures, a row for each quality and metric; models with their gain over Lanczos."""
    methods = list(clip.points[0].figures)
    rows = [["", "bits/px", "kbit/s", "", *methods]]
    for point in clip.points:
        coded = [
            "" if point.bits_per_pixel is None else f"{point.bits_per_pixel:.4f}",
            "" if point.kilobits is None else f"{point.kilobits:.0f}",
        ]
        lead = [crf_label(point.crf), *coded]
        for field, (name, digits) in METRICS.items():
            if getattr(point.figures["lanczos"], field) is None:
                continue
            base = getattr(point.figures["lanczos"], field)
            cells = [_cell(getattr(point.figures[m], field), base, digits, m in FILTERS) for m in methods]
            rows.append([*lead, name, *cells])
            lead = ["", "", ""]
    return rows


def _cell(value: float, base: float, digits: int, plain: bool) -> str:
    return f"{value:.{digits}f}" if plain else f"{value:.{digits}f} {value - base:+.{digits}f}"


def picture_table(scores: Sequence[PictureScore]) -> Table:
    """Return a folder's figures, a row for each picture; dB, and SSIM after the slash."""
    methods, models = list(scores[0].float), list(scores[0].planes)
    rows = [["picture", *(m if m not in models else f"{m} float" for m in methods)]]
    rows[0] += [f"{m} planes" for m in models]
    for score in scores:
        figures = [score.float[m] for m in methods] + [score.planes[m] for m in models]
        rows.append([score.picture, *(f"{f.psnr_y:.3f} / {f.ssim_y:.4f}" for f in figures)])
    return rows


def describe_coding(coding: Coding) -> str:
    """Return how clips were coded and measured, in a sentence or two."""
    coder = f"{coding.codec}{f' {coding.preset}' if coding.preset else ''}"
    every = "every frame" if coding.every == 1 else f"one frame of {coding.every}"
    slow = "SSIM and VMAF" if coding.vmaf else "SSIM"
    return (
        f"shrunk {coding.scale} times, coded by {coder}, enlarged and compared on luma without cutting a"
        f" border; PSNR is the mean of the frames' dB, {slow} of {every}; behind a model's figure stands"
        " its gain over Lanczos"
    )


def text(table: Table, *, indent: str = "  ") -> str:
    """Return a table as lines of text: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)
