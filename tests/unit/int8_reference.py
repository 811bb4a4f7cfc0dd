"""An int8 graph of ECBSR in plain integers, written apart from the product, to compare with."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[np.float64]


def _windows(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """[C, H, W], padded with 0, to [H, W, C, 3, 3]."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).transpose(1, 2, 0, 3, 4)


def run_ecbsr(graph: onnx.GraphProto, x: Array, scale: int) -> Array:
    """Return [H * scale, W * scale] for x [H, W]: sums in integers, the rest in float64."""
    w = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer}
    first = np.einsum("hwcij,ocij->ohw", _windows_f(x[None]), w["kernel0"]) + w["bias0"][:, None, None]
    features, layer = first, 0
    while f"slope{layer}" in w:
        features = np.where(features < 0, features * w[f"slope{layer}"], features)
        step, zero = w[f"prelu{layer}.scale"], w[f"prelu{layer}.zero"]
        codes = np.clip(np.rint(features / step) + zero, 0, 255).astype(np.int64)
        layer += 1
        weights, scales = w[f"kernel{layer}.codes"].astype(np.int64), w[f"kernel{layer}.scale"]
        # Padding is the zero point: nothing, once that is taken off.
        sums = np.einsum("hwcij,ocij->ohw", _windows(codes - int(zero)), weights)
        features = sums * (scales * step)[:, None, None] + w[f"bias{layer}"][:, None, None]
    total = features + x[None]
    height, width = x.shape
    shuffled = total.reshape(scale, scale, height, width).transpose(2, 0, 3, 1)
    return shuffled.reshape(height * scale, width * scale)


def _windows_f(x: Array) -> Array:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
