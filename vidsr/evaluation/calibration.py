"""Making int8 graphs: calibration on patches of training pictures, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.openvino import run_graph
from vidsr.errors import OptionsError, SourceError
from vidsr.evaluation.bicubic import downscale
from vidsr.evaluation.metrics import luma_bt601
from vidsr.models.equalise import equalisable, equalised
from vidsr.models.quantised import F32, Codes, Layer, Quantised, quantisable, quantised_graph, with_outputs
from vidsr.models.rounding import best_codes, fitted_layer, moments_of
from vidsr.video.still import find_pictures, read_picture

if TYPE_CHECKING:
    import onnx

    from vidsr.models.lookup import Model

__all__ = ["Patches", "calibrated", "cut_patches", "errors_of", "results_of", "training_folders"]

_AT_ONCE = 64
_FINEST = (1 / 255) ** 2
"""Mean square error of a patch below which a smaller one makes no difference any more."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Pieces of pictures, in 0..1."""

    low: F32
    """[N, 1, side, side]: what a network gets."""
    high: F32
    """[N, 1, side * scale, side * scale]: what it was shrunk from."""

    def some(self, count: int) -> Patches:
        """Return so many of them, taken evenly."""
        keep = np.linspace(0, len(self.low) - 1, min(count, len(self.low))).astype(int)
        return Patches(self.low[keep], self.high[keep])


def training_folders(model: Model, data: Path, without: Sequence[str] = ()) -> list[Path]:
    """Return those of the folders a model was trained on that are used as they are, in `data`.

    Args:
        model: Its card names them.
        data: What they are relative to.
        without: Those that are left out, as the card names them.

    Raises:
        OptionsError: There are none, or what is left out is none of them.
    """
    folders = [s.folder for s in model.spec.training.sources if "(" not in s.folder]
    for name in without:
        if name not in folders:
            raise OptionsError(
                f"{model.spec.id} was not trained on '{name}'", hint=f"its card names {', '.join(folders)}"
            )
        folders.remove(name)
    if not folders:
        raise OptionsError(
            "its card names no training pictures", path=model.path, hint="write them into the card"
        )
    return [data / folder for folder in folders]


def cut_patches(folders: Sequence[Path], scale: int, *, count: int = 1600, side: int = 64) -> Patches:
    """Return luma patches of pictures, about as many of each, every other one softened.

    Equal folders give equal patches.

    Raises:
        SourceError: There are no pictures, or none that is large enough.
    """
    paths = find_pictures(folders)
    places = np.random.default_rng(0)
    low: list[F32] = []
    high: list[F32] = []
    for i, path in enumerate(paths):
        wanted = count * (i + 1) // len(paths) - count * i // len(paths)
        if not wanted:
            continue
        picture = read_picture(path)
        if min(picture.shape[:2]) < side * scale:
            continue
        for _ in range(wanted):
            y, x = (int(places.integers(0, n - side * scale + 1)) for n in picture.shape[:2])
            piece = picture[y : y + side * scale, x : x + side * scale]
            if len(low) % 2:
                piece = _softened(piece)
            high.append(_luma(piece))
            low.append(_luma(downscale(piece, scale)))
    if not low:
        raise SourceError(
            f"there is no picture of {side * scale} pixels a side", path=folders[0], hint="name other folders"
        )
    return Patches(np.stack(low), np.stack(high))


def _softened(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture as lenses and coders of video leave it: by binomial weights over 5 pixels each way."""
    soft = picture.astype(np.float32)
    for axis in (0, 1):
        size = soft.shape[axis]
        edged = np.pad(soft, [(2, 2) if a == axis else (0, 0) for a in range(soft.ndim)], mode="edge")
        shifted = [np.take(edged, range(k, k + size), axis=axis) for k in range(5)]
        soft = sum(
            (w / 16 * one for w, one in zip((1, 4, 6, 4, 1), shifted, strict=True)), np.zeros_like(soft)
        )
    return np.asarray(np.rint(soft), dtype=np.uint8)


def _luma(picture: NDArray[np.uint8]) -> F32:
    """Return [1, H, W]: the codes that video would have."""
    return np.asarray(np.rint(luma_bt601(picture)) / 255, dtype=np.float32)[None]


def results_of(proto: onnx.ModelProto, low: F32) -> F32:
    """Return what a graph makes of patches."""
    pieces = [low[i : i + _AT_ONCE] for i in range(0, len(low), _AT_ONCE)]
    return np.concatenate([next(iter(run_graph(proto, piece).values())) for piece in pieces])


def errors_of(made: F32, patches: Patches) -> NDArray[np.float64]:
    """Return the mean square error of what the f32 network makes of each patch.

    An error of rounding costs decibels by its ratio to this: it counts the more, the better the network is.
    """
    error = np.square(np.clip(made, 0, 1) - patches.high, dtype=np.float64).mean(axis=(1, 2, 3))
    return np.asarray(np.maximum(error, _FINEST), dtype=np.float64)


def calibrated(proto: onnx.ModelProto, patches: Patches, *, equalise: bool = True) -> Quantised:
    """Return the int8 graph of an interchange graph, made without training.

    Each layer's codes are those that round what it gets with the least error; its weights and bias are
    fitted to give, from what the int8 layers before it make, what the layer made in f32.

    Args:
        proto: An interchange graph for luma.
        patches: What it is tried on.
        equalise: Whether channels are evened out first.
    """
    low = patches.low
    weights = 1 / errors_of(results_of(proto, low), patches)
    weights /= weights.mean()
    if equalise and (names := equalisable(proto)):
        proto = equalised(proto, run_graph(with_outputs(proto, names), low), weights)
    windows = quantisable(proto)
    layers: dict[str, Layer] = {}
    codes: dict[str, Codes] = {}
    for window in windows:
        wanted = run_graph(with_outputs(proto, [window.name]), low)[window.name]
        so_far = quantised_graph(proto, layers)
        taken = run_graph(with_outputs(so_far, [window.source]), low)[window.source]
        if window.source not in codes:
            codes[window.source] = best_codes(taken, weights)
        rounded = codes[window.source].rounded(taken)
        moments = moments_of(window, rounded, wanted, weights)
        layers[window.name] = fitted_layer(window, codes[window.source], moments)
    return Quantised(proto, layers)
