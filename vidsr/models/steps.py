"""A graph as plain steps and arrays, for code that computes it itself and does not import ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["Step", "constants_of", "steps_of", "with_constants"]


@dataclass(frozen=True, slots=True)
class Step:
    """A node."""

    kind: str
    """The operator, such as Conv."""
    inputs: tuple[str, ...]
    """An input that is left out is an empty string."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


def steps_of(proto: onnx.ModelProto) -> list[Step]:
    """Return the graph's nodes in order."""
    from onnx import helper

    return [
        Step(
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            {a.name: helper.get_attribute_value(a) for a in node.attribute},
        )
        for node in proto.graph.node
    ]


def constants_of(proto: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Return by name what the graph holds: stored tensors, and those of Constant nodes."""
    from onnx import numpy_helper

    tensors = [(t.name, t) for t in proto.graph.initializer]
    for node in proto.graph.node:
        if node.op_type == "Constant":
            tensors += [(node.output[0], a.t) for a in node.attribute if a.name == "value"]
    return {name: np.array(numpy_helper.to_array(tensor)) for name, tensor in tensors}


def with_constants(proto: onnx.ModelProto, values: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """Return a copy of a graph with other values of some stored tensors."""
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for tensor in made.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[tensor.name]), tensor.name))
    return made
