"""Deployed graphs in torch against OpenVINO, and the operators one by one against ONNX's own reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch_pictures import OV_F32, picture, psnr, upscale

from vidsr.backends import get_backend, torch_graph
from vidsr.backends.base import SessionOptions
from vidsr.backends.torch_graph import TorchGraph
from vidsr.errors import EngineBuildError
from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, Model, deploy, find_model
from vidsr.models.checks import ALLOWED_OPERATORS
from vidsr.models.lookup import list_models
from vidsr.models.steps import read_graph

SIZE = (48, 35)
FORMATS = "yuv420p yuv420p10 yuv422p yuv444p12 yuva420p gray gray16 gbrp gbrap10 gbrp16".split()
MODELS = list_models()


def _compare(got: Planes, wanted: Planes, share: float) -> None:
    for i, (one, other) in enumerate(zip(got, wanted, strict=True)):
        off = np.abs(one.astype(np.int64) - other)
        assert off.max() <= 1, f"plane {i}: {off.max()} codes off"
        assert np.count_nonzero(off) <= max(2, share * off.size), f"plane {i}: {np.mean(off > 0):.5f}"


def _check(deployed: Deployed) -> None:
    pixels = deployed.format.pixel_format
    src = picture(pixels, deployed.width, deployed.height)
    got = upscale(get_backend("torch"), deployed, src, SessionOptions(threads=1, device="cpu"))
    # Codes of 16 bits are nearly as fine as f32 itself: which of two is nearer depends on the order of sums.
    share = 0.0005 if pixels.bit_depth < 16 else 0.01
    _compare(got, upscale(get_backend("openvino"), deployed, src, OV_F32), share)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.spec.id)
def test_every_model(model: Model) -> None:
    _check(deploy(model, FrameFormat(PixelFormat.parse("yuv420p10")), *SIZE))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", ["2x-ecbsr-m4c8", "2x-rfdn-s"])
def test_formats(model: str, name: str) -> None:
    _check(deploy(find_model(model, 2), FrameFormat(PixelFormat.parse(name)), *SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.spec.id)
def test_every_model_on_every_format(model: Model, name: str) -> None:
    for target in (None, (177, 151)):
        _check(deploy(model, FrameFormat(PixelFormat.parse(name)), *SIZE, target))


@pytest.mark.parametrize(
    ("name", "more", "target"),
    [
        ("yuv420p", {}, (137, 119)),
        ("gbrp10", {}, (60, 40)),
        ("yuv422p", {"chroma": "nearest"}, None),
        ("yuv411p", {"chroma": "nearest"}, (101, 99)),
        ("yuv420p", {"chroma_location": ChromaLocation.CENTER, "range": ColorRange.FULL}, None),
        ("yuv444p", {"matrix": Matrix.BT601}, None),
    ],
)
@pytest.mark.parametrize("model", ["2x-ecbsr-m4c8", "2x-imdn-rtc"])
def test_targets_and_colour(model: str, name: str, more: dict[str, object], target) -> None:
    _check(deploy(find_model(model, 2), FrameFormat(PixelFormat.parse(name), **more), *SIZE, target))  # type: ignore[arg-type]


@pytest.mark.parametrize("corners", [False, True])
def test_networks_at_the_target_s_size(tmp_path, corners: bool) -> None:
    from vidsr.networks.export import export_network
    from vidsr.networks.imdn_as import IMDNAS

    torch.manual_seed(3)
    path = export_network(IMDNAS(features=8), tmp_path / "as.onnx")
    model = find_model(str(path), 2)
    deployed = deploy(model, FrameFormat(PixelFormat.parse("yuv420p")), 40, 36, (96, 80), corners=corners)
    _check(deployed)


@pytest.mark.parametrize("name", ["yuv420p", "gbrp"])
def test_int8_files_round_as_onnx_says(name: str) -> None:
    """Values between two codes fall to either side by the last bit of a sum, so not every sample is equal."""
    form = FrameFormat(PixelFormat.parse(name))
    deployed = deploy(find_model("2x-ecbsr-m4c16", 2).at("int8"), form, *SIZE)
    src = picture(form.pixel_format, *SIZE)
    options = SessionOptions(precision="int8", threads=1, device="cpu")
    got = upscale(get_backend("torch"), deployed, src, options)
    wanted = upscale(get_backend("openvino"), deployed, src, OV_F32)
    assert max(np.mean(a != b) for a, b in zip(got, wanted, strict=True)) < 0.01
    assert psnr(got, wanted, 255) > 65
    with pytest.raises(EngineBuildError, match="not of an int8 file"):
        get_backend("torch").open(deploy(find_model("2x-ecbsr-m4c16", 2), form, *SIZE), options)


# ---- half precision, as a GPU has it -----------------------------------------------------------------


def _half(deployed: Deployed, src: Planes) -> Planes:
    graph = TorchGraph(read_graph(deployed.model_bytes), half=True)
    kind = deployed.format.pixel_format.dtype
    planes = [torch.from_numpy(p.view(np.int16) if p.itemsize == 2 else p)[None, None] for p in src]
    return tuple(plane.numpy().view(kind)[0, 0] for plane in graph(planes))


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10", "gray16", "gbrp"])
@pytest.mark.parametrize("model", ["2x-ecbsr-m4c16", "2x-rfdn-s", "2x-imdn-rtc"])
def test_half_precision_loses_little(model: str, name: str) -> None:
    pixels = PixelFormat.parse(name)
    deployed = deploy(find_model(model, 2), FrameFormat(pixels), *SIZE)
    src = picture(pixels, *SIZE)
    wanted = upscale(get_backend("torch"), deployed, src, SessionOptions(device="cpu", threads=1))
    made = _half(deployed, src)
    floor = {8: 62, 10: 68, 16: 73}[pixels.bit_depth]  # rounding to 8 and 10 bits is at 59 and 71 dB
    assert psnr(made, wanted, pixels.peak) > floor
    if pixels.family == "yuv" and model == "2x-ecbsr-m4c16":  # chroma meets no network
        _compare(made[1:], wanted[1:], 0)


def test_only_what_lies_between_convolutions_is_half() -> None:
    model, form = find_model("2x-ecbsr-m4c8", 2), FrameFormat(PixelFormat.parse("yuv420p10"))
    graph = TorchGraph(read_graph(deploy(model, form, *SIZE).model_bytes), half=True)
    halves = [call.function.__qualname__.split(".")[0] for call in graph._calls if call.half]
    assert halves == ["_convolution", *["_prelu", "_convolution"] * 5]
    lifted = [call.factor for call in graph._calls if call.factor != 1]
    assert lifted
    assert all(factor < 2**-9 and np.log2(factor).is_integer() for factor in lifted)


def test_nothing_is_kept_after_its_last_use() -> None:
    deployed = deploy(find_model("2x-rfdn-s", 2), FrameFormat(PixelFormat.parse("yuv420p")), *SIZE)
    graph = TorchGraph(read_graph(deployed.model_bytes))
    dead = [name for call in graph._calls for name in call.dead]
    made = {name for call in graph._calls for name in call.outputs} | set(graph._inputs)
    assert len(dead) == len(set(dead))
    assert set(dead) == made - set(graph._outputs)


# ---- operators -----------------------------------------------------------------------------------------


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
    ("Pad", [_ints(0, 1, 1, -2, 0, 2, 0, 1), np.array(0.7, F)], {}),
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


@pytest.mark.parametrize(
    ("kind", "constants", "attributes"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
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
    end = helper.make_node("Gather", ["s", "i"], ["n"], axis=0)
    two = numpy_helper.from_array(_ints(3, 2), "i")
    nodes = [
        helper.make_node("Shape", ["y0"], ["s"]),
        end,
        helper.make_node("Concat", ["o", "n"], ["d"], axis=0),
    ]
    model.graph.initializer.extend([two, numpy_helper.from_array(_ints(4), "o")])
    model.graph.node.extend([*nodes, helper.make_node("Reshape", ["y0", "d"], ["q"])])
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
    assert onnx.checker.check_model(turned) is None
