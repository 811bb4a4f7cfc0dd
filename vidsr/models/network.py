"""Putting the interchange graph into a deployed graph.

Where the network ends in ``DepthToSpace(features + repeated input)``, as ECBSR does, the addition moves
behind the shuffle: the skip connection is then taken from the code values themselves, in f32
whatever the convolutions run in, and OpenVINO does not reorder a four-channel sum (bf16, two cores,
960x540: 39.7 ms instead of 57 to 61 ms).

Where it begins with one convolution of luma codes, that layer takes the codes themselves, divided in its
weights: bf16 holds integers up to 256 exactly, and longer codes go in as two channels, the
upper 8 bits and the rest, with the same weights (Set5, 10 bits: bf16 loses 0.000 dB instead of 0.015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidsr.errors import ModelError
from vidsr.models.first_layer import anchored, in_parts, with_first_layer_of_parts
from vidsr.models.graph import GraphWriter, Picture
from vidsr.models.merging import merged

if TYPE_CHECKING:
    import onnx

    from vidsr.models.lookup import Model

__all__ = ["LumaCodes", "interchange_opset", "run_network", "up_to"]


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a network whose output is ``DepthToSpace(features + repeated input)``."""

    features: str
    blocksize: int
    mode: str


@dataclass(frozen=True, slots=True)
class LumaCodes:
    """A luma plane of integer codes."""

    codes: Picture
    """uint8 or uint16."""
    peak: int
    """The largest code; the network's input is ``codes / peak``."""

    @property
    def step(self) -> int:
        """The unit of the code's upper 8 bits: 1 for 8 bits, 4 for 10."""
        return (self.peak + 1) >> 8

    def values(self, writer: GraphWriter) -> Picture:
        """Return the network's input, f32 0..1."""
        return writer.affine(writer.from_codes(self.codes), 1 / self.peak)

    def repeated(self, writer: GraphWriter, scale: int) -> Picture:
        """Return `values` with every sample repeated; the integers are, which are fewer bytes."""
        return LumaCodes(writer.repeat(self.codes, scale, scale), self.peak).values(writer)

    def parts(self, writer: GraphWriter) -> list[Picture]:
        """Return f32 channels, each exact in bf16, that sum to the codes."""
        if self.step == 1:
            return [writer.from_codes(self.codes)]
        # In integers: f32 nodes before a convolution become bf16, and so would the codes before they are cut.
        return [writer.from_codes(part) for part in writer.cut_codes(self.codes, self.step)]


def interchange_opset(model: onnx.ModelProto) -> int:
    """Return the opset of the default domain."""
    return max(int(o.version) for o in model.opset_import)


def up_to(length: int, multiple: int, at_least: int) -> int:
    """Return the smallest multiple that is not below `length` and `at_least`."""
    return -(-max(length, at_least) // multiple) * multiple


def run_network(
    writer: GraphWriter,
    model: Model,
    channels: Sequence[Picture],
    luma: LumaCodes | None = None,
    weights: dict[str, str] | None = None,
) -> list[Picture]:
    """Add the network and return its output channels, at `scale` times the size of what it takes.

    Args:
        writer: The graph.
        model: The network.
        channels: Its input, f32 0..1, one picture a channel.
        luma: Where the only channel is nothing but codes divided by the largest, those codes.
        weights: Shared by all calls with it: see `GraphWriter.embed`.
    """
    spec, graph = model.spec, _modern(model).graph
    height, width = channels[0].height, channels[0].width
    inner = spec.scale if spec.input == "low" else 1
    below = up_to(height, spec.multiple, spec.min_size) - height
    right = up_to(width, spec.multiple, spec.min_size) - width
    size = (spec.channels, (height + below) * inner, (width + right) * inner)
    tail = _find_tail(graph, spec.channels, inner)
    wanted = graph.output[0].name if tail is None else tail.features
    graph = merged(graph, wanted)
    taken, rests = channels, channels[:0]
    if tail is not None and luma is not None and (changed := _first_layer_on_codes(graph, tail, luma)):
        graph, taken = changed, luma.parts(writer)
    elif changed := with_first_layer_of_parts(graph, _input_name(graph), wanted):
        graph, taken = changed, in_parts(writer, channels)
        rests = taken[len(channels) : 2 * len(channels)]
    x = writer.pad(writer.join_channels(taken), 0, below, 0, right)
    made = writer.embed(graph, {_input_name(graph): x.name}, wanted, weights)
    if tail is not None:
        made = writer.node("DepthToSpace", made, blocksize=tail.blocksize, mode=tail.mode)
    whole = writer.crop(Picture(made, *size), height * inner, width * inner)
    done = writer.split_channels(whole)
    if tail is not None:
        skips = [luma.repeated(writer, inner)] if luma else [writer.repeat(c, inner, inner) for c in channels]
        done = [writer.add(one, other) for one, other in zip(done, skips, strict=True)]
    return [anchored(writer, one, rest) for one, rest in zip(done, rests, strict=True)] if rests else done


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
            f"opset {interchange_opset(proto)} cannot be brought to 17 ({str(error).splitlines()[0]})",
            path=model.path,
            hint="export it with opset 17",
        ) from error


def _input_name(graph: onnx.GraphProto) -> str:
    weights = {t.name for t in graph.initializer}
    return next(str(i.name) for i in graph.input if i.name not in weights)


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


def _first_layer_on_codes(graph: onnx.GraphProto, tail: _Tail, luma: LumaCodes) -> onnx.GraphProto | None:
    """Return the graph with a first layer that takes `LumaCodes.parts`; None where it has no such layer."""
    from onnx import numpy_helper

    source = _input_name(graph)
    users = [n for n in graph.node if source in n.input and tail.features not in n.input]
    if len(users) != 1 or users[0].op_type != "Conv":
        return None
    first = users[0].input[1]
    weights = next((numpy_helper.to_array(t) for t in graph.initializer if t.name == first), None)
    if weights is None or sum(first in n.input for n in graph.node) != 1:
        return None
    scaled = (weights.astype(np.float64) / luma.peak).astype(np.float32)
    changed = type(graph)()
    changed.CopyFrom(graph)
    place = [t.name for t in graph.initializer].index(first)
    parts = [scaled] * (1 if luma.step == 1 else 2)
    changed.initializer[place].CopyFrom(numpy_helper.from_array(np.concatenate(parts, axis=1), first))
    return changed


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
