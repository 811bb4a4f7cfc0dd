"""Other people's files that take 0..255: made to take 0..1, as interchange files do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

__all__ = ["rescaled"]


def rescaled(proto: onnx.ModelProto, value_range: int) -> onnx.ModelProto:
    """Return a copy that multiplies its input by `value_range` and divides its output by it."""
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    stored = {weight.name for weight in graph.initializer}
    outer_in = next(i.name for i in graph.input if i.name not in stored)
    outer_out = graph.output[0].name
    inner_in, inner_out = "vidsr_range_in", "vidsr_range_out"
    for node in graph.node:
        node.input[:] = [inner_in if name == outer_in else name for name in node.input]
        node.input[:] = [inner_out if name == outer_out else name for name in node.input]
        node.output[:] = [inner_out if name == outer_out else name for name in node.output]
    factor = numpy_helper.from_array(np.array(value_range, dtype=np.float32), "vidsr_range")
    graph.initializer.append(factor)
    graph.node.insert(0, helper.make_node("Mul", [outer_in, "vidsr_range"], [inner_in]))
    graph.node.append(helper.make_node("Div", [inner_out, "vidsr_range"], [outer_out]))
    return copy
