"""Typed graphs: what is FP16 in them, what they make, and that nothing in them can be left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typed_graphs import equal, farthest, form, frame, model, proto, psnr

from vidsr.errors import OptionsError
from vidsr.models import Deployed, Model, deploy, find_model
from vidsr.models.half import TypedGraph, half, tensor_types
from vidsr.models.merging import merged
from vidsr.models.simulate import run_deployed, run_typed
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network

WIDTH, HEIGHT = 40, 24
NETWORKS = ["2x-ecbsr-m4c8", "3x-imdn-rtc", "2x-rfdn-s"]
FORMATS = ["yuv420p", "yuv420p10", "gbrp"]


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(3)
    network = ECBSR(channels=3, blocks=1, features=8)
    return find_model(str(export_network(network, tmp_path_factory.mktemp("rgb") / "n.onnx")), 2)


def deployed(name: str, pixels: str, chroma: str = "bicubic") -> Deployed:
    return deploy(model(name), form(pixels, chroma), WIDTH, HEIGHT)


def weights(typed: TypedGraph) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in proto(typed).graph.initializer}


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network_is_f16_and_the_rest_f32(name: str, pixels: str) -> None:
    typed = half(deployed(name, pixels))
    types, stored = tensor_types(typed), weights(typed)
    types |= {n: {"float16": "f16", "float32": "f32"}.get(str(v.dtype), "") for n, v in stored.items()}
    for node in proto(typed).graph.node:
        used = {types[n] for n in (*node.input, *node.output) if n}
        if node.op_type in ("Conv", "Max", "LeakyRelu", "Relu", "MaxPool", "Sigmoid"):
            assert used == {"f16"}, node.name
        if node.op_type in ("Round", "Clip", "Floor"):
            assert used == {"f32"}, node.name
        if node.op_type not in ("Cast", "Resize", "Shape"):
            assert {"f16", "f32"} - used, f"{node.name} mixes both"
    assert set(types.values()) <= {"f16", "f32", "uint8", "int64", "int32", ""}
    assert typed.f32_nodes == ()
    ends = [*proto(typed).graph.input, *proto(typed).graph.output]
    assert [types[e.name] for e in ends] == ["uint8"] * 6
    # What is not of the network is what no convolution needs, or lies behind the last.
    convs = Counter(n.op_type for n in proto(typed).graph.node)["Conv"]
    network = model(name).proto.graph
    assert convs == Counter(n.op_type for n in merged(network, network.output[0].name).node)["Conv"]


@pytest.mark.parametrize("pixels", [*FORMATS, "yuv422p12", "gray16", "yuva420p"])
@pytest.mark.parametrize("name", NETWORKS)
def test_makes_what_f32_makes(name: str, pixels: str) -> None:
    graph = deployed(name, pixels)
    peak = graph.format.pixel_format.peak
    src = frame(graph.format.pixel_format, WIDTH, HEIGHT)
    got, wanted = run_typed(half(graph), src), run_deployed(graph, src)
    assert psnr(got[:1], wanted[:1], peak) > 55
    # 0.4 % of the range at most in luma: 1 code of 8 bits
    assert farthest(got, wanted) <= max(1, peak // 255)
    if graph.format.pixel_format.family == "yuv":
        assert equal(got[1:], wanted[1:])  # filters are FP32


@pytest.mark.parametrize("pixels", ["gray", "yuv422p10", "yuv420p", "gbrap10", "gbrp"])
def test_rgb_networks(rgb: Model, pixels: str) -> None:
    graph = deploy(rgb, form(pixels), WIDTH, HEIGHT)
    src = frame(graph.format.pixel_format, WIDTH, HEIGHT)
    got, wanted = run_typed(half(graph), src), run_deployed(graph, src)
    peak = graph.format.pixel_format.peak
    assert psnr(got, wanted, peak) > 55
    assert farthest(got, wanted) <= max(1, peak // 255)


def test_any_target() -> None:
    """Filters behind the network to another scale are FP32 as well."""
    graph = deploy(model("2x-ecbsr-m4c8"), form("yuv420p"), WIDTH, HEIGHT, (50, 30))
    typed = half(graph)
    src = frame(graph.format.pixel_format, WIDTH, HEIGHT)
    assert farthest(run_typed(typed, src), run_deployed(graph, src)) <= 1
    types = tensor_types(typed)
    filters = [n for n in proto(typed).graph.node if n.op_type == "Gather"]
    assert len(filters) > 20
    assert {types[n.output[0]] for n in filters} == {"f32"}


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p9", "yuv422p10", "yuv444p12", "yuv420p16"])
def test_codes_cross_as_bytes(pixels: str) -> None:
    """Chroma that is only repeated comes out as every code that went in."""
    graph = deployed("2x-ecbsr-m4c8", pixels, "nearest")
    form_ = graph.format.pixel_format
    typed = half(graph)
    rng = np.random.default_rng(0)
    shapes = form_.plane_shapes(WIDTH, HEIGHT)
    src = tuple(rng.integers(0, form_.peak + 1, s).astype(form_.dtype) for s in shapes)
    src[1][0, :2] = 0, form_.peak
    for plane, made in zip(src[1:], run_typed(typed, src)[1:], strict=True):
        assert np.array_equal(made, plane.repeat(2, axis=0).repeat(2, axis=1))
    last = () if form_.peak < 256 else (2,)
    assert typed.carriers == tuple((1, 1, *s, *last) for s in shapes)
    assert typed.carriers == typed.carriers_at((HEIGHT, WIDTH))
    assert typed.out_carriers == tuple((1, 1, *s, *last) for s in form_.plane_shapes(2 * WIDTH, 2 * HEIGHT))
    assert not typed.dynamic


@pytest.mark.parametrize("pixels", FORMATS)
def test_no_cast_can_be_dropped(pixels: str) -> None:
    typed = half(deployed("2x-ecbsr-m4c8", pixels))
    onnx.checker.check_model(proto(typed), full_check=True)
    casts = [n.name for n in proto(typed).graph.node if n.op_type == "Cast"]
    assert len(casts) >= 8
    for name in casts:
        broken = proto(typed)
        cast = next(n for n in broken.graph.node if n.name == name)
        for node in broken.graph.node:
            node.input[:] = [cast.input[0] if i == cast.output[0] else i for i in node.input]
        if cast.output[0].startswith("q"):
            cast.op_type = "Identity"
            cast.ClearField("attribute")
        else:
            broken.graph.node.remove(cast)
        with pytest.raises((onnx.shape_inference.InferenceError, onnx.checker.ValidationError)):
            _check_types(broken)


def _check_types(graph: onnx.ModelProto) -> None:
    """Refuse what mixes types, by ONNX's own rules."""
    onnx.checker.check_model(graph, full_check=True)
    onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True)


