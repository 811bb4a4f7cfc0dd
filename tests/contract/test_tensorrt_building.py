"""Typed graphs in TensorRT for RTX, which needs no GPU to parse and build: types, sizes, progress, refusals.

VIDSR_REQUIRE=tensorrt turns its absence into a failure.
"""

from __future__ import annotations

import threading
from collections import Counter

import onnx
import pytest

from vidsr.backends.tensorrt.builder import BuildOptions, BuildStoppedError, Built, build
from vidsr.backends.tensorrt.library import Library
from vidsr.backends.tensorrt.network import parse
from vidsr.errors import EngineBuildError
from vidsr.frame import PixelFormat
from vidsr.models import FrameFormat, deploy, list_models
from vidsr.models.half import TypedGraph, dynamic, half
from vidsr.models.merging import merged

MODELS = {model.spec.id: model for model in list_models()}
SMALL = "2x-ecbsr-m4c8"
RANGE = ((16, 24), (32, 48), (64, 96))
BITS = {8: "yuv420p", 10: "yuv420p10"}
KINDS = ["static", "dynamic"]
LAYOUTS = ["gray10", "gbrp", "gbrap10", "yuv422p", "yuv444p12", "yuva420p"]


def typed(name: str, bits: int, kind: str) -> TypedGraph:
    layout = FrameFormat(PixelFormat.parse(BITS[bits]))
    if kind == "dynamic":
        return dynamic(MODELS[name], layout, RANGE)
    return half(deploy(MODELS[name], layout, 48, 32))


def options(kind: str) -> BuildOptions:
    return BuildOptions(dynamic=RANGE if kind == "dynamic" else None)


def onward(phase: str, step: int, steps: int) -> bool:
    return True


