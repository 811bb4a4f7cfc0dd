"""Writing measured quality into model cards, so that nobody types figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vidsr.evaluation.pictures import Score
from vidsr.models.card import write_card
from vidsr.models.lookup import Model

__all__ = ["note_quality"]


def note_quality(model: Model, means: Mapping[str, Score]) -> Path:
    """Put each folder's mean figures into the model's card, and return the card's path."""
    quality = dict(model.spec.quality)
    for name, score in means.items():
        quality[name.lower()] = {
            "psnr_y_bicubic": round(score.psnr_y_bicubic, 3),
            "psnr_y_float": round(score.psnr_y_float, 3),
            "ssim_y_float": round(score.ssim_y_float, 4),
            "psnr_y_planes": round(score.psnr_y_planes, 3),
        }
    return write_card(replace(model.spec, quality=quality), model.path.parent)
