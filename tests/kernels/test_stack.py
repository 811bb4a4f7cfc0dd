"""Which graphs are taken for stacks, and that nothing that differs in anything is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from vidsr.kernels import FoldedStack
from vidsr.models.lookup import list_models
from vidsr.models.stack import find_stack
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network

Change = Callable[[onnx.GraphProto], None]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    torch.manual_seed(1)
    network = ECBSR(blocks=2, features=8)
    return onnx.load(export_network(network, tmp_path_factory.mktemp("stack") / "small.onnx"))


def test_shipped_ecbsr_are_stacks_and_no_others() -> None:
    for model in list_models():
        found = find_stack(model.proto)
        if model.spec.network == "ecbsr":
            assert isinstance(found, FoldedStack), found
            assert found.scale == model.spec.scale
            assert len(found.convs) == model.spec.halo
            assert found.macs > 0
        else:
            assert isinstance(found, str)


def test_weights_are_those_of_the_graph(graph: onnx.ModelProto) -> None:
    found = find_stack(graph)
    assert isinstance(found, FoldedStack)
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    convs = [n for n in graph.graph.node if n.op_type == "Conv"]
    assert len(found.convs) == len(convs) == 4
    for conv, node in zip(found.convs, convs, strict=True):
        assert np.array_equal(conv.weights, tensors[node.input[1]])
        assert np.array_equal(conv.bias, tensors[node.input[2]])
    assert found.convs[-1].slopes is None
    assert not found.int8


def _first(graph: onnx.GraphProto, kind: str) -> onnx.NodeProto:
    return next(node for node in graph.node if node.op_type == kind)


def _attribute(kind: str, name: str, value: object) -> Change:
    def change(graph: onnx.GraphProto) -> None:
        node = _first(graph, kind)
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def _other_activation(graph: onnx.GraphProto) -> None:
    node = _first(graph, "PRelu")
    node.op_type = "Relu"
    del node.input[1:]


def _skip_of_something_else(graph: onnx.GraphProto) -> None:
    node = _first(graph, "Add")
    node.input[1] = node.input[0]


def _slopes_of_one_row(graph: onnx.GraphProto) -> None:
    name = _first(graph, "PRelu").input[1]
    tensor = next(t for t in graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.ones((8,), np.float32), name))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_attribute("Conv", "pads", [0, 0, 0, 0]), "pads"),
        (_attribute("Conv", "strides", [2, 2]), "strides"),
        (_attribute("Conv", "dilations", [2, 2]), "dilations"),
        (_attribute("Conv", "auto_pad", "SAME_UPPER"), "auto_pad"),
        (_attribute("DepthToSpace", "blocksize", 3), "scale 3"),
        (_attribute("DepthToSpace", "blocksize", 5), "scale is 5"),
        (_other_activation, "Relu is where it would have PRelu"),
        (_skip_of_something_else, "skip connection"),
        (_slopes_of_one_row, "slopes"),
    ],
)
def test_what_differs_is_another_network(graph: onnx.ModelProto, change: Change, told: str) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    change(other.graph)
    found = find_stack(other)
    assert isinstance(found, str)
    assert told in found


def test_layers_between_networks(tmp_path: Path) -> None:
    torch.manual_seed(2)
    for blocks, features, scale in ((0, 4, 1), (1, 64, 3), (16, 8, 4)):
        path = export_network(ECBSR(blocks=blocks, features=features, scale=scale), tmp_path / "n.onnx")
        assert isinstance(find_stack(onnx.load(path)), FoldedStack)
    path = export_network(ECBSR(blocks=1, features=65), tmp_path / "wide.onnx")
    assert find_stack(onnx.load(path)) == "it has more than 64 channels"
    path = export_network(ECBSR(blocks=1, features=8, channels=3), tmp_path / "rgb.onnx")
    assert isinstance(find_stack(onnx.load(path)), str)


@pytest.fixture(scope="module")
def quantised() -> onnx.ModelProto:
    return next(m for m in list_models() if m.spec.id == "2x-ecbsr-m4c16").at("int8").proto


def test_int8_files_are_stacks_of_integers(quantised: onnx.ModelProto) -> None:
    found = find_stack(quantised)
    assert isinstance(found, FoldedStack)
    assert found.int8
    assert found.convs[0].quantised is None
    for conv in found.convs[1:]:
        assert conv.quantised is not None
        steps = conv.quantised.scales[:, None, None, None]
        assert np.array_equal(conv.weights, conv.quantised.codes * steps)


def _weights_of(values: np.ndarray) -> Change:
    def change(graph: onnx.GraphProto) -> None:
        place = next(n.input[0] for n in graph.node if n.op_type == "DequantizeLinear" and n.attribute)
        tensor = next(t for t in graph.initializer if t.name == place)
        tensor.CopyFrom(numpy_helper.from_array(values, place))

    return change


def _other_zero(graph: onnx.GraphProto) -> None:
    node = [n for n in graph.node if n.op_type == "QuantizeLinear"][-1]
    graph.initializer.append(numpy_helper.from_array(np.array(3, np.uint8), "other"))
    node.input[2] = "other"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_weights_of(np.full((16, 16, 3, 3), -128, np.int8)), "around 0"),
        (_weights_of(np.zeros((16, 16, 3, 3), np.uint8)), "around 0"),
        (_weights_of(np.zeros((0, 16, 3, 3), np.int8)), "none of a convolution"),
        (_weights_of(np.zeros((16, 16), np.int8)), "none of a convolution"),
        (_other_zero, "different numbers"),
    ],
)
def test_integers_that_differ_are_another_network(
    quantised: onnx.ModelProto, change: Change, told: str
) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(quantised)
    change(other.graph)
    found = find_stack(other)
    assert isinstance(found, str)
    assert told in found
