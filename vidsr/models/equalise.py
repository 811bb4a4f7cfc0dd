"""Evening out the channels between two convolutions, so that one scale fits them all.

A PReLU lets a positive factor through, so a convolution may make a channel larger if the next takes it as
much smaller: the network stays the same function. Codes of 8 bits have one scale a tensor, which a
channel of a tenth of the largest's span would use with a tenth of its codes. After M. Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", 2019; here the spans are measured,
and the factors are those that cost least after the next convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidsr.models.quantised import F32

if TYPE_CHECKING:
    import onnx

__all__ = ["equalised"]

_LETS_THROUGH = frozenset(("LeakyRelu", "PRelu", "Relu"))
_LARGEST = 64.0
"""Nothing is made larger than so many times: what hardly moves must not blow up its neighbours' weights."""
_EDGE = 0.01
"""Per cent at either end of a channel's values that its span leaves out."""


def equalised(proto: onnx.ModelProto, tensors: Mapping[str, F32]) -> onnx.ModelProto:
    """Return an equal graph whose channels between convolutions span about the same.

    Args:
        proto: An interchange graph.
        tensors: What activation functions between convolutions make of sample pictures, by name;
            see `equalisable`.
    """
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    stored = {t.name: t for t in made.graph.initializer}

    def multiply(name: str, factors: NDArray[np.float32]) -> None:
        values = numpy_helper.to_array(stored[name])
        stored[name].CopyFrom(numpy_helper.from_array((values * factors).astype(np.float32), name))

    for before, middle, after in _chains(made):
        if middle not in tensors:
            continue
        factors = _factors(tensors[middle], numpy_helper.to_array(stored[after.input[1]]))
        multiply(before.input[1], factors[:, None, None, None])
        multiply(before.input[2], factors)
        multiply(after.input[1], (1 / factors)[None, :, None, None])
    return made


def _chains(proto: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str, onnx.NodeProto]]:
    """Return convolution, name of the tensor between, convolution: where nothing else takes what is between."""
    stored = {t.name for t in proto.graph.initializer}
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    alone = {node.output[0]: users for node in proto.graph.node if len(users := takers.get(node.output[0], [])) == 1}
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


def _factors(values: F32, weights: F32) -> F32:
    """Return how many times larger each channel of `values` [N, C, H, W] is made, for `weights` [out, C, ...].

    A shared scale and zero point mean shared ends. For each way to share them out between what is below and
    above zero, a channel can grow until it meets one; the way is taken whose errors, seen through the weights,
    are least.
    """
    channels = values.transpose(1, 0, 2, 3).reshape(values.shape[1], -1)
    low, high = np.percentile(channels, (_EDGE, 100 - _EDGE), axis=1)
    low, high = np.maximum(-low, 1e-9), np.maximum(high, 1e-9)
    power = np.square(weights.astype(np.float64)).sum(axis=(0, 2, 3))
    best, found = np.inf, np.ones(len(low))
    for above in np.linspace(0.02, 0.98, 97):
        factors = np.minimum((1 - above) / low, above / high)
        factors = np.minimum(factors, factors.min() * _LARGEST)
        if (cost := float((power / factors**2).sum())) < best:
            best, found = cost, factors
    # Powers of two would be exact, but any factor only moves weights by a rounding of f32.
    return np.asarray(found / found.min(), dtype=np.float32)
