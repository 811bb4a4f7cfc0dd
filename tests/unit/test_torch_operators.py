"""Operators of the backend torch one by one, against ONNX's own reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from vidsr.backends import torch_graph
from vidsr.backends.torch_graph import TorchGraph
from vidsr.errors import EngineBuildError
from vidsr.models.checks import ALLOWED_OPERATORS
from vidsr.models.steps import read_graph


def _model(kind: str, x: np.ndarray, constants: list[np.ndarray | None], outputs: int, **attributes):
    names = ["x", *("" if c is None else f"c{i}" for i, c in enumerate(constants))]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, names, made, **attributes)
    kinds = TensorProto.FLOAT if x.dtype == np.float32 else TensorProto.INT32
    shape = list(x.shape)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", kinds, shape)],
        [helper.make_tensor_value_info(n, kinds, None) for n in made],
        initializer=[numpy_helper.from_array(c, f"c{i}") for i, c in enumerate(constants) if c is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(0, 1, shape).astype(np.float32)


F = np.float32
_RESIZES = [
    ("Resize", [None, np.array([1, 1, 2, 1.5], F)], {"mode": mode, "coordinate_transformation_mode": place})
    for mode in ("nearest", "linear", "cubic")
    for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
]
CASES = [
    ("Add", [_floats(1, 4, 1, 1)], {}),
    ("AveragePool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("Cast", [], {"to": TensorProto.INT32}),
    ("Clip", [np.array(-0.5, F), np.array(0.5, F)], {}),
    ("Clip", [None, np.array(0.5, F)], {}),
    ("Concat", [_floats(1, 2, 6, 8)], {"axis": 1}),
    ("Conv", [_floats(6, 4, 3, 3), _floats(6)], {"pads": [1, 0, 2, 1]}),
    ("Conv", [_floats(6, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", [_floats(4, 1, 3, 3)], {"group": 4, "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    ("ConvTranspose", [_floats(4, 3, 4, 4), _floats(3)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "DCR"}),
    ("Div", [np.array(0.3, F)], {}),
    ("Expand", [_ints(2, 4, 6, 8)], {}),
    ("Gather", [_ints(2, 0, 0)], {"axis": 1}),
    ("Gather", [_ints(-1, 3)], {"axis": 3}),
    ("Gather", [np.array(1, np.int64)], {"axis": 2}),
    ("GlobalAveragePool", [], {}),
    ("Identity", [], {}),
    ("LeakyRelu", [], {"alpha": 0.05}),
    ("LeakyRelu", [], {}),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("Mul", [_floats(1, 1, 6, 1)], {}),
    ("PRelu", [_floats(4, 1, 1)], {}),
    ("Pad", [_ints(0, 0, 1, 2, 0, 0, 3, 0)], {"mode": "edge"}),
    ("Pad", [_ints(0, 0, 1, 2, 0, 0, 3, 0)], {"mode": "reflect"}),
    ("Pad", [_ints(0, 1, 1, 2, 0, 2, 0, 1), np.array(0.7, F)], {}),
    ("Pow", [np.array(2, F)], {}),
    ("ReduceMean", [], {"axes": [2, 3], "keepdims": 1}),
    ("ReduceMean", [], {}),
    ("ReduceSum", [_ints(-3)], {"keepdims": 0}),
    ("Relu", [], {}),
    ("Reshape", [_ints(0, 2, 2, -1)], {}),
    *_RESIZES,
    ("Resize", [None, None, _ints(1, 4, 9, 5)], {"mode": "linear"}),
    ("Resize", [None, np.array([1, 1, 1.5, 2.5], F)], {"nearest_mode": "floor"}),
    ("Round", [], {}),
    ("Sigmoid", [], {}),
    ("Slice", [_ints(1, -3), _ints(6, 1000), _ints(2, 3), _ints(2, 1)], {}),
    ("SpaceToDepth", [], {"blocksize": 2}),
    ("Split", [_ints(1, 3)], {"axis": 1, "_outputs": 2}),
    ("Split", [], {"axis": 3, "_outputs": 2}),
    ("Squeeze", [_ints(0)], {}),
    ("Sub", [np.array(0.25, F)], {}),
    ("Tanh", [], {}),
    ("Tile", [_ints(1, 1, 2, 3)], {}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [], {}),
    ("Unsqueeze", [_ints(0, -1)], {}),
]


@pytest.mark.parametrize(("kind", "constants", "attributes"), CASES)
def test_operators(kind: str, constants: list[np.ndarray | None], attributes: dict[str, object]) -> None:
    attributes = dict(attributes)
    x = _floats(1, 4, 6, 8)
    model = _model(kind, x, constants, int(str(attributes.pop("_outputs", 1))), **attributes)
    wanted = ReferenceEvaluator(model).run(None, {"x": x})
    made = TorchGraph(read_graph(model.SerializeToString()))([torch.from_numpy(x)])
    for one, other in zip(made, wanted, strict=True):
        value = one.numpy()
        assert value.shape == other.shape
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_quantising(kind) -> None:
    x = (np.arange(-320, 320, dtype=F) / 4).reshape(1, 4, 16, 10)  # ties and codes beyond the range
    scales, zeros = np.array([0.5, 1, 0.25, 0.5], F), np.array([3, 0, 100, 7], kind)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["c"], axis=1),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializer=[numpy_helper.from_array(scales, "s"), numpy_helper.from_array(zeros, "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (made,) = TorchGraph(read_graph(model.SerializeToString()))([torch.from_numpy(x)])
    limits, shape = np.iinfo(kind), (1, 4, 1, 1)
    step, zero = scales.reshape(shape), zeros.astype(F).reshape(shape)
    wanted = (np.clip(np.rint(x / step) + zero, limits.min, limits.max) - zero) * step
    np.testing.assert_array_equal(made.numpy(), wanted)


def test_integers_divide_towards_zero() -> None:
    x = np.arange(-8, 8, dtype=np.int32).reshape(1, 1, 4, 4)
    model = _model("Div", x, [np.array(3, np.int32)], 1)
    (made,) = TorchGraph(read_graph(model.SerializeToString()))([torch.from_numpy(x)])
    np.testing.assert_array_equal(made.numpy(), np.trunc(x / 3))


def test_shapes_are_known_beforehand() -> None:
    x = _floats(1, 4, 6, 8)
    model = _model("Relu", x, [], 1)
    nodes = [
        helper.make_node("Shape", ["y0"], ["s"]),
        helper.make_node("Gather", ["s", "i"], ["n"], axis=0),
        helper.make_node("Concat", ["o", "n"], ["d"], axis=0),
        helper.make_node("Reshape", ["y0", "d"], ["q"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(_ints(3, 2), "i"))
    model.graph.initializer.append(numpy_helper.from_array(_ints(4), "o"))
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, [4, 8, 6]))
    graph = TorchGraph(read_graph(model.SerializeToString()))
    assert len(graph._calls) == 2
    (made,) = graph([torch.from_numpy(x)])
    np.testing.assert_array_equal(made.numpy(), np.maximum(x, 0).reshape(4, 8, 6))


def test_all_operators_that_models_may_have_are_here() -> None:
    assert set(torch_graph._MAKERS) >= ALLOWED_OPERATORS | {"Round"}
    tried = {kind for kind, *_ in CASES}
    elsewhere = {"Constant", "DequantizeLinear", "QuantizeLinear", "Shape", "Sqrt"}
    assert tried | elsewhere >= ALLOWED_OPERATORS


def test_what_is_missing_is_named() -> None:
    x = _floats(1, 4, 6, 8)
    with pytest.raises(EngineBuildError, match="the backend torch has no operator Erf") as caught:
        TorchGraph(read_graph(_model("Erf", x, [], 1).SerializeToString()))
    assert caught.value.hint == "use --backend openvino"
    turned = _model("Slice", x, [_ints(5), _ints(0), _ints(2), _ints(-1)], 1)
    with pytest.raises(EngineBuildError, match="does not do Slice backwards"):
        TorchGraph(read_graph(turned.SerializeToString()))
