"""How models stand against the filters, and `auto` against the better model, over all clips and qualities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidsr.choice import kind_for
from vidsr.evaluation.scores import FILTERS, ClipScores, Point, crf_label
from vidsr.evaluation.sources import Kind

__all__ = ["AutoVerdict", "Verdict", "auto_takes", "judge", "judge_auto", "over_filters"]


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


@dataclass(frozen=True, slots=True)
class AutoVerdict:
    """How well `auto` chooses between the model for clean and the one for compressed sources."""

    takes: dict[str, dict[str, str]]
    """By clip, then by `crf_label`: the model."""
    only: str | None
    """The model, where there is but one to choose from."""
    points: int
    largest_loss: float
    """PSNR-Y in dB, to the better of the two."""
    largest_at: tuple[str, float | None]
    """Clip and crf of that."""

    def __str__(self) -> str:
        """Return one line."""
        clip, crf = self.largest_at
        if self.only:
            return f"auto: {self.only} is all there is to choose from at this scale"
        return (
            f"auto: at most {self.largest_loss:.3f} dB behind the better of its two models, over"
            f" {self.points} points ({clip}, {crf_label(crf)})"
        )


def judge(clips: Sequence[ClipScores], models: Sequence[str]) -> list[Verdict]:
    """Return a verdict on each model, none without clips; all clips have the same qualities."""
    return [_judge(clips, name) for name in models] if clips else []


def over_filters(point: Point, model: str) -> float:
    """Return by how many dB of PSNR-Y a model is ahead of the better filter."""
    return point.figures[model].psnr_y - max(point.figures[name].psnr_y for name in FILTERS)


def _judge(clips: Sequence[ClipScores], model: str) -> Verdict:
    gains = []
    over_lanczos: dict[str, list[float]] = {}
    for clip in clips:
        for point in clip.points:
            gains.append((over_filters(point, model), (clip.name, point.crf)))
            gain = point.figures[model].psnr_y - point.figures["lanczos"].psnr_y
            over_lanczos.setdefault(crf_label(point.crf), []).append(gain)
    smallest, where = min(gains, key=lambda pair: pair[0])
    means = {label: float(np.mean(values)) for label, values in over_lanczos.items()}
    return Verdict(model, len(gains), sum(gain < 0 for gain, _ in gains), smallest, where, means)


def auto_takes(point: Point, automatic: Mapping[Kind, str]) -> str:
    """Return the model that `auto` takes for a clip at one quality."""
    kind, _ = kind_for(point.compression)
    return automatic[kind]


def judge_auto(clips: Sequence[ClipScores], automatic: Mapping[Kind, str]) -> AutoVerdict | None:
    """Return a verdict on `auto`, None if it was not measured or there are no clips.

    Args:
        clips: Their scores.
        automatic: What it takes for each kind of source; empty: it was not measured.
    """
    if not clips or not automatic:
        return None
    takes: dict[str, dict[str, str]] = {}
    losses = []
    for clip in clips:
        for point in clip.points:
            taken = auto_takes(point, automatic)
            takes.setdefault(clip.name, {})[crf_label(point.crf)] = taken
            best = max(point.figures[name].psnr_y for name in automatic.values())
            losses.append((best - point.figures[taken].psnr_y, (clip.name, point.crf)))
    largest, where = max(losses, key=lambda pair: pair[0])
    only = taken if len(set(automatic.values())) == 1 else None
    return AutoVerdict(takes, only, len(losses), largest, where)
