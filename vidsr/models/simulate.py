"""Running a typed graph in numpy: what FP16 hardware makes of a frame, without the hardware.

Every FP16 tensor is rounded to FP16; sums inside a node are in FP32, as tensor cores accumulate. TensorRT
fuses nodes and leaves roundings out, so its results lie nearer to FP32's. Deployed graphs run as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.models.half import TypedGraph

__all__ = ["run_deployed", "run_typed"]

_Array = NDArray[Any]
_Watch = Callable[[str, _Array], None]
_BAND = 1 << 20
"""Numbers that a convolution gathers at once: they stay in the cache."""


def run_typed(graph: TypedGraph, planes: Planes, watch: _Watch | None = None) -> Planes:
    """Return what a typed graph makes of a frame's planes.

    Args:
        graph: Of `vidsr.models.half`.
        planes: [rows, columns] each.
        watch: Called with the name and value of each tensor.
    """
    shapes = graph.carriers_at((planes[0].shape[0], planes[0].shape[1]))
    feeds = {
        f"p{i}": np.ascontiguousarray(plane.astype(plane.dtype.newbyteorder("<")))
        .view(np.uint8)
        .reshape(shape)
        for i, (plane, shape) in enumerate(zip(planes, shapes, strict=True))
    }
    results = _run(graph.model_bytes, feeds, watch)
    kind = graph.pixel_format.dtype.newbyteorder("<")
    made = (np.ascontiguousarray(r).view(kind).reshape(r.shape[2:4]) for r in results)
    return tuple(plane.astype(graph.pixel_format.dtype) for plane in made)


def run_deployed(deployed: Deployed, planes: Planes) -> Planes:
    """Return what a deployed graph makes of a frame's planes, in FP32."""
    feeds = {f"p{i}": plane[None, None] for i, plane in enumerate(planes)}
    return tuple(r[0, 0] for r in _run(deployed.model_bytes, feeds, None))


def _run(model_bytes: bytes, feeds: Mapping[str, _Array], watch: _Watch | None) -> list[_Array]:
    import onnx

    from vidsr.models.steps import constants_of

    proto = onnx.ModelProto.FromString(model_bytes)
    values: dict[str, _Array] = dict(constants_of(proto)) | dict(feeds)
    last = {name: node.output[0] for node in proto.graph.node for name in node.input}
    ends = [o.name for o in proto.graph.output]
    opset = max(int(o.version) for o in proto.opset_import)
    for node in proto.graph.node:
        if node.op_type == "Constant":
            continue
        inputs = [values[name] if name else None for name in node.input]
        for name, value in zip(node.output, _made(node, inputs, opset), strict=True):
            values[name] = value
            if watch is not None:
                watch(name, value)
        for name in set(node.input) - set(ends):
            if name in values and last[name] == node.output[0]:
                del values[name]
    return [values[name] for name in ends]


def _made(node: onnx.NodeProto, inputs: Sequence[_Array | None], opset: int) -> list[_Array]:
    """Return a node's outputs: in FP32 inside, rounded where it computes in FP16."""
    halved = node.op_type != "Cast" and any(i is not None and i.dtype == np.float16 for i in inputs)
    if not halved:
        return _computed(node, inputs, opset)
    wide = [i.astype(np.float32) if i is not None and i.dtype == np.float16 else i for i in inputs]
    with np.errstate(over="ignore"):  # infinity is what the hardware makes of it
        return [r.astype(np.float16) if r.dtype == np.float32 else r for r in _computed(node, wide, opset)]


def _computed(node: onnx.NodeProto, inputs: Sequence[_Array | None], opset: int) -> list[_Array]:
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    fast = _FAST.get(node.op_type)
    made = None if fast is None else fast(inputs, attributes)
    return _by_reference(node, inputs, opset) if made is None else [made]


