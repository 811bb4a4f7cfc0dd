"""A graph as plain steps and arrays, for code that computes it itself and does not import ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["Graph", "Step", "constants_of", "read_graph", "steps_of", "with_constants"]


@dataclass(frozen=True, slots=True)
class Step:
    """A node."""

    kind: str
    """The operator, such as Conv."""
    inputs: tuple[str, ...]
    """An input that is left out is an empty string."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with static shapes, such as a deployed one."""

    steps: tuple[Step, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    """Shape and type by name, in the graph's order."""
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    """Of what the steps make, as far as they follow from the inputs' shapes."""


def read_graph(model_bytes: bytes) -> Graph:
    """Return a serialised graph, such as `Deployed.model_bytes`, as steps and arrays."""
    import onnx
    import onnx.shape_inference
    from onnx import helper

    proto = onnx.load_from_string(model_bytes)
    constants = constants_of(proto)
    inputs = {
        value.name: (
            tuple(int(d.dim_value) for d in value.type.tensor_type.shape.dim),
            np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
        )
        for value in proto.graph.input
        if value.name not in constants
    }
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    shapes = {
        value.name: tuple(int(d.dim_value) for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
    }
    outputs = tuple(o.name for o in proto.graph.output)
    return Graph(tuple(steps_of(proto)), constants, inputs, outputs, shapes)


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
