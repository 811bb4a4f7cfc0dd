"""Shapes that grow without end: refused before shape inference computes them, or a runtime makes them.

ONNX's shape inference carries the values of shapes along (a Concat of Shape and of constants), so a chain of
forty Concats that each double a list would take all memory while the shapes are still being inferred. And a
tensor may be modest for the probing picture, and for a real one be the square of its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

__all__ = ["grown_beyond", "longest_list", "unknown_shape"]

_CARRYING = frozenset(
    "Add Cast Concat Div Gather Identity Mul Reshape Slice Split Squeeze Sub Transpose Unsqueeze".split()
)
_LIST = 64
"""Elements of a list that is carried along: shapes have 8 at most."""
_SLACK = 1 << 16
"""Elements: what does not depend on the picture."""


def longest_list(model: onnx.ModelProto) -> str | None:
    """Return the name of a list of integers that could become longer than any shape; None: there is none."""
    integers = (6, 7, 12, 13)  # INT32, INT64, UINT32, UINT64
    longest: dict[str, int] = {}
    for tensor in model.graph.initializer:
        if tensor.data_type in integers:
            longest[tensor.name] = int(np.prod(tensor.dims, dtype=float))
    for node in model.graph.node:
        if node.op_type == "Shape":
            size = 8
        elif node.op_type == "Constant":
            # Lists of text and floats are carried nowhere.
            size = max((_constant(a, integers) for a in node.attribute), default=0)
        elif node.op_type == "Concat":
            size = sum(longest.get(name, 0) for name in node.input)
            if size > _LIST:
                return str(node.output[0]) if node.output else node.op_type
        elif node.op_type in _CARRYING:
            size = max((longest.get(name, 0) for name in node.input), default=0)
        else:
            size = 0
        longest.update(dict.fromkeys(node.output, size))
    return None


def _constant(attribute: onnx.AttributeProto, integers: tuple[int, ...]) -> int:
    if attribute.HasField("t") and attribute.t.data_type in integers:
        return int(np.prod(attribute.t.dims, dtype=float))
    return len(attribute.ints) + int(attribute.HasField("i"))


def unknown_shape(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the name of a node's output whose shape was not found; None: all are known."""
    for node in model.graph.node:
        for name in node.output:
            if name and (name not in shapes or min(shapes[name], default=1) < 1):
                return str(name)
    return None


def grown_beyond(
    small: Mapping[str, tuple[int, ...]], large: Mapping[str, tuple[int, ...]], times: int
) -> str | None:
    """Return the name of a tensor that grows faster than the picture; None: none does.

    Args:
        small: Shapes for a picture.
        large: Shapes for one that has `times` as many pixels.
        times: See above.
    """
    for name, shape in large.items():
        before, after = (np.prod(s, dtype=float) for s in (small.get(name, ()), shape))
        if after > times * before * 1.25 + _SLACK:  # padding to a multiple adds some
            return name
    return None