@pytest.mark.parametrize("kind", ["static", pytest.param("dynamic", marks=pytest.mark.slow)])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_parses_as_it_is_typed(tensorrt_rtx: Library, name: str, bits: int, kind: str) -> None:
    graph = typed(name, bits, kind)
    parsed = parse(tensorrt_rtx, graph)
    assert [t.name for t in parsed.inputs] == ["p0", "p1", "p2"]
    assert [t.name for t in parsed.outputs] == ["q0", "q1", "q2"]
    assert {t.type for t in (*parsed.inputs, *parsed.outputs)} == {"uint8"}
    assert tuple(t.shape for t in parsed.inputs) == graph.carriers
    assert tuple(t.shape for t in parsed.outputs) == graph.out_carriers
    network = MODELS[name].proto.graph
    counts = Counter(n.op_type for n in merged(network, network.output[0].name).node)
    layers = [layer for layer in parsed.layers if layer.kind == "CONVOLUTION"]
    assert len(layers) == counts["Conv"]
    for layer in parsed.layers:
        if layer.kind in ("CONVOLUTION", "POOLING"):
            assert {*layer.inputs, *layer.outputs} == {"f16"}, layer
        if layer.kind == "UNARY" and layer.outputs != ("int64",):  # rounding
            assert {*layer.inputs, *layer.outputs} == {"f32"}, layer
        if layer.kind != "CAST":
            assert len({*layer.inputs, *layer.outputs} & {"f16", "f32"}) < 2, layer
            assert "uint8" not in (*layer.inputs, *layer.outputs), layer
    uint8 = Counter((layer.inputs, layer.outputs) for layer in parsed.layers if layer.kind == "CAST")
    assert uint8[("uint8",), ("f32",)] == uint8[("f32",), ("uint8",)] == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(
    "name", [n if n == SMALL else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_every_model_builds(tensorrt_rtx: Library, name: str, bits: int, kind: str) -> None:
    made = build(typed(name, bits, kind), options(kind), onward, tensorrt_rtx)
    assert isinstance(made, Built)
    weights = sum(len(t.raw_data) for t in MODELS[name].proto.graph.initializer) // 2
    assert len(made.engine) > weights
    assert made.timing_cache == b""
    assert made.layers


@pytest.mark.parametrize(
    "pixels", ["gray", *(pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS)]
)
def test_every_layout_builds(tensorrt_rtx: Library, pixels: str) -> None:
    layout = FrameFormat(PixelFormat.parse(pixels))
    static = half(deploy(MODELS[SMALL], layout, 48, 32))
    assert build(static, BuildOptions(), onward, tensorrt_rtx).engine
    parse(tensorrt_rtx, dynamic(MODELS[SMALL], layout, RANGE))
    parse(tensorrt_rtx, half(deploy(MODELS[SMALL], layout, 47, 33)))  # odd sizes
    parse(tensorrt_rtx, half(deploy(MODELS[SMALL], layout, 48, 32, (80, 50))))  # another scale


@pytest.mark.parametrize("bits", BITS)
def test_activations_are_fused(tensorrt_rtx: Library, bits: int) -> None:
    """A plan lists its kernels: each convolution with its activation is one."""
    plan = build(typed(SMALL, bits, "static"), BuildOptions(capability="8.9"), onward, tensorrt_rtx).engine
    activations = sum(n.op_type == "PRelu" for n in MODELS[SMALL].proto.graph.node)
    assert plan.count(b"runtime_fusion={ name=__myl_Corr") == activations
    assert b"MulLtSele" not in plan  # what a PReLU becomes by itself


def test_tells_how_far_it_is(tensorrt_rtx: Library) -> None:
    told: list[tuple[str, int, int]] = []
    threads = set()

    def progress(phase: str, step: int, steps: int) -> bool:
        told.append((phase, step, steps))
        threads.add(threading.get_ident())
        return True

    build(typed(SMALL, 8, "static"), options("static"), progress, tensorrt_rtx)
    assert told[0][1] == 0
    assert all(0 <= step <= steps for _, step, steps in told)
    assert any(step == steps for _, step, steps in told)


def test_stops_where_it_is_told_to(tensorrt_rtx: Library) -> None:
    told = []

    def progress(phase: str, step: int, steps: int) -> bool:
        told.append(phase)
        return len(told) < 3

    with pytest.raises(BuildStoppedError, match="stopped"):
        build(typed(SMALL, 8, "static"), options("static"), progress, tensorrt_rtx)
    assert len(told) == 3


def test_raises_what_progress_raises(tensorrt_rtx: Library) -> None:
    def progress(phase: str, step: int, steps: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(typed(SMALL, 8, "static"), options("static"), progress, tensorrt_rtx)


def test_builds_for_named_capabilities(tensorrt_rtx: Library) -> None:
    graph = typed(SMALL, 8, "static")
    one, two = (
        build(graph, BuildOptions(capability=c), onward, tensorrt_rtx).engine for c in ("8.9", "7.5, 12.0")
    )
    assert one
    assert two
    assert one != two
    assert {"7.5", "8.6", "8.9", "12.0"} <= set(tensorrt_rtx.capabilities())
    with pytest.raises(
        EngineBuildError, match=r"does not build for compute capability 6\.1; it builds for 7\.5"
    ):
        build(graph, BuildOptions(capability="6.1"), onward, tensorrt_rtx)


def test_ranges_go_with_dynamic_graphs(tensorrt_rtx: Library) -> None:
    with pytest.raises(EngineBuildError, match="needs a range of sizes"):
        build(typed(SMALL, 8, "dynamic"), BuildOptions(), onward, tensorrt_rtx)
    with pytest.raises(EngineBuildError, match="has one size"):
        build(typed(SMALL, 8, "static"), options("dynamic"), onward, tensorrt_rtx)


def test_a_dropped_cast_is_found(tensorrt_rtx: Library) -> None:
    """TensorRT refuses an FP16 convolution of FP32 samples, or it is not the network that was meant."""
    graph = typed(SMALL, 8, "static")
    proto = onnx.load_from_string(graph.model_bytes)
    cast = next(n for n in proto.graph.node if n.op_type == "Cast" and n.attribute[0].i == 10)
    for node in proto.graph.node:
        node.input[:] = [cast.input[0] if i == cast.output[0] else i for i in node.input]
    proto.graph.node.remove(cast)
    with pytest.raises(EngineBuildError, match="refuses the graph, Conv 'n3/conv0'"):
        build(_with(graph, proto), BuildOptions(), onward, tensorrt_rtx)


def test_other_types_than_the_graph_s_are_found(
    tensorrt_rtx: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = typed(SMALL, 8, "static")
    monkeypatch.setattr("vidsr.models.half.tensor_types", lambda _: {"q0": "uint8", "p0/f32": "f16"})
    with pytest.raises(EngineBuildError, match=r"makes 'p0/f32' f32 instead of f16; please report it"):
        parse(tensorrt_rtx, graph)


def test_says_why_a_graph_is_refused(tensorrt_rtx: Library) -> None:
    graph = typed(SMALL, 8, "static")
    proto = onnx.load_from_string(graph.model_bytes)
    next(n for n in proto.graph.node if n.op_type == "Conv").op_type = "NoSuchOperator"
    with pytest.raises(EngineBuildError, match=r"refuses the graph, NoSuchOperator 'n3/conv0' \(.*not found"):
        parse(tensorrt_rtx, _with(graph, proto))


def _with(graph: TypedGraph, proto: onnx.ModelProto) -> TypedGraph:
    return TypedGraph(
        proto.SerializeToString(),
        "",
        graph.pixel_format,
        graph.carriers,
        graph.out_carriers,
        graph.f32_nodes,
    )
