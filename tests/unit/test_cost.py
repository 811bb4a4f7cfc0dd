"""Parameters and multiplications, against numbers made by hand and the papers'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, load, numpy_helper

from vidsr.errors import ModelError
from vidsr.models.cost import SPEEDS, Cost, count, speed_of
from vidsr.networks.export import export_network
from vidsr.networks.registry import ARCHITECTURES

HERE = Path("network.onnx")


def graph_of(nodes: list[tuple[str, list[str], dict[str, object]]], **weights: list[int]) -> ModelProto:
    """Return a graph of nodes in a row, each named after its operator; `weights` are shapes by name."""
    made, last = [], "input"
    for place, (kind, inputs, attributes) in enumerate(nodes):
        name = "output" if place + 1 == len(nodes) else f"{kind}{place}"
        made.append(helper.make_node(kind, [last, *inputs], [name], **attributes))
        last = name
    ends = [
        helper.make_tensor_value_info(n, 1, [1, None, h, w])
        for n, h, w in (("input", "h", "w"), ("output", "H", "W"))
    ]
    ends[0].type.tensor_type.shape.dim[1].dim_value = 1
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), n) for n, shape in weights.items()]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], initializer=tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def exported(tmp_path: Path, network: str, **sizes: int) -> Cost:
    path = export_network(ARCHITECTURES[network].build(**sizes), tmp_path / "network.onnx")
    return count(load(path), path, 960, 540)


def test_ecbsr_m4c16_by_hand(tmp_path: Path) -> None:
    found = exported(tmp_path, "ecbsr", scale=2, channels=1, blocks=4, features=16)
    first, middle, last = 9 * 16, 9 * 16 * 16, 9 * 16 * 4
    # Weights, biases, and slopes behind all layers but the last.
    assert found.parameters == (first + 16 + 16) + 4 * (middle + 16 + 16) + (last + 4) == 10_100
    assert found.kmac == (first + 4 * middle + last) / 1000 == 9.936
    assert found.speed == "real time"


@pytest.mark.parametrize(
    ("network", "sizes", "parameters"),
    [
        ("ecbsr", {"scale": 4, "channels": 1, "blocks": 10, "features": 32}, 97_776),
        ("imdn", {"scale": 2, "channels": 3, "blocks": 6, "features": 64}, 694_404),
        ("imdn-rtc", {"scale": 2, "channels": 3, "blocks": 5, "features": 12}, 20_190),
    ],
)
def test_parameters_that_papers_print(
    tmp_path: Path, network: str, sizes: dict[str, int], parameters: int
) -> None:
    built = ARCHITECTURES[network].build(**sizes)
    assert exported(tmp_path, network, **sizes).parameters == parameters
    if network != "ecbsr":  # whose training has more
        assert sum(p.numel() for p in built.parameters()) == parameters


def test_strides_groups_and_transposed_convolutions() -> None:
    graph = graph_of(
        [
            ("Conv", ["a"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
            ("Conv", ["b"], {"kernel_shape": [2, 2], "strides": [2, 2], "group": 4}),
            ("ConvTranspose", ["c"], {"kernel_shape": [4, 4], "strides": [4, 4]}),
        ],
        a=[8, 1, 3, 3],
        b=[8, 2, 2, 2],
        c=[8, 1, 4, 4],
    )
    found = count(graph, HERE, 64, 48)
    # For each input pixel: 8 samples of 9 taps; a quarter of 8 samples of 2 x 4 taps; a quarter of 8 into 16.
    assert found.kmac == pytest.approx((8 * 9 + 8 * 8 / 4 + 8 * 16 / 4) / 1000)
    assert found.parameters == 72 + 64 + 128


def test_what_is_learnt() -> None:
    graph = graph_of(
        [
            ("Mul", ["one"], {}),  # a constant, such as 1 / 255
            ("Conv", ["w", "b"], {"kernel_shape": [1, 1]}),
            ("PRelu", ["one_slope"], {}),
            ("Add", ["table"], {}),
            ("Mul", ["table"], {}),  # counted once
        ],
        one=[1],
        w=[3, 1, 1, 1],
        b=[3],
        one_slope=[1],
        table=[3, 1, 1],
    )
    assert count(graph, HERE, 8, 8).parameters == 3 + 3 + 1 + 3


def test_what_cannot_be_counted_is_said() -> None:
    graph = graph_of([("Conv", ["w"], {"kernel_shape": [3, 3]})], w=[4, 1, 3, 3])
    with pytest.raises(ModelError, match="cannot be counted"):
        count(graph, HERE, 2, 2)  # the convolution has no place for its taps


def test_classes_of_speed() -> None:
    assert [speed_of(x) for x in (1, 12.5, 12.6, 25, 26, 125, 126)] == [
        "real time", "real time", "fast", "fast", "slow", "slow", "very slow",
    ]  # fmt: skip
    assert list(SPEEDS.values()) == sorted(SPEEDS.values())
