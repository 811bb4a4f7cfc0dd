"""Graphs with fewer copies: equal to what they were, cheaper where they should be, else left alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from network_checks import shaken
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from vidsr.models import find_model
from vidsr.models.merging import merged
from vidsr.networks.export import export_network
from vidsr.networks.imdn import IMDN, IMDNRTC
from vidsr.networks.rfdn import RFDN


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(proto)
    (made,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x})
    return np.asarray(made)


def with_graph(proto: onnx.ModelProto, graph: onnx.GraphProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    changed.graph.CopyFrom(graph)
    return changed


def kinds(graph: onnx.GraphProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.node)


def assert_equal_and_merged(proto: onnx.ModelProto, channels: int = 8) -> onnx.GraphProto:
    """The same picture from both, to what float32 rounds."""
    graph = merged(proto.graph, proto.graph.output[0].name)
    x = np.random.default_rng(3).random((1, channels, 37, 29), dtype=np.float32)
    wanted = run(proto, x)
    assert wanted.std() > 0.01
    made = run(with_graph(proto, graph), x)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=2e-5 * max(1.0, float(np.abs(wanted).max())))
    return graph


@pytest.mark.parametrize("name", ["imdn-rtc", "rfdn-s"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shipped_networks_neither_cut_nor_join(name: str, scale: int) -> None:
    graph = assert_equal_and_merged(find_model(name, scale).proto, channels=1)
    assert not {"Split", "Concat"} & set(kinds(graph))


@pytest.mark.parametrize(
    "network", [IMDNRTC(features=16), IMDNRTC(features=32), IMDN(features=16, blocks=2), RFDN(blocks=2)]
)
def test_other_sizes_are_equal(network: object, tmp_path: Path) -> None:
    path = export_network(shaken(network), tmp_path / "n.onnx")  # type: ignore[arg-type]
    assert_equal_and_merged(onnx.load(path), channels=3)


def test_wide_tensors_are_cut_as_before(tmp_path: Path) -> None:
    """Zeros for a quarter of 32 channels would be a block of 16 more to compute."""
    path = export_network(shaken(IMDNRTC(blocks=1, features=64)), tmp_path / "n.onnx")
    before = onnx.load(path).graph
    after = merged(before, before.output[0].name)
    assert kinds(after)["Split"] == kinds(before)["Split"] > 0


def test_convolutions_that_would_become_wider_are_not_merged() -> None:
    weights = {"a.w": drawn(16, 8, 3, 3), "b.w": drawn(16, 16, 3, 3), "y.w": drawn(64, 32, 1, 1)}
    nodes = [conv("x", "a", 3), conv("a", "b", 3), helper.make_node("Concat", ["a", "b"], ["j"], axis=1)]
    graph = assert_equal_and_merged(make([*nodes, conv("j", "y")], weights))
    assert kinds(graph) == {"Conv": 4, "Add": 1}


def test_ecbsr_has_nothing_to_merge() -> None:
    graph = find_model("ecbsr", 2).proto.graph
    assert merged(graph, graph.output[0].name) is graph


# ---- graphs that look alike and are not ----------------------------------------------------------------


def make(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], channels: int = 8) -> onnx.ModelProto:
    shape = ["n", channels, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", "c", "i", "j"])],
        initializer=[numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def conv(source: str, name: str, side: int = 1, **more: object) -> onnx.NodeProto:
    pads = [side // 2] * 4
    return helper.make_node("Conv", [source, f"{name}.w"], [name], **{"pads": pads, **more})


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + shape[0]).standard_normal(shape).astype(np.float32) * 0.3


def split(source: str, *names: str) -> onnx.NodeProto:
    return helper.make_node("Split", [source, "sizes"], list(names), axis=1)


SIZES = np.array([3, 5], np.int64)


@pytest.mark.parametrize(
    "difference",
    ["piece elsewhere", "joined twice", "strided", "grouped", "joined rows", "unpadded", "reflected"],
)
def test_what_differs_in_anything_stays_right(difference: str) -> None:
    """Each has one thing that forbids a merge; the result must be what the graph says all the same."""
    weights = {"a.w": drawn(8, 8, 3, 3), "b.w": drawn(6, 5, 3, 3), "f.w": drawn(4, 9, 1, 1), "sizes": SIZES}
    nodes = [conv("x", "a", 3), helper.make_node("LeakyRelu", ["a"], ["r"], alpha=0.1), split("r", "p", "q")]
    nodes.append(conv("q", "b", 3))
    join = helper.make_node("Concat", ["p", "b"], ["j"], axis=1)
    tail = [join, conv("j", "f")]
    end = helper.make_node("Identity", ["f"], ["y"])
    if difference == "piece elsewhere":
        tail.append(helper.make_node("ReduceMean", ["p"], ["m"], axes=[1]))
        end = helper.make_node("Add", ["f", "m"], ["y"])
    elif difference == "joined twice":
        tail.append(helper.make_node("ReduceMean", ["j"], ["m"], axes=[1]))
        end = helper.make_node("Add", ["f", "m"], ["y"])
    elif difference == "strided":
        tail[-1] = conv("j", "f", strides=[2, 2])
    elif difference == "grouped":
        weights["b.w"] = drawn(5, 1, 3, 3)
        weights["f.w"] = drawn(4, 8, 1, 1)
        nodes[-1] = conv("q", "b", 3, group=5)
    elif difference == "joined rows":
        weights["f.w"] = drawn(4, 8, 1, 1)
        nodes = [*nodes[:2], helper.make_node("Relu", ["r"], ["b"])]
        tail[0] = helper.make_node("Concat", ["r", "b"], ["j"], axis=2)
    elif difference == "unpadded":
        nodes[-1] = conv("q", "b", 3, pads=[0, 0, 2, 2])
    else:
        nodes[-1] = helper.make_node("Conv", ["q", "b.w"], ["b"], auto_pad="SAME_UPPER")
    proto = make([*nodes, *tail, end], weights)
    graph = assert_equal_and_merged(proto)
    if difference in ("piece elsewhere", "joined twice", "strided", "joined rows"):
        assert graph is proto.graph, "part of it would be done twice"


def test_a_sum_of_two_sums_has_its_addition_once() -> None:
    weights = {k: drawn(8, 16, 1, 1) for k in ("f.w", "g.w")} | {"a.w": drawn(8, 8, 3, 3)}
    nodes = [conv("x", "a", 3), helper.make_node("Relu", ["a"], ["r"])]
    nodes += [helper.make_node("Concat", ["a", "r"], ["j"], axis=1), conv("j", "f")]
    nodes += [helper.make_node("Concat", ["r", "a"], ["k"], axis=1), conv("k", "g")]
    nodes.append(helper.make_node("Add", ["g", "f"], ["y"]))
    graph = assert_equal_and_merged(make(nodes, weights))
    assert kinds(graph) == {"Conv": 5, "Relu": 1, "Add": 3}
    sides = [list(w.dims)[-1] for w in graph.initializer]
    assert sides.count(3) == 1, "a 3x3 that several take is computed once"


def test_the_input_itself_can_be_a_part_of_a_later_sum() -> None:
    weights = {"a.w": drawn(8, 8, 3, 3), "f.w": drawn(8, 16, 1, 1), "g.w": drawn(8, 8, 3, 3)}
    nodes = [conv("x", "a", 3), helper.make_node("Relu", ["a"], ["r"]), conv("r", "g", 3)]
    nodes += [helper.make_node("Concat", ["r", "g"], ["j"], axis=1), conv("j", "f")]
    nodes.append(helper.make_node("Add", ["a", "f"], ["y"]))
    graph = assert_equal_and_merged(make(nodes, weights))
    assert kinds(graph) == {"Conv": 2, "Relu": 1, "Add": 1}, "one 3x3 of both parts, added to a"