def test_first_weights_stay_in_range() -> None:
    """The first layer takes codes: divided by 65535, its weights are nothing that FP16 holds."""
    graph = deployed("2x-ecbsr-m4c8", "gray16")
    typed = half(graph)
    stored = weights(typed)
    first = next(n for n in proto(typed).graph.node if n.op_type == "Conv")
    kernel = stored[first.input[1]]
    assert kernel.dtype == np.float16
    assert 0.5 <= np.abs(kernel.astype(np.float32)).max() <= 1
    src = frame(graph.format.pixel_format, WIDTH, HEIGHT)
    assert psnr(run_typed(typed, src), run_deployed(graph, src), 65535) > 65


def test_keeps_what_is_named_in_f32() -> None:
    graph = deployed("2x-ecbsr-m4c8", "yuv420p")
    names = [n.name for n in onnx.ModelProto.FromString(graph.model_bytes).graph.node if n.op_type == "Conv"]
    kept = frozenset(names[1:3])
    typed = half(graph, keep_f32=kept)
    assert typed.f32_nodes == tuple(names[1:3])
    types = tensor_types(typed)
    assert [types[n.output[0]] for n in proto(typed).graph.node if n.op_type == "Conv"] == [
        "f32" if n in kept else "f16" for n in names
    ]
    _check_types(proto(typed))
    everything = half(
        graph, keep_f32=frozenset(n.name for n in onnx.load_from_string(graph.model_bytes).graph.node)
    )
    assert "f16" not in tensor_types(everything).values()
    src = frame(graph.format.pixel_format, WIDTH, HEIGHT)
    assert equal(run_typed(everything, src), run_deployed(graph, src))


