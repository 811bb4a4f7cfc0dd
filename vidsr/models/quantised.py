"""Interchange graphs whose convolutions compute in integers: where the nodes go, and what they hold.

An int8 file is the f32 file's graph with pairs of QuantizeLinear and DequantizeLinear (QDQ): runtimes
take a convolution between such pairs as one of integers. Activations are unsigned, with one scale and one
zero point a tensor; 0 is one of their values, so padding with zeros is exact. Weights are -127..127 with a
scale for each output channel. Biases, activation functions, sums, and every convolution that takes the
picture itself stay in f32, and so does a skip connection around the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["Codes", "Layer", "Quantised", "Window", "quantisable", "quantised_graph", "with_outputs"]

F32 = NDArray[np.float32]

_CODES = 255
MOST_WEIGHT = 127
"""Weights are as far below zero as above: -128 has no opposite."""


@dataclass(frozen=True, slots=True)
class Codes:
    """What the unsigned codes of a tensor stand for: ``(code - zero_point) * scale``."""

    scale: float
    zero_point: int

    @classmethod
    def spanning(cls, low: float, high: float) -> Codes:
        """Return codes for values from `low` to `high`, 0 among them."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max((high - low) / _CODES, 1e-12)))
        return cls(scale, int(np.clip(np.rint(-low / scale), 0, _CODES)))

    def of(self, values: F32) -> NDArray[np.uint8]:
        """Return the codes of values: halves to even, as ONNX has it."""
        steps = np.rint(values / np.float32(self.scale)) + np.float32(self.zero_point)
        return np.asarray(np.clip(steps, 0, _CODES), dtype=np.uint8)

    def rounded(self, values: F32) -> F32:
        """Return the values that the codes of `values` stand for."""
        steps = self.of(values).astype(np.float32) - np.float32(self.zero_point)
        return np.asarray(steps * np.float32(self.scale), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution in integers."""

    taken: Codes
    """What it takes."""
    weights: NDArray[np.int8]
    """[out, in, rows, columns]."""
    scales: F32
    """[out]: what a weight of 1 stands for."""
    bias: F32
    """[out]."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """A network in integers: an f32 graph, and what replaces its convolutions."""

    proto: onnx.ModelProto
    layers: Mapping[str, Layer]
    """By the name of what a convolution makes."""

    @property
    def graph(self) -> onnx.ModelProto:
        """As one graph."""
        return quantised_graph(self.proto, self.layers)


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution of an interchange graph that can be computed in integers."""

    name: str
    """Of what it makes."""
    source: str
    """Of what it takes."""
    weights: F32
    bias: F32
    pads: tuple[int, int]
    """Rows above and columns before; as many after."""
    strides: tuple[int, int]


def quantisable(proto: onnx.ModelProto) -> list[Window]:
    """Return the convolutions that take features and not the picture, in the order of the graph."""
    from onnx import helper, numpy_helper

    stored = {t.name: t for t in proto.graph.initializer}
    pictures = {i.name for i in proto.graph.input}
    found = []
    for node in proto.graph.node:
        if node.op_type != "Conv" or node.input[0] in pictures or node.input[1] not in stored:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        pads, dilations = attributes.get("pads", [0] * 4), attributes.get("dilations", [1, 1])
        plain = attributes.get("group", 1) == 1 and set(dilations) == {1} and "auto_pad" not in attributes
        if not plain or pads[:2] != pads[2:]:
            continue
        weights = numpy_helper.to_array(stored[node.input[1]]).astype(np.float32)
        bias = np.zeros(len(weights), np.float32)
        if len(node.input) > 2:
            if node.input[2] not in stored:
                continue
            bias = numpy_helper.to_array(stored[node.input[2]]).astype(np.float32)
        strides = attributes.get("strides", [1, 1])
        found.append(
            Window(node.output[0], node.input[0], weights, bias, (pads[0], pads[1]), (strides[0], strides[1]))
        )
    return found


def quantised_graph(proto: onnx.ModelProto, layers: Mapping[str, Layer]) -> onnx.ModelProto:
    """Return a copy of an interchange graph in which some convolutions are ones of integers.

    Equal arguments give equal bytes when serialised.

    Args:
        proto: The graph, of opset 13 or newer.
        layers: By the name of what a convolution makes, as `quantisable` tells it. Where several take one
            tensor, they take it as the same codes.
    """
    import onnx
    from onnx import helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    graph = made.graph
    stored = {t.name: t for t in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, NDArray[Any]] = {}
    taken: dict[str, Codes] = {}
    for node in proto.graph.node:
        layer = layers.get(node.output[0]) if node.op_type == "Conv" else None
        if layer is None:
            nodes.append(node)
            continue
        source, weights = node.input[0], node.input[1]
        codes = taken.setdefault(source, layer.taken)
        if codes != layer.taken:
            raise ValueError(f"'{source}' is taken as two kinds of codes")
        if f"{source}.scale" not in added:
            added[f"{source}.scale"] = np.array(codes.scale, np.float32)
            added[f"{source}.zero"] = np.array(codes.zero_point, np.uint8)
            scaling = [f"{source}.scale", f"{source}.zero"]
            nodes += [
                helper.make_node("QuantizeLinear", [source, *scaling], [f"{source}.codes"]),
                helper.make_node("DequantizeLinear", [f"{source}.codes", *scaling], [f"{source}.rounded"]),
            ]
        names = [f"{weights}.codes", f"{weights}.scale", f"{weights}.zero"]
        bias = node.input[2] if len(node.input) > 2 else f"{node.output[0]}.bias"
        added |= zip(names, (layer.weights, layer.scales, np.zeros(len(layer.weights), np.int8)), strict=True)
        added[bias] = layer.bias
        nodes.append(helper.make_node("DequantizeLinear", names, [f"{weights}.rounded"], axis=0))
        conv = type(node)()
        conv.CopyFrom(node)
        conv.input[:] = [f"{source}.rounded", f"{weights}.rounded", bias]
        nodes.append(conv)
    used = {name for node in nodes for name in node.input}
    kept = [t for name, t in stored.items() if name in used and name not in added]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in added.items())
    return made


def with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a graph that gives the named f32 tensors instead of its output."""
    import onnx
    from onnx import helper

    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.output[:]
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in dict.fromkeys(names)
    )
    return shown
