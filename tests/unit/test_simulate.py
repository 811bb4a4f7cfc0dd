"""The simulation of FP16: its fast operators are ONNX's, and its roundings are the hardware's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typed_graphs import equal, farthest, form, frame, model

from vidsr.backends import SessionOptions
from vidsr.backends.openvino import BACKEND
from vidsr.models import deploy, simulate
from vidsr.models.half import half

RNG = np.random.default_rng(0)


def rand(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def sizes(*sides: int) -> np.ndarray:
    return np.array(sides, dtype=np.int64)


CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Conv", [rand(1, 3, 9, 11), rand(4, 3, 3, 3), rand(4)], {"pads": [1, 1, 1, 1]}),
    ("Conv", [rand(1, 3, 9, 11), rand(4, 3, 3, 3)], {}),
    ("Conv", [rand(1, 2, 17, 12), rand(5, 2, 3, 2), rand(5)], {"pads": [2, 0, 1, 3], "strides": [2, 3]}),
    ("Conv", [rand(1, 2, 17, 12), rand(5, 2, 3, 3)], {"dilations": [2, 3], "strides": [1, 2]}),
    ("Conv", [rand(1, 4, 8, 8), rand(4, 2, 3, 3)], {"group": 2}),
    ("Conv", [rand(1, 1, 2000, 300), rand(2, 1, 3, 3)], {"pads": [1, 1, 1, 1]}),  # in several bands
    ("MaxPool", [rand(1, 3, 30, 31)], {"kernel_shape": [7, 7], "strides": [3, 3]}),
    ("MaxPool", [rand(1, 3, 10, 11)], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1]}),
    (
        "Resize",
        [rand(1, 2, 5, 7), None, None, sizes(1, 2, 13, 16)],
        {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    ),
    ("Resize", [rand(1, 2, 5, 7), None, None, sizes(1, 2, 10, 14)], {"mode": "nearest"}),
    ("Slice", [rand(1, 2, 9, 9), sizes(1), sizes(-2), sizes(2), sizes(2)], {}),
    ("Slice", [rand(1, 2, 9, 9), sizes(1), sizes(1 << 62), sizes(3), sizes(1)], {}),
    ("Slice", [rand(1, 2, 9, 9), sizes(7), sizes(0), sizes(3), sizes(-3)], {}),
]


def one_node(kind: str, inputs: list[Any], attributes: dict[str, Any]) -> onnx.NodeProto:
    names = [f"i{n}" if value is not None else "" for n, value in enumerate(inputs)]
    return helper.make_node(kind, names, ["o"], **attributes)


@pytest.mark.parametrize(("kind", "inputs", "attributes"), CASES)
def test_fast_operators_are_onnx_s(kind: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    node = one_node(kind, inputs, attributes)
    (got,) = simulate._made(node, inputs, 17)
    (wanted,) = simulate._by_reference(node, inputs, 17)
    assert got.dtype == np.float32
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)


def test_rounds_once_a_node() -> None:
    """Sums are FP32 inside: 2048 + 1 + 1 would stay 2048 if each were rounded to FP16."""
    ones = np.ones((1, 3, 1, 1), dtype=np.float16)
    kernel = np.array([2048, 1, 1], dtype=np.float16).reshape(1, 3, 1, 1)
    (got,) = simulate._made(one_node("Conv", [ones, kernel], {}), [ones, kernel], 17)
    assert got.dtype == np.float16
    assert got.item() == 2050
    (got,) = simulate._made(one_node("Add", [ones, ones], {}), [ones * 2048, ones], 17)
    assert set(got.ravel().tolist()) == {2048.0}


def test_rounds_only_the_result() -> None:
    """A sigmoid in steps of FP16 would round its exponential as well."""
    values = np.linspace(-6, 6, 999).astype(np.float16)
    (got,) = simulate._made(one_node("Sigmoid", [values], {}), [values], 17)
    wanted = 1 / (1 + np.exp(-values.astype(np.float64)))
    assert got.dtype == np.float16
    assert np.count_nonzero(got != wanted.astype(np.float16)) < 3


def test_what_is_too_large_is_infinite() -> None:
    large = np.full((1, 1, 1, 1), 60000, dtype=np.float16)
    (got,) = simulate._made(one_node("Add", [large, large], {}), [large, large], 17)
    assert np.isinf(got).all()


def test_casts_round() -> None:
    value = np.array([1 + 2**-12, 1e-9], dtype=np.float32)
    (got,) = simulate._made(one_node("Cast", [value], {"to": TensorProto.FLOAT16}), [value], 17)
    assert got.dtype == np.float16
    assert got.tolist() == [1.0, 0.0]
    assert numpy_helper.from_array(got).data_type == TensorProto.FLOAT16


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10"])
@pytest.mark.parametrize("name", ["2x-ecbsr-m4c16", "2x-rfdn-s", "2x-imdn-rtc"])
def test_f32_is_openvino_s(name: str, pixels: str) -> None:
    """The yardstick of FP16 is what the f32 backend makes."""
    deployed = deploy(model(name), form(pixels), 48, 32)
    src = frame(deployed.format.pixel_format, 48, 32)
    made = deployed.format.pixel_format.allocate(96, 64)
    session = BACKEND.open(deployed, SessionOptions(precision="f32", threads=1, in_flight=1))
    session.submit(src, made).result()
    session.close()
    got = simulate.run_deployed(deployed, src)
    assert farthest(got, made) <= 1
    assert sum(int(np.count_nonzero(a != b)) for a, b in zip(got, made, strict=True)) < 10


def test_watches_each_tensor() -> None:
    graph = half(deploy(model("2x-ecbsr-m4c8"), form("gray"), 24, 16))
    seen: dict[str, Any] = {}
    src = frame(form("gray").pixel_format, 24, 16)
    made = simulate.run_typed(graph, src, lambda name, value: seen.update({name: value.dtype}))
    assert seen["q0"] == np.uint8
    assert np.float16 in seen.values()
    assert equal(made, simulate.run_typed(graph, src))
