"""The halo that is read from a graph is the one that the arithmetic has."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from vidsr.models.halo import Context, context_of
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network


def _graph(nodes: list[Any], **weights: Any) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 1, f"{n}h", f"{n}w"]) for n in "xy"]
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _conv(source: str, target: str, size: int, **attributes: Any) -> Any:
    attributes = {"pads": [size // 2] * 4, "kernel_shape": [size, size]} | attributes
    return helper.make_node("Conv", [source, f"w{size}"], [target], **attributes)


W3 = np.zeros((1, 1, 3, 3), np.float32)
W5 = np.zeros((1, 1, 5, 5), np.float32)
WIDE = np.zeros((4, 1, 3, 3), np.float32)


@pytest.mark.parametrize(("blocks", "channels", "scale"), [(4, 1, 2), (4, 3, 3), (0, 1, 4), (10, 1, 2)])
def test_ecbsr(tmp_path: Path, blocks: int, channels: int, scale: int) -> None:
    network = ECBSR(scale=scale, channels=channels, blocks=blocks, features=4)
    path = export_network(network, tmp_path / "n.onnx")
    assert context_of(onnx.load(path)) == Context(blocks + 2, True, 1)


def test_dilation_and_branches() -> None:
    nodes = [
        _conv("x", "a", 3, dilations=[2, 2], pads=[2] * 4),
        _conv("x", "b", 5),
        _conv("b", "c", 3),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    assert context_of(_graph(nodes, w3=W3, w5=W5)) == Context(3, True, 1)


def test_convolutions_after_the_shuffle_count_in_large_pixels() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "wide"], ["a"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["a"], ["b"], blocksize=2, mode="CRD"),
        _conv("b", "c", 3),
        _conv("c", "d", 3),
        _conv("d", "y", 3),
    ]
    assert context_of(_graph(nodes, wide=WIDE, w3=W3)) == Context(1 + 2, True, 1)  # 1 + 3 / 2, rounded up


def test_pad_node_and_valid_convolution_are_a_padded_convolution() -> None:
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    nodes = [helper.make_node("Pad", ["x", "pads"], ["a"], mode="edge"), _conv("a", "y", 3, pads=[0] * 4)]
    assert context_of(_graph(nodes, pads=pads, w3=W3)) == Context(1, True, 1)


def test_uneven_padding() -> None:
    nodes = [_conv("x", "y", 5, pads=[1, 3, 3, 1])]
    assert context_of(_graph(nodes, w5=W5)).halo == 3


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("GlobalAveragePool", ["x"], ["a"]),
        helper.make_node("ReduceMean", ["x"], ["a"], axes=[2, 3]),
        helper.make_node("ReduceMean", ["x"], ["a"]),
    ],
)
def test_global_means_are_approximate(node: Any) -> None:
    nodes = [node, helper.make_node("Mul", ["x", "a"], ["b"]), _conv("b", "y", 3)]
    assert context_of(_graph(nodes, w3=W3)) == Context(1, False, 1)


def test_channel_means_are_exact() -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["a"], axes=[1]), _conv("a", "y", 3)]
    assert context_of(_graph(nodes, w3=W3)) == Context(1, True, 1)


def test_strides_are_approximate_and_ask_for_a_multiple() -> None:
    nodes = [
        _conv("x", "a", 3, strides=[2, 2]),
        _conv("a", "b", 3),
        helper.make_node("DepthToSpace", ["b"], ["y"], blocksize=2),
    ]
    found = context_of(_graph(nodes, w3=W3))
    assert (found.exact, found.multiple) == (False, 2)
    assert found.halo >= 3


def test_halo_is_what_changes(tmp_path: Path) -> None:
    """Change one pixel: exactly the output pixels within the halo change."""
    torch.manual_seed(0)
    network = ECBSR(blocks=2, features=8).fold().double()
    halo = context_of(onnx.load(export_network(network, tmp_path / "n.onnx"))).halo
    x = torch.rand(1, 1, 24, 24, dtype=torch.float64)
    other = x.clone()
    other[0, 0, 12, 12] += 0.5
    with torch.no_grad():
        changed = (network(x) != network(other))[0, 0].nonzero() // 2
    assert (changed.min().item(), changed.max().item()) == (12 - halo, 12 + halo)
