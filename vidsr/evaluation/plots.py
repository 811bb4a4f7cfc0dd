"""Curves of scores as PNG pictures, one for light pages and one for dark ones."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidsr.errors import OptionsError
from vidsr.evaluation.scores import FILTERS, ClipScores

__all__ = ["Plot", "check_plots", "plot_clip"]

_COLOURS = ("#1f77b4", "#d95f02", "#2ca02c", "#c2388f", "#8c6bb1", "#b8860b", "#17a2b8", "#d62728")
_FILTER_STYLES = {"bicubic": ":", "lanczos": "--"}


@dataclass(frozen=True, slots=True)
class Plot:
    """The same curves twice, on transparent ground."""

    light: bytes
    """PNG with dark lines and words, for a light page."""
    dark: bytes


def check_plots() -> None:
    """Check, without importing anything, that curves can be drawn.

    Raises:
        OptionsError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionsError(
            "--report draws with matplotlib, which is not installed", hint="run: pip install 'vidsr[report]'"
        )


def plot_clip(clip: ClipScores, models: Sequence[str]) -> Plot:
    """Draw a clip's PSNR-Y against bits a pixel, and the gain over Lanczos at each quality.

    A mean over clips is drawn the same way. What was not compressed has no bits and only a gain.
    """
    return Plot(_draw(clip, models, "#202020"), _draw(clip, models, "#d8d8d8"))


def _draw(clip: ClipScores, models: Sequence[str], ink: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.3), layout="constrained")
    coded = sorted((p for p in clip.points if p.bits_per_pixel), key=lambda p: p.bits_per_pixel or 0)
    colours = dict(zip(models, _COLOURS * (1 + len(models) // len(_COLOURS)), strict=False))
    places = range(len(clip.points))
    right: Any = figure.add_subplot(1, 2, 2) if coded else figure.add_subplot()
    for name in models:
        gains = [p.figures[name].psnr_y - p.figures["lanczos"].psnr_y for p in clip.points]
        right.plot(places, gains, "o-", color=colours[name], markersize=4, label=name)
    gains = [p.figures["bicubic"].psnr_y - p.figures["lanczos"].psnr_y for p in clip.points]
    right.plot(places, gains, color=ink, linestyle=_FILTER_STYLES["bicubic"], linewidth=1, label="bicubic")
    right.axhline(0, color=ink, linestyle=_FILTER_STYLES["lanczos"], linewidth=1, label="lanczos")
    labels = ["none" if p.crf is None else f"{p.crf:g}" for p in clip.points]
    right.set_xticks(places, labels)
    right.set(xlabel="crf", ylabel="PSNR-Y over Lanczos, dB")
    axes = [right]
    if coded:
        left: Any = figure.add_subplot(1, 2, 1)
        bits = [p.bits_per_pixel for p in coded]
        for name in [*FILTERS, *models]:
            style = _FILTER_STYLES.get(name)
            values = [p.figures[name].psnr_y for p in coded]
            if style:
                left.plot(bits, values, color=ink, linestyle=style, linewidth=1)
            else:
                left.plot(bits, values, "o-", color=colours[name], markersize=4)
        left.set(xlabel="bits a pixel of the small frames", ylabel="PSNR-Y, dB", xscale="log")
        left.set_xticks(bits, [f"{p.bits_per_pixel:.2g}\ncrf {p.crf:g}" for p in coded])
        left.set_xticks([], minor=True)
        axes.append(left)
    for axis in axes:
        _ink(axis, ink)
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, labelcolor=ink
    )
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, transparent=True, metadata={"Software": None})
    return file.getvalue()


def _ink(axis: Any, ink: str) -> None:
    axis.grid(color=ink, alpha=0.18, linewidth=0.6)
    axis.tick_params(which="both", colors=ink)
    axis.xaxis.label.set_color(ink)
    axis.yaxis.label.set_color(ink)
    for spine in axis.spines.values():
        spine.set_color(ink)