def _by_reference(node: onnx.NodeProto, inputs: Sequence[_Array | None], opset: int) -> list[_Array]:
    """Return what ONNX's own reference makes, in numpy as well."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    given = {name: value for name, value in zip(node.input, inputs, strict=True) if value is not None}
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in given.items()
    ]
    ends = [helper.make_tensor_value_info(n, 0, None) for n in node.output]
    model = helper.make_model(
        helper.make_graph([node], "one", values, ends), opset_imports=[helper.make_opsetid("", opset)]
    )
    return [np.asarray(r) for r in ReferenceEvaluator(model).run(None, given)]


def _conv(inputs: Sequence[_Array | None], attributes: Mapping[str, Any]) -> _Array | None:
    x, kernel, *rest = inputs
    if x is None or kernel is None or x.ndim != 4 or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    if attributes.get("group", 1) != 1:
        return None
    top, left, bottom, right = attributes.get("pads", [0] * 4)
    (down, across), (apart_y, apart_x) = (
        attributes.get("strides", [1, 1]),
        attributes.get("dilations", [1, 1]),
    )
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
    channels, kernel_rows, kernel_columns = kernel.shape[1:]
    reach_y, reach_x = (kernel_rows - 1) * apart_y + 1, (kernel_columns - 1) * apart_x + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (reach_y, reach_x), axis=(1, 2))
    windows = windows[:, ::down, ::across, ::apart_y, ::apart_x]
    rows, columns = windows.shape[1:3]
    flat = kernel.reshape(len(kernel), -1)
    made = np.empty((len(kernel), rows, columns), dtype=np.float32)
    taps = channels * kernel_rows * kernel_columns
    band = max(1, _BAND // (taps * columns))
    for start in range(0, rows, band):
        part = windows[:, start : start + band].transpose(0, 3, 4, 1, 2)
        np.matmul(
            flat, part.reshape(taps, -1), out=(cut := np.empty((len(flat), part[0, 0, 0].size), np.float32))
        )
        made[:, start : start + band] = cut.reshape(len(flat), -1, columns)
    if rest and rest[0] is not None:
        made += rest[0][:, None, None]
    return made[None]


def _max_pool(inputs: Sequence[_Array | None], attributes: Mapping[str, Any]) -> _Array | None:
    (x,) = inputs
    odd = attributes.keys() - {"kernel_shape", "strides"}
    if x is None or x.ndim != 4 or any(attributes[name] not in (0, [0] * 4, [1, 1]) for name in odd):
        return None
    down, across = attributes.get("strides", [1, 1])
    windows = np.lib.stride_tricks.sliding_window_view(x, attributes["kernel_shape"], axis=(2, 3))
    return np.asarray(windows[:, :, ::down, ::across].max(axis=(4, 5)))


def _resize(inputs: Sequence[_Array | None], attributes: Mapping[str, Any]) -> _Array | None:
    """Linear, by sizes."""
    x, sizes = inputs[0], inputs[3] if len(inputs) > 3 else None
    known = {"mode": b"linear", "coordinate_transformation_mode": b"half_pixel"}
    if x is None or sizes is None or x.ndim != 4 or dict(attributes) != known:
        return None
    for axis in (2, 3):
        have, wanted = x.shape[axis], int(sizes[axis])
        places = ((np.arange(wanted, dtype=np.float32) + 0.5) * have / wanted - 0.5).clip(0, have - 1)
        below = np.floor(places).astype(np.int64)
        part = (places - below).astype(np.float32)
        part = part[:, None] if axis == 2 else part
        one, other = (np.take(x, np.minimum(below + i, have - 1), axis=axis) for i in (0, 1))
        x = one + (other - one) * part
    return x


def _slice(inputs: Sequence[_Array | None], attributes: Mapping[str, Any]) -> _Array | None:
    x, *ends = inputs
    if x is None or len(ends) != 4 or any(e is None or e.size != 1 for e in ends):
        return None
    start, stop, axis, step = (int(e.item()) for e in ends if e is not None)
    return x[(slice(None),) * axis + (slice(start, stop, step),)] if step > 0 and axis >= 0 else None


def _by(ufunc: np.ufunc) -> Callable[[Sequence[_Array | None], Mapping[str, Any]], _Array | None]:
    """Return the operator that takes two tensors of one type, sample by sample."""

    def compute(inputs: Sequence[_Array | None], _: Mapping[str, Any]) -> _Array | None:
        return np.asarray(ufunc(*inputs)) if len(inputs) == 2 else None

    return compute


_FAST: dict[str, Callable[[Sequence[_Array | None], Mapping[str, Any]], _Array | None]] = {
    "Add": _by(np.add),
    "Conv": _conv,
    "Max": _by(np.maximum),
    "MaxPool": _max_pool,
    "Mul": _by(np.multiply),
    "Resize": _resize,
    "Slice": _slice,
}
"""What the reference does slowly; each returns None where the node is none of the common ones."""
