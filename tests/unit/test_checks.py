"""Files that must be refused are, with one line that says why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from vidsr.errors import ModelError, WeightsError
from vidsr.models import checks
from vidsr.models.checks import GraphFacts, describe, parse_model, read_model_bytes
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network

HERE = Path("model.onnx")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "good.onnx"
    return export_network(ECBSR(blocks=1, features=4), path).read_bytes()


def _changed(data: bytes, change: Callable[[Any], Any]) -> bytes:
    model = onnx.load_model_from_string(data)
    change(model)
    return model.SerializeToString()


def test_a_good_file_passes(good: bytes) -> None:
    assert describe(parse_model(good, HERE), HERE) == GraphFacts(channels=1, scale=2)


@pytest.mark.parametrize(("channels", "scale"), [(1, 3), (3, 2), (3, 4)])
def test_channels_and_scale_are_read(tmp_path: Path, channels: int, scale: int) -> None:
    path = export_network(ECBSR(blocks=0, features=4, channels=channels, scale=scale), tmp_path / "a.onnx")
    assert describe(parse_model(path.read_bytes(), path), path) == GraphFacts(channels, scale)


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"PK\x03\x04 a zip", bytes(range(256)) * 40])
def test_no_onnx_at_all(data: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        parse_model(data, HERE)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model.onnx: ")


def test_cut_off(good: bytes) -> None:
    for length in range(0, len(good), 97):
        with pytest.raises(ModelError):
            parse_model(good[:length], HERE)


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _hidden_external(model: Any) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def _not_finite(model: Any) -> None:
    values = numpy_helper.to_array(model.graph.initializer[1]).copy()
    values.flat[0] = np.nan
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[1].name))


def _custom_domain(model: Any) -> None:
    model.graph.node[0].domain = "com.evil"
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def _loop(model: Any) -> None:
    model.graph.node[0].op_type = "Loop"


def _subgraph(model: Any) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "g", [], [])))


def _function(model: Any) -> None:
    model.functions.append(helper.make_function("", "Conv", ["a"], ["b"], [], [helper.make_opsetid("", 17)]))


def _two_inputs(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def _fixed_size(model: Any) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 64


def _two_channels(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2


def _integers(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _old_opset(model: Any) -> None:
    model.opset_import[0].version = 9


def _huge_padding(model: Any) -> None:
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [1 << 40] * 4


def _negative_stride(model: Any) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("strides", [-1, 1]))


def _short_weights(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 5


def _claims_many_weights(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]


def _wrong_slopes(model: Any) -> None:
    slope = next(t for t in model.graph.initializer if t.name == "slope0")
    slope.CopyFrom(numpy_helper.from_array(np.ones((7, 1, 1), np.float32), slope.name))


def _not_larger(model: Any) -> None:
    del model.graph.node[-1]
    model.graph.output[0].name = model.graph.node[-1].output[0]


def _dangling(model: Any) -> None:
    model.graph.node[1].input[0] = "nowhere"


def _bomb(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 1 << 20, 1 << 20]), "times"))
    tile = helper.make_node("Tile", ["output", "times"], ["tiled"])
    model.graph.node.append(tile)
    model.graph.output[0].name = "tiled"


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (_external, ModelError, "another file"),
        (_hidden_external, ModelError, "another file"),
        (_not_finite, WeightsError, "not finite"),
        (_custom_domain, ModelError, "com.evil"),
        (_loop, ModelError, "Loop"),
        (_subgraph, ModelError, "subgraph"),
        (_function, ModelError, "functions"),
        (_two_inputs, ModelError, "2 inputs"),
        (_fixed_size, ModelError, "dynamic height and width"),
        (_two_channels, ModelError, "input"),
        (_integers, ModelError, "floating point"),
        (_old_opset, ModelError, "opset 9"),
        (_huge_padding, ModelError, "pads"),
        (_negative_stride, ModelError, "strides"),
        (_short_weights, WeightsError, "less data"),
        (_claims_many_weights, WeightsError, "weights"),
        (_wrong_slopes, WeightsError, "PRelu"),
        (_not_larger, ModelError, "becomes"),
        (_dangling, ModelError, "nowhere"),
        (_bomb, ModelError, ""),
    ],
)
def test_refused(good: bytes, change: Callable[[Any], Any], kind: type[ModelError], words: str) -> None:
    with pytest.raises(kind) as caught:
        parse_model(_changed(good, change), HERE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(checks.MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(ModelError, match="too large"):
        read_model_bytes(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "no.onnx", tmp_path):
        with pytest.raises(ModelError, match="cannot read"):
            read_model_bytes(path)
