"""Measuring a model on folders of pictures, by the protocol of the published tables.

A picture is shrunk by `vidsr.evaluation.bicubic`, enlarged by the model, and compared on BT.601 luma
without a border of `scale` pixels. Three inputs are told apart, because they differ by 0.1 dB:

* float: unrounded luma in, unrounded luma out (for RGB networks: uint8 RGB in and out), as published;
* planes: rounded luma in and out, through the very graph that video goes through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.base import Backend
from vidsr.evaluation.bicubic import crop_to_multiple, downscale, upscale
from vidsr.evaluation.metrics import luma_bt601, psnr, shave, ssim
from vidsr.frame import ColorRange, Matrix, PixelFormat
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.still import find_pictures, read_picture

__all__ = ["Score", "evaluate_pictures", "mean_scores"]

FloatRunner = Callable[[Model, NDArray[np.float32]], NDArray[np.float32]]
"""Runs an interchange graph on [1, C, H, W] in 0..1."""


@dataclass(frozen=True, slots=True)
class Score:
    """One picture's figures, or the means over a folder."""

    picture: str
    psnr_y_bicubic: float
    """dB, of bicubic interpolation."""
    psnr_y_float: float
    """dB, see the module."""
    ssim_y_float: float
    psnr_y_planes: float
    """dB, see the module."""


def evaluate_pictures(
    model: Model, folder: Path, backend: Backend, options: UpscalerOptions, run_float: FloatRunner
) -> list[Score]:
    """Return a score for each picture in `folder`.

    Raises:
        SourceError: The folder is missing or empty.
        BackendError: The backend cannot run the model.
    """
    scale = model.spec.scale
    scores = []
    for path in find_pictures([folder]):
        high = crop_to_multiple(read_picture(path), scale)
        low = downscale(high, scale)
        wanted = shave(luma_bt601(high), scale)
        plain = np.clip(upscale(luma_bt601(low), scale), 0, 255)
        if model.spec.channels == 1:
            made = _float_luma(model, low, run_float)
            planes = _planes_luma(model, low, backend, options)
        else:
            made = planes = _rgb(model, low, backend, options)
        scores.append(
            Score(
                path.stem,
                psnr(shave(plain, scale), wanted),
                psnr(shave(made, scale), wanted),
                ssim(shave(made, scale), wanted),
                psnr(shave(planes, scale), wanted),
            )
        )
    return scores


def mean_scores(scores: list[Score], name: str) -> Score:
    """Return the mean of each figure, as the tables give it."""
    columns = ("psnr_y_bicubic", "psnr_y_float", "ssim_y_float", "psnr_y_planes")
    return Score(name, *(float(np.mean([getattr(s, c) for s in scores])) for c in columns))


def _float_luma(model: Model, low: NDArray[np.uint8], run: FloatRunner) -> NDArray[np.float64]:
    x = (luma_bt601(low) / 255).astype(np.float32)[None, None]
    made: NDArray[np.float64] = run(model, x)[0, 0].astype(np.float64)
    return np.asarray(np.clip(made, 0, 1) * 255, dtype=np.float64)


def _planes_luma(
    model: Model, low: NDArray[np.uint8], backend: Backend, options: UpscalerOptions
) -> NDArray[np.float64]:
    y = np.rint(luma_bt601(low)).astype(np.uint8)
    layout = PixelFormat.parse("gray")
    return _through(model, FrameFormat(layout), (y,), backend, options)[0].astype(np.float64)


def _rgb(
    model: Model, low: NDArray[np.uint8], backend: Backend, options: UpscalerOptions
) -> NDArray[np.float64]:
    frame_format = FrameFormat(PixelFormat.parse("gbrp"), Matrix.RGB, ColorRange.FULL)
    gbr = tuple(np.ascontiguousarray(low[..., c]) for c in (1, 2, 0))
    green, blue, red = _through(model, frame_format, gbr, backend, options)
    return luma_bt601(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def _through(
    model: Model,
    frame_format: FrameFormat,
    src: tuple[NDArray[np.uint8], ...],
    backend: Backend,
    options: UpscalerOptions,
) -> tuple[NDArray[np.generic], ...]:
    height, width = src[0].shape
    scale = model.spec.scale
    dst = frame_format.pixel_format.allocate(width * scale, height * scale)
    with Upscaler(model, frame_format, width, height, backend, options) as upscaler:
        upscaler.submit(src, dst).result()
    return dst
