"""Evening out the channels between two convolutions, so that one scale fits them all.

A PReLU lets a positive factor through, so a convolution may make a channel larger if the next takes it as
much smaller: the network stays the same function. Codes of 8 bits have one scale a tensor, which a
channel of a tenth of the largest's span would use with a tenth of its codes. After M. Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", 2019; here the spans are measured,
and the factors are those that cost least after the next convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.models.quantised import F32

if TYPE_CHECKING:
    import onnx

__all__ = ["equalised"]

_LETS_THROUGH = frozenset(("LeakyRelu", "PRelu", "Relu"))
_LARGEST = 64.0
"""Nothing is made larger than so many times: what hardly moves must not blow up its neighbours' weights."""
_SAMPLES = 40_000
"""About how many values of a channel are looked at."""


def equalised(
    proto: onnx.ModelProto, tensors: Mapping[str, F32], weights: NDArray[np.float64]
) -> onnx.ModelProto:
    """Return an equal graph whose channels between convolutions span about the same.

    Args:
        proto: An interchange graph.
        tensors: What activation functions between convolutions make of sample pictures, by name;
            see `equalisable`.
        weights: How much the errors of each picture count.
    """
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    stored = {t.name: t for t in made.graph.initializer}

    def multiply(name: str, factors: NDArray[Any]) -> None:
        values = numpy_helper.to_array(stored[name])
        stored[name].CopyFrom(numpy_helper.from_array((values * factors).astype(np.float32), name))

    for before, middle, after in _chains(made):
        if middle not in tensors:
            continue
        factors = _factors(tensors[middle], weights, numpy_helper.to_array(stored[after.input[1]]))
        multiply(before.input[1], factors[:, None, None, None])
        multiply(before.input[2], factors)
        multiply(after.input[1], (1 / factors)[None, :, None, None])
    return made


def _chains(proto: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str, onnx.NodeProto]]:
    """Return convolution, name of what lies between, convolution: where nothing else takes that."""
    stored = {t.name for t in proto.graph.initializer}
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    alone = {
        node.output[0]: users
        for node in proto.graph.node
        if len(users := takers.get(node.output[0], [])) == 1
    }
    found = []
    for node in proto.graph.node:
        if node.op_type != "Conv" or node.output[0] not in alone or len(node.input) < 3:
            continue
        middle = alone[node.output[0]][0]
        if middle.op_type not in _LETS_THROUGH or middle.output[0] not in alone:
            continue
        after = alone[middle.output[0]][0]
        weights = {*node.input[1:], after.input[1]} if after.op_type == "Conv" else set()
        if weights and weights <= stored and all(len(takers[w]) == 1 for w in weights):
            found.append((node, middle.output[0], after))
    return found


def equalisable(proto: onnx.ModelProto) -> list[str]:
    """Return the names of the tensors that `equalised` wants to see."""
    return [middle for _, middle, _ in _chains(proto)]


def _factors(values: F32, weights: NDArray[np.float64], kernel: F32) -> F32:
    """Return how much larger each channel of `values` [N, C, ...] is made before `kernel` [out, C, ...].

    A shared scale and zero point mean shared ends. For each way to share 255 codes out between what is below
    and above zero, each channel has a best factor: the larger, the finer it is rounded and the more of it is
    cut off. The way is taken whose errors, seen through the kernel, are least.
    """
    every = max(1, values[:, 0].size // _SAMPLES)
    channels = values.transpose(1, 0, 2, 3).reshape(values.shape[1], len(values), -1)[:, :, ::every]
    share = np.repeat(weights / weights.sum() / channels.shape[2], channels.shape[2])
    channels = channels.reshape(len(channels), -1)
    span = np.maximum(np.abs(channels).max(axis=1), 1e-6)
    tries = (1 / span)[:, None] * np.geomspace(0.25, _LARGEST, 49)
    power = np.square(kernel.astype(np.float64)).sum(axis=(0, 2, 3))
    # [channels, tries, ends]: what is cut off, by where it is cut; as a table, since the ends are few.
    ends = np.linspace(0.02, 0.98, 49)
    costs = np.empty((len(channels), tries.shape[1], len(ends)))
    for c, samples in enumerate(channels):
        for i, factor in enumerate(tries[c]):
            costs[c, i] = _cut_off(samples, share, ends / factor) + _cut_off(
                -samples, share, (1 - ends) / factor
            )
            costs[c, i] += 1 / (12 * 255**2 * factor**2)
    least = costs.min(axis=1) * power[:, None]
    best = int(least.sum(axis=0).argmin())
    found = np.take_along_axis(tries, costs[:, :, best].argmin(axis=1)[:, None], axis=1)[:, 0]
    # A channel that never moves has nothing to round: it must not blow up its neighbours' weights.
    found = np.minimum(found, found.min() * _LARGEST)
    return np.asarray(found / found.min(), dtype=np.float32)


def _cut_off(samples: F32, share: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of the rising `ends` the mean square of what of the samples is above it."""
    above = samples > ends[0]
    order = np.argsort(samples[above])[::-1]
    x, p = samples[above][order].astype(np.float64), share[above][order]
    sums = [np.concatenate([[0.0], np.cumsum(p * x**n)]) for n in range(3)]
    count = np.searchsorted(-x, -ends)
    return np.asarray(sums[2][count] - 2 * ends * sums[1][count] + ends**2 * sums[0][count])
