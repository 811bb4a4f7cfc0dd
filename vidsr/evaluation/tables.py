"""Scores in words and columns: tables, and means over clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidsr.evaluation.pictures import PictureScore
from vidsr.evaluation.scores import FILTERS, ClipScores, Coding, Figures, Point, crf_label
from vidsr.evaluation.verdicts import AutoVerdict, over_filters

__all__ = [
    "METRICS",
    "Table",
    "auto_table",
    "clip_table",
    "describe_coding",
    "gain_table",
    "markdown",
    "mean_clip",
    "picture_table",
]

METRICS = {"psnr_y": ("PSNR-Y", 3), "ssim_y": ("SSIM-Y", 4), "xpsnr_y": ("XPSNR-Y", 3), "vmaf": ("VMAF", 2)}
"""Field of `Figures` -> its name in tables and decimals."""

Table = list[list[str]]
"""Rows of cells; the first row is the heading."""


def mean_clip(clips: Sequence[ClipScores]) -> ClipScores:
    """Return the means over clips that were coded alike; its size and rate mean nothing."""
    points = []
    for column in zip(*(clip.points for clip in clips), strict=True):
        methods = column[0].figures
        figures = {name: _mean_figures([p.figures[name] for p in column]) for name in methods}
        bits = _mean([p.bits_per_pixel for p in column])
        points.append(Point(column[0].crf, bits, _mean([p.kilobits for p in column]), None, figures))
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
    rows = [["", "bits/px", "kbit/s", "QP", "", *methods]]
    for point in clip.points:
        seen = point.compression
        coded = [
            "" if point.bits_per_pixel is None else f"{point.bits_per_pixel:.4f}",
            "" if point.kilobits is None else f"{point.kilobits:.0f}",
            "" if not seen or seen.quantiser is None else f"{seen.quantiser:.0f}",
        ]
        lead = [crf_label(point.crf), *coded]
        for field, (name, digits) in METRICS.items():
            if getattr(point.figures["lanczos"], field) is None:
                continue
            base = getattr(point.figures["lanczos"], field)
            cells = [_cell(getattr(point.figures[m], field), base, digits, m in FILTERS) for m in methods]
            rows.append([*lead, name, *cells])
            lead = [""] * 4
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
    return (
        f"shrunk {coding.scale} times, coded by {coder}, enlarged and compared on luma without cutting a"
        f" border; PSNR is the mean of the frames' dB, SSIM of {every}; behind a model's figure stands"
        " its gain over Lanczos"
    )


def gain_table(clips: Sequence[ClipScores], model: str) -> Table:
    """Return a model's dB of PSNR-Y over the better filter: clips by qualities, then means."""
    gains = [[over_filters(point, model) for point in clip.points] for clip in clips]
    rows = [["", *(crf_label(point.crf) for point in clips[0].points)]]
    rows += [[clip.name, *(f"{gain:+.3f}" for gain in row)] for clip, row in zip(clips, gains, strict=True)]
    if len(clips) > 1:
        rows.append(["mean", *(f"{np.mean(column):+.3f}" for column in zip(*gains, strict=True))])
    return rows


def auto_table(auto: AutoVerdict) -> Table:
    """Return the model that `auto` takes: clips by qualities."""
    first = next(iter(auto.takes.values()))
    return [["", *first], *([clip, *row.values()] for clip, row in auto.takes.items())]


def markdown(table: Table) -> str:
    """Return a table as Markdown that lines up: the first column to the left, the others to the right."""
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        lines.append(f"| {' | '.join(cells)} |")
    rule = [f"{'-' * (width - 1)}:" for width in widths]
    rule[0] = "-" * widths[0]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)
