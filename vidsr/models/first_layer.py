"""A first layer that loses nothing in bf16, for networks that take colours instead of codes.

bf16 holds 8 bits of mantissa: a colour of 0..1 is off by up to a quarter of a code of 8 bits before the
first convolution has seen it, and IMDN and RFDN carry the whole picture through their features,
without a skip connection around them. So the first convolution gets every channel three times: in steps
of 1/128, which bf16 holds exactly, what is left of it, and as it is. The first two meet the kernel
rounded to bf16, the third meets what the rounding left. In float32 this is the same function.

OpenVINO computes in float32 only what reaches an output without passing a convolution. The conversion to
RGB does not, and was rounded to bf16 at each step; `anchored` makes it reach the output.

Measured, Set5 x2, loss against float32 (before): IMDN, RGB of 8 bits 0.012 dB (0.031), 4:2:0 of 10 bits
0.004 dB (0.063); IMDN_RTC 0.019 (0.022) and 0.015 (0.075).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.models.graph import GraphWriter, Picture

if TYPE_CHECKING:
    import onnx

__all__ = ["NOTHING", "anchored", "in_parts", "with_first_layer_of_parts"]

_STEPS = 128
"""Per unit: integers up to 256 are exact in bf16, so values up to 2 are."""
NOTHING = 1e-30
"""The factor of what `anchored` adds."""


def in_parts(writer: GraphWriter, channels: Sequence[Picture]) -> list[Picture]:
    """Return the channels that a first layer of parts takes: all coarse parts, all rests, all channels."""
    coarse, rest = [], []
    for channel in channels:
        steps = _like(channel, writer.node("Round", writer.affine(channel, _STEPS).name))
        coarse.append(writer.affine(steps, 1 / _STEPS))
        rest.append(_like(channel, writer.node("Sub", channel.name, coarse[-1].name)))
    return [*coarse, *rest, *channels]


def with_first_layer_of_parts(graph: onnx.GraphProto, source: str, wanted: str) -> onnx.GraphProto | None:
    """Return the graph with a first convolution that takes `in_parts` of its input.

    Args:
        graph: An interchange graph.
        source: Its input.
        wanted: The tensor that is to be computed.

    Returns:
        A copy; None where `wanted` takes the input through anything but one convolution.
    """
    from onnx import numpy_helper

    needed, users = {wanted}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            users += [node] if source in node.input else []
    if len(users) != 1 or users[0].op_type != "Conv" or _group(users[0]) != 1:
        return None
    name = users[0].input[1]
    place = next((i for i, t in enumerate(graph.initializer) if t.name == name), None)
    if place is None or sum(name in n.input for n in graph.node) != 1:
        return None
    kernel = numpy_helper.to_array(graph.initializer[place])
    if kernel.dtype != np.float32:
        return None
    rounded = _to_bf16(kernel)
    parts = np.concatenate([rounded, rounded, kernel - rounded], axis=1)
    changed = type(graph)()
    changed.CopyFrom(graph)
    changed.initializer[place].CopyFrom(numpy_helper.from_array(parts, name))
    return changed


def anchored(writer: GraphWriter, made: Picture, source: Picture) -> Picture:
    """Return `made`, with `source` among what it is computed from without a convolution; equal in value."""
    sample = writer.affine(writer.window(writer.window(source, 2, 0, 1), 3, 0, 1), NOTHING)
    return _like(made, writer.node("Add", made.name, sample.name))


def _like(picture: Picture, name: str) -> Picture:
    return Picture(name, picture.channels, picture.height, picture.width)


def _to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to the nearest number that bf16 holds, halves to even."""
    bits = values.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    kept = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return kept.view(np.float32)


def _group(node: onnx.NodeProto) -> Any:
    return next((a.i for a in node.attribute if a.name == "group"), 1)