def test_prelu_is_written_as_what_fuses(tmp_path: Path) -> None:
    """The very values of a PReLU, whatever its slopes: negative, above 1, one for all."""
    torch.manual_seed(0)
    network = ECBSR(blocks=1, features=8).fold()
    exported = export_network(network, tmp_path / "n.onnx")
    graph = onnx.load(exported)
    rng = np.random.default_rng(0)
    for tensor in graph.graph.initializer:
        if "slope" in tensor.name:
            slopes = rng.uniform(-2, 3, numpy_helper.to_array(tensor).shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(slopes, tensor.name))
    changed = tmp_path / "changed.onnx"
    onnx.save(graph, changed)
    source = deploy(find_model(str(changed), 2), form("gray"), WIDTH, HEIGHT)
    seen: dict[str, np.ndarray] = {}
    typed = half(source)
    run_typed(typed, frame(form("gray").pixel_format, WIDTH, HEIGHT), lambda n, v: seen.update({n: v}))
    stored = {
        t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(source.model_bytes).graph.initializer
    }
    nodes = [n for n in onnx.load_from_string(source.model_bytes).graph.node if n.op_type == "PRelu"]
    assert len(nodes) == 2
    assert "PRelu" not in {n.op_type for n in proto(typed).graph.node}
    for node in nodes:
        x = seen[node.input[0]].astype(np.float32)
        slopes = stored[node.input[1]].astype(np.float16).astype(np.float32)
        assert slopes.min() < 0
        assert slopes.max() > 1
        assert np.array_equal(seen[node.output[0]], np.where(x > 0, x, x * slopes).astype(np.float16))


def test_anchors_are_left_out() -> None:
    """`first_layer.anchored` is for OpenVINO."""
    graph = deployed("2x-imdn-rtc", "gbrp")
    tiny = np.float32(1e-30)
    constants = [numpy_helper.to_array(t) for t in onnx.load_from_string(graph.model_bytes).graph.initializer]
    assert any(c.size == 1 and c.item() == tiny for c in constants)
    assert not any(c.size == 1 and c.item() == tiny for c in weights(half(graph)).values())


def test_same_graph_same_bytes() -> None:
    one, other = (half(deployed("2x-ecbsr-m4c8", "yuv420p10")) for _ in range(2))
    assert one.model_bytes == other.model_bytes
    assert one.digest == other.digest != half(deployed("2x-ecbsr-m4c8", "yuv420p")).digest


def test_int8_files_are_refused() -> None:
    graph = deploy(model("2x-ecbsr-m4c16").at("int8"), form("yuv420p"), WIDTH, HEIGHT)
    with pytest.raises(
        OptionsError, match=r"FP16 is made of a model's f32 file, this is its int8 file; leave"
    ):
        half(graph)


def test_sums_stay_f32(tmp_path: Path) -> None:
    """Means over pictures are f32 although they lie between convolutions; what they weigh is not."""
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    kernel = (rng.normal(size=(4, 4, 3, 3)) / 9).astype(np.float32)
    pads = {"kernel_shape": [3, 3], "pads": [1] * 4}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first", **pads),
        helper.make_node("ReduceMean", ["a"], ["m"], name="mean", axes=[2, 3]),
        helper.make_node("Mul", ["a", "m"], ["b"], name="weigh"),
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Slice", ["s", "two", "four"], ["sides"], name="sides"),
        helper.make_node("Concat", ["batch", "sides"], ["all"], name="all", axis=0),
        helper.make_node("Resize", ["b", "", "", "all"], ["r"], name="resize", mode="nearest"),
        helper.make_node("Conv", ["r", "w1"], ["c"], name="last", **pads),
        helper.make_node("DepthToSpace", ["c"], ["y"], name="shuffle", blocksize=2),
    ]
    stored = {
        "w0": kernel[:, :1],
        "w1": kernel,
        "two": np.array([2], np.int64),
        "four": np.array([4], np.int64),
        "batch": np.array([1, 4], np.int64),
    }
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, f"{n}h", f"{n}w"]) for n in "xy"]
    tensors = [numpy_helper.from_array(v, k) for k, v in stored.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializer=tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "n.onnx")
    graph_ = deploy(find_model(str(tmp_path / "n.onnx"), 2), form("gray"), WIDTH, HEIGHT)
    typed = half(graph_)
    types = tensor_types(typed)
    kinds = {n.name.rpartition("/")[2]: types[n.output[0]] for n in proto(typed).graph.node}
    wanted = {"a": "f16", "b": "f16", "r": "f16", "c": "f16", "m": "f32", "all": "int64"}
    assert {name: kinds[name] for name in wanted} == wanted
    assert [n.rpartition("/")[2] for n in typed.f32_nodes] == ["m"]
    src = frame(graph_.format.pixel_format, WIDTH, HEIGHT)
    assert farthest(run_typed(typed, src), run_deployed(graph_, src)) <= 1
