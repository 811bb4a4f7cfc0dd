"""Writing measured quality into model cards, so that nobody types figures.

A folder of pictures makes the table ``quality.<folder>``; a clip makes one table for each quality,
``quality."video/<clip>/crf23"`` for x264, ``.../x265-veryfast-crf23`` for another encoder or preset, and
``.../uncompressed``. Where it is not the network's own, the scale stands behind the name: ``set5@3x``.
Before those of an int8 file stands ``int8/``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vidsr.errors import OptionsError, OutputError
from vidsr.evaluation.pictures import BICUBIC, PictureScore
from vidsr.evaluation.scores import ClipScores, Coding, Point
from vidsr.models.card import write_card
from vidsr.models.lookup import Model

__all__ = ["check_card", "note_quality", "picture_figures", "point_figures", "point_key"]


def check_card(model: Model) -> None:
    """Check that a model has a card which can be written.

    Raises:
        OptionsError: It has none.
        OutputError: Its folder cannot be written.
    """
    card = model.path.parent / f"{model.spec.id}.toml"
    if not card.is_file():
        hint = "leave --write-card out, or write a card for it first (CONTRIBUTING.md)"
        raise OptionsError(f"this file has no card {card.name} beside it", path=model.path, hint=hint)
    if not os.access(card.parent, os.W_OK):
        raise OutputError("cannot write here", path=card, hint="leave --write-card out, or copy the model")


def note_quality(
    name: str,
    model: Model,
    pictures: Mapping[str, PictureScore],
    clips: Sequence[ClipScores],
    coding: Coding,
) -> Path:
    """Put figures into a model's card, beside those of other sets, and return the card's path.

    Args:
        name: What the model is called in the scores.
        model: Whose card it is.
        pictures: The means over each folder, by its name.
        clips: Scores of clips.
        coding: How the clips were coded, and how many times all was shrunk.
    """
    own = (model.spec.input, model.spec.scale) == ("low", coding.scale)
    scale = "" if own else f"@{coding.scale}x"
    stored = "" if model.precision == "f32" else f"{model.precision}/"
    quality = dict(model.spec.quality)
    for folder, mean in pictures.items():
        quality[f"{stored}{folder.lower()}{scale}"] = picture_figures(mean, name)
    for clip in clips:
        for point in clip.points:
            key = stored + point_key(f"{clip.name}{scale}", point.crf, coding)
            quality[key] = point_figures(point, name) | {"frames": float(clip.frames)}
    return write_card(replace(model.spec, quality=quality), model.path.parent)


def point_key(clip: str, crf: float | None, coding: Coding) -> str:
    """Return the name of a clip's table at one quality, such as ``video/friday/crf23``."""
    if crf is None:
        return f"video/{clip}/uncompressed"
    codec = "" if coding.codec == "libx264" else coding.codec.removeprefix("lib")
    preset = "" if coding.preset == "medium" else coding.preset
    return f"video/{clip}/{'-'.join(filter(None, (codec, preset, f'crf{crf:g}')))}"


def picture_figures(mean: PictureScore, name: str) -> dict[str, float]:
    """Return a model's figures on a folder of pictures as a card holds them; see `pictures`."""
    exact, planes, bicubic = mean.float[name], mean.planes[name], mean.float[BICUBIC]
    return {
        "psnr_y_bicubic": round(bicubic.psnr_y, 3),
        "ssim_y_bicubic": round(bicubic.ssim_y, 4),
        "psnr_y_float": round(exact.psnr_y, 3),
        "ssim_y_float": round(exact.ssim_y, 4),
        "psnr_y_planes": round(planes.psnr_y, 3),
        "ssim_y_planes": round(planes.ssim_y, 4),
    }


def point_figures(point: Point, name: str) -> dict[str, float]:
    """Return a model's figures on a clip at one quality as a card holds them.

    Beside each metric stands what Lanczos is better or worse by, and beside PSNR the same for bicubic.
    ``bits_per_pixel``, of the compressed small frames, is 0 where they were not compressed.
    """
    own, lanczos, bicubic = point.figures[name], point.figures["lanczos"], point.figures["bicubic"]
    found = {
        "bits_per_pixel": round(point.bits_per_pixel or 0.0, 5),
        "psnr_y": round(own.psnr_y, 3),
        "psnr_y_over_lanczos": round(own.psnr_y - lanczos.psnr_y, 3),
        "psnr_y_over_bicubic": round(own.psnr_y - bicubic.psnr_y, 3),
        "ssim_y": round(own.ssim_y, 4),
        "ssim_y_over_lanczos": round(own.ssim_y - lanczos.ssim_y, 4),
        "xpsnr_y": round(own.xpsnr_y, 3),
        "xpsnr_y_over_lanczos": round(own.xpsnr_y - lanczos.xpsnr_y, 3),
    }
    if own.vmaf is not None and lanczos.vmaf is not None:
        found |= {"vmaf": round(own.vmaf, 2), "vmaf_over_lanczos": round(own.vmaf - lanczos.vmaf, 2)}
    return found
