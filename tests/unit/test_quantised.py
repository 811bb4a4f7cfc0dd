"""int8 graphs: what their nodes compute, and that calibration is repeatable and worth its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from int8_reference import run_ecbsr
from onnx import numpy_helper

from vidsr.backends.openvino import run_graph
from vidsr.errors import OptionsError, SourceError
from vidsr.evaluation.calibration import Patches, calibrated, cut_patches, training_folders
from vidsr.models import find_model
from vidsr.models.checks import parse_model
from vidsr.models.equalise import equalisable, equalised
from vidsr.models.quantised import Codes, Layer, quantisable, quantised_graph, with_outputs
from vidsr.models.rounding import best_codes
from vidsr.networks.ecbsr import ECBSR, PlainECBSR
from vidsr.networks.export import export_network
from vidsr.training.quantise import fine_tuned
from vidsr.training.simulated import SimulatedInt8


def network(scale: int = 2) -> PlainECBSR:
    torch.manual_seed(3)
    made = ECBSR(scale=scale, blocks=2, features=8).fold()
    with torch.no_grad():
        for i, kernel in enumerate(made.kernels):
            kernel *= 1.5 if i < 3 else 0.3
            kernel[0] *= 20 if i < 3 else 1  # one channel that would take all codes
    return made


@pytest.fixture(scope="module")
def proto(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = export_network(network(), tmp_path_factory.mktemp("net") / "n.onnx")
    return find_model(str(path), 2).proto


@pytest.fixture(scope="module")
def patches(proto: onnx.ModelProto) -> Patches:
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:32, :32]
    waves = [np.sin(rows / rng.uniform(1, 9) + k) * np.cos(columns / rng.uniform(1, 9)) for k in range(12)]
    low = np.stack([0.5 + 0.3 * w + rng.normal(0, 0.05, w.shape) for w in waves])
    low = low.clip(0, 1).astype(np.float32)[:, None]
    made = run_graph(proto, low)["output"]
    return Patches(low, (made + rng.normal(0, 0.02, made.shape)).astype(np.float32))


def noise(graph: onnx.ModelProto, proto: onnx.ModelProto, low: np.ndarray) -> float:
    return float(np.square(run_graph(graph, low)["output"] - run_graph(proto, low)["output"]).mean())


def test_the_nodes_compute_in_integers(proto: onnx.ModelProto, patches: Patches) -> None:
    graph = calibrated(proto, patches).graph
    x = patches.low[3:4]
    wanted = run_ecbsr(graph.graph, x[0, 0].astype(np.float64), 2)
    off = np.abs(run_graph(graph, x)["output"][0, 0] - wanted)
    # A value on the edge between two codes may fall either way in float32; it then moves its neighbours.
    assert np.quantile(off, 0.95) < 1e-5
    assert off.max() < 0.01
    assert off.max() < 0.2 * np.abs(run_graph(proto, x)["output"][0, 0] - wanted).max()


def test_the_shape_of_the_file(proto: onnx.ModelProto, patches: Patches) -> None:
    graph = calibrated(proto, patches).graph
    parse_model(graph.SerializeToString(), Path("n.int8.onnx"))
    kinds = [n.op_type for n in graph.graph.node]
    inner = ["PRelu", "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv"]
    assert kinds == ["Conv", *inner * 3, "Add", "DepthToSpace"]
    stored = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    for layer in (1, 2, 3):
        codes = stored[f"kernel{layer}.codes"]
        assert codes.dtype == np.int8
        assert np.abs(codes.astype(int)).max() <= 127
        assert stored[f"kernel{layer}.scale"].shape == (len(codes),)
        assert not stored[f"kernel{layer}.zero"].any()
        assert stored[f"bias{layer}"].dtype == np.float32
        assert stored[f"prelu{layer - 1}.zero"].dtype == np.uint8
        assert f"kernel{layer}" not in stored
    # The first layer takes the picture, and the last sum makes it again: neither is rounded.
    assert stored["kernel0"].dtype == np.float32
    assert graph.graph.node[-2].input[1] == "input"


def test_equal_patches_give_equal_bytes(proto: onnx.ModelProto, patches: Patches) -> None:
    one, other = (calibrated(proto, patches).graph.SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


def test_evening_out_changes_nothing_but_the_noise(proto: onnx.ModelProto, patches: Patches) -> None:
    names = equalisable(proto)
    assert names == ["prelu0", "prelu1", "prelu2"]
    tensors = run_graph(with_outputs(proto, names), patches.low)
    even = equalised(proto, tensors, np.ones(len(patches.low)))
    made = [run_graph(graph, patches.low)["output"] for graph in (proto, even)]
    np.testing.assert_allclose(made[0], made[1], atol=2e-5)
    plain = calibrated(proto, patches, equalise=False).graph
    assert noise(calibrated(proto, patches).graph, proto, patches.low) < 0.7 * noise(
        plain, proto, patches.low
    )


def test_codes_hold_zero_exactly() -> None:
    for low, high in ((-1.0, 3.0), (0.2, 3.0), (-5.0, -1.0), (0.0, 0.0)):
        codes = Codes.spanning(low, high)
        assert 0 <= codes.zero_point <= 255
        assert codes.rounded(np.zeros(1, np.float32)) == 0
    assert Codes(1.0, 10).of(np.array([0.5, 1.5, 2.5, 300, -300], np.float32)).tolist() == [
        10,
        12,
        12,
        255,
        0,
    ]


def test_an_outlier_is_cut_off_where_it_counts_little() -> None:
    values = np.random.default_rng(0).normal(0, 1, (4, 1, 128, 128)).astype(np.float32)
    values[0, 0, 0, 0] = 1000
    assert best_codes(values, np.ones(4)).scale > 3
    assert best_codes(values, np.array([1e-7, 1, 1, 1])).scale < 100 / 255


def test_one_tensor_is_one_kind_of_codes(proto: onnx.ModelProto) -> None:
    both = onnx.ModelProto()
    both.CopyFrom(proto)
    again = both.graph.node.add()
    again.CopyFrom(next(n for n in proto.graph.node if n.output[0] == "conv1"))
    again.output[0] = "again"
    layers = {
        w.name: Layer(Codes(step, 3), np.zeros_like(w.weights, np.int8), w.bias, w.bias)
        for w, step in zip([w for w in quantisable(both) if w.source == "prelu0"], (1.0, 2.0), strict=True)
    }
    with pytest.raises(ValueError, match="'prelu0' is taken as two kinds"):
        quantised_graph(both, layers)


def test_patches_are_the_same_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for i in range(3):
        body = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8).tobytes()
        (tmp_path / f"{i}.ppm").write_bytes(b"P6 90 80 255\n" + body)
    one, other = (cut_patches([tmp_path], 2, count=8, side=16) for _ in range(2))
    assert one.low.shape == (8, 1, 16, 16)
    assert one.high.shape == (8, 1, 32, 32)
    np.testing.assert_array_equal(one.low, other.low)
    np.testing.assert_array_equal(one.high, other.high)
    # Every other one is softened: noise is less there.
    assert one.high[1::2].std() < 0.5 * one.high[::2].std()
    assert len(one.some(3).low) == 3
    with pytest.raises(SourceError, match="no picture of 200 pixels a side"):
        cut_patches([tmp_path], 2, count=8, side=100)


def test_a_card_without_training_pictures_cannot_be_calibrated(tmp_path: Path) -> None:
    model = find_model(str(export_network(network(), tmp_path / "n.onnx")), 2)
    with pytest.raises(OptionsError, match="names no training pictures"):
        training_folders(model, tmp_path)


def test_folders_can_be_left_out(tmp_path: Path) -> None:
    model = find_model("2x-ecbsr-m4c16", 2)
    every = training_folders(model, tmp_path)
    assert tmp_path / "train/openclipart" in every
    left = training_folders(model, tmp_path, ["train/openclipart"])
    assert left == [folder for folder in every if folder.name != "openclipart"]
    with pytest.raises(OptionsError, match="was not trained on 'train/clips'"):
        training_folders(model, tmp_path, ["train/clips"])


def test_what_is_simulated_is_what_runs(proto: onnx.ModelProto, patches: Patches) -> None:
    quantised = calibrated(proto, patches)
    with torch.no_grad():
        made = SimulatedInt8(quantised)(torch.from_numpy(patches.low)).numpy()
    off = np.abs(made - run_graph(quantised.graph, patches.low)["output"]) / made.std()
    assert np.quantile(off, 0.95) < 1e-5
    assert off.max() < 0.1


def test_fine_tuning_comes_nearer(proto: onnx.ModelProto, patches: Patches) -> None:
    start = calibrated(proto, patches.some(2))
    told: list[int] = []
    tuned = fine_tuned(start, proto, patches, steps=100, rate=0.1, told=lambda step, _: told.append(step))
    assert told == [100]
    before, after = (noise(q.graph, proto, patches.low) for q in (start, tuned))
    assert after < 0.9 * before
