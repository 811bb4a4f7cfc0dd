"""Putting the interchange graph into a deployed graph.

Where the network ends in ``DepthToSpace(features + repeated input)``, as ECBSR does, the addition moves
behind the shuffle: the skip connection is then taken from the code values themselves, in f32
whatever the convolutions run in (measured: 0.00 dB lost in bf16 instead of 3 to 9 dB for 8 bits), and OpenVINO
needs no reordering of a four-channel sum (bf16, two cores, 960x540: 39.7 ms instead of 57 to 61).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidsr.color import upsampling_phases
from vidsr.errors import ModelError
from vidsr.models.graph import GraphWriter, Picture
from vidsr.models.resample import upsample_plane

if TYPE_CHECKING:
    import onnx

    from vidsr.models.lookup import Model

__all__ = ["interchange_opset", "run_network", "up_to"]


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a network whose output is ``DepthToSpace(features + repeated input)``."""

    features: str
    blocksize: int
    mode: str


def interchange_opset(model: onnx.ModelProto) -> int:
    """Return the opset of the default domain."""
    return max(o.version for o in model.opset_import)


def up_to(length: int, multiple: int, at_least: int) -> int:
    """Return the smallest multiple that is not below `length` and `at_least`."""
    return -(-max(length, at_least) // multiple) * multiple


def run_network(
    writer: GraphWriter,
    model: Model,
    channels: Sequence[Picture],
    repeated: Sequence[Picture] | None = None,
) -> list[Picture]:
    """Add the network and return its output channels, at `scale` times the size.

    Args:
        writer: The graph.
        model: The network.
        channels: Its input, f32 0..1, one picture a channel.
        repeated: The same with every sample repeated scale x scale times, where there is a cheaper way to
            it than repeating `channels`.
    """
    spec, graph = model.spec, _modern(model).graph
    height, width = channels[0].height, channels[0].width
    inner = spec.scale
    if spec.input == "target":
        phases = upsampling_phases(spec.scale, 0.5)
        channels = [upsample_plane(writer, c, phases, phases) for c in channels]
        height, width, inner = height * spec.scale, width * spec.scale, 1
    below = up_to(height, spec.multiple, spec.min_size) - height
    right = up_to(width, spec.multiple, spec.min_size) - width
    x = writer.pad(writer.join_channels(channels), 0, below, 0, right)
    feeds = {_input_name(graph): x.name}
    size = (spec.channels, (height + below) * inner, (width + right) * inner)
    tail = _find_tail(graph, spec.channels, inner)
    if tail is None:
        whole = Picture(writer.embed(graph, feeds, graph.output[0].name), *size)
        return writer.split_channels(writer.crop(whole, height * inner, width * inner))
    features = writer.embed(graph, feeds, tail.features)
    shuffled = writer.node("DepthToSpace", features, blocksize=tail.blocksize, mode=tail.mode)
    detail = writer.crop(Picture(shuffled, *size), height * inner, width * inner)
    if repeated is None:
        repeated = [writer.repeat(c, inner, inner) for c in channels]
    pairs = zip(writer.split_channels(detail), repeated, strict=True)
    return [writer.add(one, other) for one, other in pairs]


def _modern(model: Model) -> onnx.ModelProto:
    """Return the interchange graph at opset 17 or newer."""
    proto = model.proto
    if interchange_opset(proto) >= 17:
        return proto
    import onnx.version_converter

    try:
        return onnx.version_converter.convert_version(proto, 17)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"this model's opset {interchange_opset(proto)} cannot be brought to 17 ({str(error).splitlines()[0]})",
            path=model.path,
            hint="export it with opset 17",
        ) from error


def _input_name(graph: onnx.GraphProto) -> str:
    weights = {t.name for t in graph.initializer}
    return next(i.name for i in graph.input if i.name not in weights)


def _find_tail(graph: onnx.GraphProto, channels: int, scale: int) -> _Tail | None:
    """Recognise ``DepthToSpace(Add(features, repeated input))``; the features must not be the input."""
    makers = {name: node for node in graph.node for name in node.output}
    shuffle = makers.get(graph.output[0].name)
    if shuffle is None or shuffle.op_type != "DepthToSpace":
        return None
    attributes = _attributes(shuffle)
    mode = attributes.get("mode", b"DCR").decode()
    total = makers.get(shuffle.input[0])
    if total is None or total.op_type != "Add" or attributes["blocksize"] != scale:
        return None
    repeats = [_repeats_input(name, graph, makers, channels, scale, mode) for name in total.input]
    if repeats.count(True) != 1:
        return None
    return _Tail(total.input[repeats.index(False)], scale, mode)


def _repeats_input(
    name: str, graph: onnx.GraphProto, makers: dict[str, onnx.NodeProto], channels: int, scale: int, mode: str
) -> bool:
    """Tell whether a tensor is the input, each channel repeated as the shuffle's mode needs it."""
    source = _input_name(graph)
    if channels == 1 and name == source:
        return True  # broadcast over the scale * scale channels
    maker = makers.get(name)
    if maker is None or maker.op_type != "Gather" or maker.input[0] != source:
        return False
    from onnx import numpy_helper

    indices = next((numpy_helper.to_array(t) for t in graph.initializer if t.name == maker.input[1]), None)
    order = np.arange(channels)
    wanted = np.repeat(order, scale * scale) if mode == "CRD" else np.tile(order, scale * scale)
    return indices is not None and _attributes(maker).get("axis", 0) == 1 and np.array_equal(indices, wanted)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
