"""Networks that want gigabytes or files of others: refused soon and cheaply."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vidsr.errors import ModelError
from vidsr.models.checks import parse_model
from vidsr.models.wire import MAX_FIELDS, HostileBytesError, count_fields

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "engines" / "2x-ecbsr-m4c8.onnx"
_LIMIT = 1 << 30  # bytes of address space above what importing takes
_CHECK = """
import json, os, resource, sys
from pathlib import Path
import numpy, onnx, onnx.checker, onnx.shape_inference
from vidsr.errors import ModelError
from vidsr.models.checks import parse_model
used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
data = Path(sys.argv[1]).read_bytes()
resource.setrlimit(resource.RLIMIT_AS, (used + len(data) + int(sys.argv[2]),) * 2)
try:
    parse_model(data, Path("model.onnx"))
    print(json.dumps("taken"))
except ModelError as error:
    print(json.dumps(str(error)))
"""


def checked(path: Path) -> str:
    """What the checks say of a file, in a process with little memory and 30 s."""
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, str(path), str(_LIMIT)],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    return str(json.loads(done.stdout))


_ONE = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "one")


def _integers(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _after(model: Any, nodes: list[Any], tensors: list[TensorProto], output: str) -> None:
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    model.graph.output[0].name = output


def _by_dims_only(model: Any) -> None:
    tensor = TensorProto(name="huge", data_type=1, dims=[1 << 40])
    model.graph.initializer.append(tensor)


def _overflowing_dims(model: Any) -> None:
    model.graph.initializer.append(TensorProto(name="huge", data_type=1, dims=[1 << 62] * 6))


def _constant_of_shape(model: Any) -> None:
    node = helper.make_node("ConstantOfShape", ["s"], ["big"])
    add = helper.make_node("Add", ["output", "big"], ["total"])
    _after(model, [node, add], [_integers("s", 1 << 40)], "total")


def _expand(model: Any) -> None:
    _after(model, _mean_of_many(), [_ONE, _integers("s", 1, 1, 1 << 20, 1 << 20)], "total")


def _mean_of_many() -> list[Any]:
    return [
        helper.make_node("Expand", ["one", "s"], ["big"]),
        helper.make_node("ReduceMean", ["big"], ["mean"], keepdims=1, axes=[2, 3]),
        helper.make_node("Add", ["output", "mean"], ["total"]),
    ]


def _tiles(model: Any) -> None:
    nodes, last = [], "output"
    for number in range(40):
        nodes.append(helper.make_node("Tile", [last, "s"], [f"t{number}"]))
        last = f"t{number}"
    _after(model, nodes, [_integers("s", 1, 1, 2, 2)], last)


def _resizes(model: Any) -> None:
    nodes, last = [], "output"
    for number in range(30):
        nodes.append(helper.make_node("Resize", [last, "", "s"], [f"t{number}"], mode="nearest"))
        last = f"t{number}"
    scales = numpy_helper.from_array(np.array([1, 1, 4, 4], np.float32), "s")
    _after(model, nodes, [scales], last)


def _doubling_lists(model: Any) -> None:
    nodes, last = [], "s"
    for number in range(40):
        nodes.append(helper.make_node("Concat", [last, last], [f"c{number}"], axis=0))
        last = f"c{number}"
    nodes.append(helper.make_node("Expand", ["output", last], ["big"]))
    _after(model, nodes, [_integers("s", 1)], "big")


def _square_of_the_picture(model: Any) -> None:
    nodes = [
        helper.make_node("Reshape", ["output", "flat"], ["a"]),
        helper.make_node("Reshape", ["output", "tall"], ["b"]),
        helper.make_node("Slice", ["a", "zero", "two", "last"], ["short"]),
        helper.make_node("Mul", ["short", "b"], ["square"]),
        helper.make_node("ReduceSum", ["square", "last"], ["sums"], keepdims=1),
        helper.make_node("Shape", ["output"], ["size"]),
        helper.make_node("Reshape", ["sums", "size"], ["back"]),
    ]
    lists = {"flat": [1, 1, 1, -1], "tall": [1, 1, -1, 1], "zero": [0], "two": [4096], "last": [3]}
    _after(model, nodes, [_integers(name, *values) for name, values in lists.items()], "back")
    model.graph.node[-5].CopyFrom(helper.make_node("Identity", ["a"], ["short"]))  # not cut after all


def _not_told(model: Any) -> None:
    """How large it becomes is in the weights, as floating point."""
    sides = numpy_helper.from_array(np.array([1, 1, 2**20, 2**20], np.float32), "f")
    cast = helper.make_node("Cast", ["f"], ["s"], to=7)
    _after(model, [cast, *_mean_of_many()], [sides, _ONE], "total")


def _millions_of_nodes(model: Any) -> bytes:
    return bytes(model.SerializeToString()) + _message(7, b"\x0a\x00" * 10_000_000)


def _millions_of_attributes(model: Any) -> bytes:
    return bytes(model.SerializeToString()) + _message(7, _message(1, b"\x2a\x00" * 10_000_000))


def _millions_of_locations(model: Any) -> bytes:
    return bytes(model.SerializeToString()) + _message(7, _message(5, b"\x6a\x00" * 10_000_000))


def _packed_integers(model: Any) -> bytes:
    return bytes(model.SerializeToString()) + _message(7, _message(5, _message(7, b"\x01" * 50_000_000)))


def _nested(model: Any) -> bytes:
    inner = b""
    for _ in range(3000):
        inner = _message(1, _message(5, _message(6, inner)))  # a node's attribute's graph
    return bytes(model.SerializeToString()) + _message(7, inner)


def _message(field: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + content


def _elsewhere(location: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


HOSTILE: dict[str, tuple[Callable[[Any], bytes | None], str]] = {
    "dims only": (_by_dims_only, "weights"),
    "dims that overflow": (_overflowing_dims, "weights"),
    "ConstantOfShape": (_constant_of_shape, "ConstantOfShape"),
    "Expand": (_expand, "big"),
    "Tile": (_tiles, "t"),
    "Resize": (_resizes, "t"),
    "doubling lists": (_doubling_lists, "longer than any shape"),
    "square of the picture": (_square_of_the_picture, "square"),
    "shape from weights": (_not_told, "cannot be told in advance"),
    "nodes": (_millions_of_nodes, "parts"),
    "attributes": (_millions_of_attributes, "parts"),
    "locations": (_millions_of_locations, "parts"),
    "packed integers": (_packed_integers, "bytes of integers"),
    "nesting": (_nested, "deep"),
    "..": (_elsewhere("../../secret"), "lies in another file"),
    "absolute": (_elsewhere("/etc/passwd"), "lies in another file"),
}


_SLOW = frozenset({"nodes", "locations", "packed integers", "dims that overflow", "Resize", "absolute"})


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in _SLOW else []) for n in HOSTILE]
)
def test_hostile_networks_cost_little(tmp_path: Path, name: str) -> None:
    change, word = HOSTILE[name]
    model = onnx.load(GOOD)
    path = tmp_path / "hostile.onnx"
    data = change(model)
    path.write_bytes(model.SerializeToString() if data is None else data)
    said = checked(path)
    assert said.startswith("model.onnx: "), said
    assert word in said
    assert "\n" not in said


def test_the_limit_holds_for_a_good_network() -> None:
    assert checked(GOOD) == "taken"


def test_fields_are_counted() -> None:
    data = GOOD.read_bytes()
    count = count_fields(data, onnx.ModelProto.DESCRIPTOR)
    assert 100 < count < MAX_FIELDS / 100
    longer = data + _message(7, b"\x0a\x00" * 5)
    assert count_fields(longer, onnx.ModelProto.DESCRIPTOR) == count + 6
    with pytest.raises(HostileBytesError, match="cut off"):
        count_fields(data[:-1], onnx.ModelProto.DESCRIPTOR)


def test_parse_model_never_raises_anything_else(tmp_path: Path) -> None:
    """Bytes of a good network, changed here and there."""
    rng = np.random.default_rng(0)
    data = np.frombuffer(GOOD.read_bytes(), np.uint8)
    for _ in range(150):
        changed = data.copy()
        places = rng.integers(0, len(data), rng.integers(1, 6))
        changed[places] = rng.integers(0, 256, len(places))
        with contextlib.suppress(ModelError):
            parse_model(changed.tobytes(), tmp_path / "a.onnx")
