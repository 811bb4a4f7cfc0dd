"""Rounding a convolution's weights to integers such that its results, not the weights, stay what they were.

The weights are first fitted to what the layer gets once the layers before it are rounded, then rounded one
after the other, each time moving those that are left so that they make up for the error (E. Frantar et
al., "GPTQ", 2022, after B. Hassibi and D. Stork's optimal brain surgeon, 1993). The layers here have a few
hundred inputs, so nothing is approximated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidsr.models.quantised import F32, MOST_WEIGHT, Codes, Layer, Window

__all__ = ["Moments", "best_codes", "fitted_layer", "moments_of"]

F64 = NDArray[np.float64]

_RIDGE = 0.1
"""How strongly fitted weights are held to the original ones, as a part of the mean power of the inputs."""
_SAMPLES = 60_000
"""About how many results of a layer are looked at: far more than it has inputs."""
_NARROWER = tuple(np.linspace(0.5, 1.0, 26))
"""Parts of the largest weight of an output channel that its codes may end at."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What of a layer's inputs and wanted results its best weights follow from."""

    inputs: F64
    """[taps, taps]: covariance."""
    results: F64
    """[taps, out]: covariance of inputs with wanted results."""
    mean_input: F64
    mean_result: F64


def best_codes(values: F32, weights: F64, *, steps: int = 30) -> Codes:
    """Return the codes that round `values` with the least square error; outliers may be cut off.

    Args:
        values: [N, C, H, W].
        weights: [N]: how much the errors of each count.
        steps: Places that each end is tried at, each time.
    """
    sample = values.reshape(len(values), -1)
    sample = sample[:, :: max(1, values.size // 100_000)]
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best, found = np.inf, Codes.spanning(low, high)
    for _ in range(2):  # each end in turn, twice
        for which in (0, 1):
            ends = low, high
            for part in np.linspace(0.3, 1.0, steps):
                one = (ends[0] * part, ends[1]) if which == 0 else (ends[0], ends[1] * part)
                codes = Codes.spanning(*one)
                error = float(
                    weights @ np.square(codes.rounded(sample) - sample, dtype=np.float64).mean(axis=1)
                )
                if error < best:
                    best, found, (low, high) = error, codes, one
    return found


def moments_of(window: Window, taken: F32, wanted: F32, weights: F64) -> Moments:
    """Return the moments of a layer.

    Args:
        window: The layer.
        taken: [N, in, H, W]: what it takes, rounded.
        wanted: [N, out, H', W']: what it should make.
        weights: [N]: how much the errors of each count.
    """
    every = max(1, round((wanted.size / wanted.shape[1] / _SAMPLES) ** 0.5))
    x = _taps(window, taken, every)
    seen = wanted[:, :, ::every, ::every].transpose(0, 2, 3, 1)
    y = seen.reshape(-1, wanted.shape[1]).astype(np.float64)
    share: F64 = np.repeat(weights / weights.sum(), len(x) // len(weights)) * len(weights) / len(x)
    mean_x, mean_y = share @ x, share @ y
    x, y = x - mean_x, y - mean_y
    weighed = x * share.reshape(-1, 1)
    return Moments(weighed.T @ x, weighed.T @ y, mean_x, mean_y)


def _taps(window: Window, values: F32, every: int) -> F64:
    """Return [samples, in * rows * columns]: what one result in `every` along each side is made of."""
    rows, columns = window.weights.shape[2:]
    above, before = window.pads
    padded = np.pad(values, ((0, 0), (0, 0), (above, above), (before, before)))
    cut = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(2, 3))
    cut = cut[:, :, :: window.strides[0] * every, :: window.strides[1] * every]
    return cut.transpose(0, 2, 3, 1, 4, 5).reshape(-1, window.weights[0].size).astype(np.float64)


def fitted_layer(window: Window, codes: Codes, moments: Moments) -> Layer:
    """Return the layer in integers whose results are nearest to the wanted ones."""
    taps = window.weights[0].size
    damping = _RIDGE * float(np.trace(moments.inputs)) / taps + 1e-12
    inputs = moments.inputs + damping * np.eye(taps)
    original = window.weights.reshape(len(window.weights), taps).astype(np.float64)
    fitted = np.linalg.solve(inputs, moments.results + damping * original.T).T
    scales = _scales(fitted, inputs)
    whole = _rounded(fitted, scales, inputs)
    bias = moments.mean_result - (whole * scales[:, None]) @ moments.mean_input
    return Layer(
        codes,
        whole.reshape(window.weights.shape).astype(np.int8),
        scales.astype(np.float32),
        bias.astype(np.float32),
    )


def _scales(weights: F64, inputs: F64) -> F64:
    """Return for each output channel the scale that costs least when all weights are simply rounded."""
    most = np.maximum(np.abs(weights).max(axis=1), 1e-8) / MOST_WEIGHT
    best: F64 = np.full(len(weights), np.inf)
    found: F64 = most.copy()
    for part in _NARROWER:
        scales: F64 = (most * part).astype(np.float32).astype(np.float64)
        whole = np.clip(np.rint(weights / scales[:, None]), -MOST_WEIGHT, MOST_WEIGHT)
        off = whole * scales[:, None] - weights
        cost = np.einsum("oi,ij,oj->o", off, inputs, off)
        better = cost < best
        best, found = np.where(better, cost, best), np.where(better, scales, found)
    return found


def _rounded(weights: F64, scales: F64, inputs: F64) -> F64:
    """Round weights [out, taps] one tap after the other, those with the strongest input first."""
    order = np.argsort(-np.diag(inputs), kind="stable")
    left = weights[:, order].copy()
    upper = np.linalg.cholesky(np.linalg.inv(inputs[np.ix_(order, order)])).T
    whole = np.empty_like(left)
    for i in range(left.shape[1]):
        whole[:, i] = np.clip(np.rint(left[:, i] / scales), -MOST_WEIGHT, MOST_WEIGHT)
        error = (left[:, i] - whole[:, i] * scales) / upper[i, i]
        left[:, i:] -= np.outer(error, upper[i, i:])
    made = np.empty_like(whole)
    made[:, order] = whole
    return made
