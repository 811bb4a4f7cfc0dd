"""Measuring models on folders of pictures, by the protocol of the published tables.

A picture is shrunk by `vidsr.evaluation.bicubic`, enlarged by each model, and compared on BT.601 luma
without a border of `scale` pixels. Two inputs are told apart, because they differ by 0.1 dB:

* float: unrounded luma in, unrounded luma out, as published (for RGB networks uint8 RGB in and out, for those
  that work at the target's size or at another scale the same as planes);
* planes: rounded luma in and out, through the very graph that video goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.base import Backend
from vidsr.evaluation.bicubic import crop_to_multiple, downscale, upscale
from vidsr.evaluation.metrics import luma_bt601, psnr, shave, ssim
from vidsr.evaluation.through import opened
from vidsr.frame import ColorRange, Matrix, PixelFormat
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.upscaler import UpscalerOptions
from vidsr.video.still import find_pictures, read_picture

__all__ = ["BICUBIC", "PictureScore", "Score", "evaluate_pictures", "mean_score"]

BICUBIC = "bicubic"
"""The name of what every model is compared with."""

FloatRunner = Callable[[Model, NDArray[np.float32]], NDArray[np.float32]]
"""Runs an interchange graph on [1, C, H, W] in 0..1."""

PictureWatcher = Callable[[str, NDArray[np.float64], Mapping[str, NDArray[np.float64]]], None]
"""Sees a picture's name, its luma [H, W] in 0..255, and what each method made of it."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a method makes of a picture, or the means over a folder."""

    psnr_y: float
    """dB."""
    ssim_y: float


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One picture's figures, or the means over a folder."""

    picture: str
    float: dict[str, Score]
    """By method: `BICUBIC`, then the models."""
    planes: dict[str, Score]
    """By model."""


def evaluate_pictures(
    models: Mapping[str, Model],
    folder: Path,
    scale: int,
    backend: Backend,
    options: UpscalerOptions,
    run_float: FloatRunner,
    *,
    watcher: PictureWatcher = lambda *_: None,
) -> list[PictureScore]:
    """Return a score for each picture in `folder`.

    Args:
        models: By the name that they get in the scores; all of `scale`, or for any.
        folder: With pictures, in it or below.
        scale: How many times smaller the pictures are made.
        backend: What the planes go through.
        options: How that runs.
        run_float: Runs a model on unrounded values.
        watcher: Sees what comes of the 'planes'.

    Raises:
        SourceError: The folder is missing or empty.
        OptionsError: A picture is too small.
        BackendError: The backend cannot run a model.
    """
    scores = []
    for path in find_pictures([folder]):
        high = crop_to_multiple(read_picture(path), scale)
        low = downscale(high, scale)
        wanted = luma_bt601(high)
        plain = np.clip(upscale(luma_bt601(low), scale), 0, 255)
        made, planes = {BICUBIC: plain}, {}
        for name, model in models.items():
            if model.spec.channels == 3:
                made[name] = planes[name] = _rgb(model, low, scale, backend, options)
                continue
            made[name] = planes[name] = _planes_luma(model, low, scale, backend, options)
            if (model.spec.input, model.spec.scale) == ("low", scale):
                made[name] = _float_luma(model, low, run_float)
        watcher(path.stem, wanted, {BICUBIC: plain, **planes})
        scores.append(PictureScore(path.stem, _all(made, wanted, scale), _all(planes, wanted, scale)))
    return scores


def mean_score(scores: list[PictureScore], name: str = "mean") -> PictureScore:
    """Return the mean of each figure, as the tables give it."""
    first = scores[0]
    return PictureScore(
        name,
        {method: _mean(score.float[method] for score in scores) for method in first.float},
        {method: _mean(score.planes[method] for score in scores) for method in first.planes},
    )


def _mean(scores: Iterable[Score]) -> Score:
    psnrs, ssims = zip(*((score.psnr_y, score.ssim_y) for score in scores), strict=True)
    return Score(float(np.mean(psnrs)), float(np.mean(ssims)))


def _all(
    made: Mapping[str, NDArray[np.float64]], wanted: NDArray[np.float64], border: int
) -> dict[str, Score]:
    inner = shave(wanted, border)
    return {
        name: Score(psnr(shave(luma, border), inner), ssim(shave(luma, border), inner))
        for name, luma in made.items()
    }


def _float_luma(model: Model, low: NDArray[np.uint8], run: FloatRunner) -> NDArray[np.float64]:
    x = (luma_bt601(low) / 255).astype(np.float32)[None, None]
    made: NDArray[np.float64] = run(model, x)[0, 0].astype(np.float64)
    return np.asarray(np.clip(made, 0, 1) * 255, dtype=np.float64)


def _planes_luma(
    model: Model, low: NDArray[np.uint8], scale: int, backend: Backend, options: UpscalerOptions
) -> NDArray[np.float64]:
    y = np.rint(luma_bt601(low)).astype(np.uint8)
    frame_format = FrameFormat(PixelFormat.parse("gray"))
    with opened(model, frame_format, y.shape[1], y.shape[0], scale, backend, options) as enlarge:
        return enlarge((y,))[0].astype(np.float64)


def _rgb(
    model: Model, low: NDArray[np.uint8], scale: int, backend: Backend, options: UpscalerOptions
) -> NDArray[np.float64]:
    frame_format = FrameFormat(PixelFormat.parse("gbrp"), Matrix.RGB, ColorRange.FULL)
    gbr = tuple(np.ascontiguousarray(low[..., c]) for c in (1, 2, 0))
    with opened(model, frame_format, low.shape[1], low.shape[0], scale, backend, options) as enlarge:
        green, blue, red = enlarge(gbr)
    return luma_bt601(cast("NDArray[np.uint8]", np.stack([red, green, blue], axis=-1)))
