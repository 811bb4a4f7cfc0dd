"""Frames for graphs, and what a typed graph says of itself."""

from __future__ import annotations

import numpy as np
import onnx

from vidsr.frame import PixelFormat, Planes
from vidsr.models import FrameFormat, Model, list_models
from vidsr.models.half import TypedGraph

MODELS = {model.spec.id: model for model in list_models()}


def form(name: str, chroma: str = "bicubic") -> FrameFormat:
    return FrameFormat(PixelFormat.parse(name), chroma=chroma)  # type: ignore[arg-type]


def model(name: str) -> Model:
    return MODELS[name]


def frame(pixels: PixelFormat, width: int, height: int, seed: int = 0) -> Planes:
    """Waves and noise over the whole range of codes."""
    rng = np.random.default_rng(seed)
    made = []
    for shape in pixels.plane_shapes(width, height):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.45 * np.sin(rows / 5.1) * np.cos(columns / 7.3)
        made.append(((wave + rng.normal(0, 0.05, shape)).clip(0, 1) * pixels.peak).astype(pixels.dtype))
    return tuple(made)


def psnr(one: Planes, other: Planes, peak: int) -> float:
    """PSNR in dB of codes over all planes, each counted by its samples; 200 for equal ones."""
    squares = [((a.astype(np.float64) - b) ** 2).ravel() for a, b in zip(one, other, strict=True)]
    error = float(np.concatenate(squares).mean())
    return 200.0 if error == 0 else float(10 * np.log10(peak**2 / error))


def farthest(one: Planes, other: Planes) -> int:
    """The largest difference in codes."""
    return max(int(np.abs(a.astype(np.int64) - b).max()) for a, b in zip(one, other, strict=True))


def equal(one: Planes, other: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def proto(typed: TypedGraph) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(typed.model_bytes)
