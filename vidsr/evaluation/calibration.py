"""Making int8 graphs: calibration on patches of training pictures, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidsr.backends.openvino import run_graph
from vidsr.errors import SourceError
from vidsr.evaluation.bicubic import crop_to_multiple, downscale
from vidsr.evaluation.metrics import luma_bt601
from vidsr.models.equalise import equalisable, equalised
from vidsr.models.quantised import F32, Codes, Layer, quantisable, quantised_graph, with_outputs
from vidsr.models.rounding import best_codes, fitted_layer, moments_of
from vidsr.video.still import find_pictures, read_picture

if TYPE_CHECKING:
    import onnx

__all__ = ["calibrated", "calibration_patches"]

SIDE = 96
COUNT = 48


def calibration_patches(folders: Sequence[Path], scale: int, *, count: int = COUNT, side: int = SIDE) -> F32:
    """Return luma patches [count, 1, side, side] in 0..1, as a network for `scale` sees them.

    The pictures are taken evenly from all that are there, and of each the middle, shrunk; equal
    folders give equal patches.

    Raises:
        SourceError: There are no pictures, or too few that are large enough.
    """
    paths = find_pictures(folders)
    found: list[F32] = []
    for i in np.linspace(0, len(paths) - 1, min(2 * count, len(paths))).astype(int):
        picture = read_picture(paths[i])
        small = downscale(crop_to_multiple(picture, scale), scale)
        height, width = small.shape[:2]
        if min(height, width) < side:
            continue
        y, x = (height - side) // 2, (width - side) // 2
        luma = np.rint(luma_bt601(small[y : y + side, x : x + side])) / 255
        found.append(luma.astype(np.float32)[None])
    if not found:
        raise SourceError(
            f"there is no picture of {side * scale} pixels a side", path=folders[0], hint="name other folders"
        )
    keep = np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)
    return np.stack([found[i] for i in keep])


def calibrated(proto: onnx.ModelProto, patches: F32, *, equalise: bool = True) -> onnx.ModelProto:
    """Return the int8 graph of an interchange graph, made without training.

    Each layer's codes are those that round what it gets with the least error; its weights and bias are
    fitted to give, from what the int8 layers before it make, what the layer made in f32.

    Args:
        proto: An interchange graph for luma.
        patches: As `calibration_patches` gives them.
        equalise: Whether channels are evened out first.
    """
    if equalise and (names := equalisable(proto)):
        proto = equalised(proto, run_graph(with_outputs(proto, names), patches))
    windows = quantisable(proto)
    layers: dict[str, Layer] = {}
    codes: dict[str, Codes] = {}
    for window in windows:
        wanted = run_graph(with_outputs(proto, [window.name]), patches)[window.name]
        so_far = quantised_graph(proto, layers)
        taken = run_graph(with_outputs(so_far, [window.source]), patches)[window.source]
        if window.source not in codes:
            codes[window.source] = best_codes(taken)
        rounded = codes[window.source].rounded(taken)
        moments = moments_of(window, rounded, wanted)
        layers[window.name] = fitted_layer(window, codes[window.source], moments)
    return quantised_graph(proto, layers)
