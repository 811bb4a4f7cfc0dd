"""Hostile and unsuitable files are refused here, before any runtime sees them.

An interchange file is one self-contained protobuf of plain operators. What is checked: size, external
data, operators, subgraphs and functions, one NCHW float input and output, sane attributes and tensor
sizes, finite weights, and ONNX's own checker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidsr.errors import ModelError, WeightsError
from vidsr.models.growth import grown_beyond, longest_list, unknown_shape
from vidsr.models.wire import HostileBytesError, count_fields

if TYPE_CHECKING:
    import onnx

__all__ = [
    "ALLOWED_OPERATORS",
    "GraphFacts",
    "describe",
    "parse_model",
    "read_model_bytes",
    "tensor_shapes",
]

MAX_FILE_BYTES = 288 << 20
MAX_WEIGHTS = 64 << 20
"""Elements of all initialisers and constants together."""
MAX_NODES = 20_000
MAX_TENSOR = 1 << 27
"""Elements of any tensor for a picture of `_PROBE` pixels a side; 512 channels at scale 8 fit."""
MIN_OPSET = 11
_PROBE = 64

# fmt: off
ALLOWED_OPERATORS = frozenset((
    "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant", "Conv", "ConvTranspose",
    "DepthToSpace", "DequantizeLinear", "Div", "Expand", "Gather", "GlobalAveragePool", "Identity",
    "LeakyRelu", "MaxPool", "Mul", "PRelu", "Pad", "Pow", "QuantizeLinear", "ReduceMean", "ReduceSum",
    "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "SpaceToDepth", "Split", "Sqrt", "Squeeze",
    "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze",
))
# fmt: on
_LIMITS = {
    "kernel_shape": 63,
    "strides": 16,
    "dilations": 16,
    "pads": 128,
    "blocksize": 16,
    "output_padding": 16,
}


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What the shapes of a graph say."""

    channels: int
    """1 or 3, in and out."""
    scale: int
    """Output side divided by input side."""


def read_model_bytes(path: Path) -> bytes:
    """Return the file's bytes.

    Raises:
        ModelError: It is missing, cannot be read, or is larger than any model for video.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"{size >> 20} MiB is too large for a model",
                path=path,
                hint=f"the limit is {MAX_FILE_BYTES >> 20} MiB",
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read this model ({error.strerror})", path=path, hint="check the path"
        ) from error


def parse_model(data: bytes, path: Path) -> onnx.ModelProto:
    """Return the graph in `data`, checked; `path` is for messages only.

    Raises:
        WeightsError: Weights are not finite, or are too many.
        ModelError: Anything else that the module's docstring lists.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        count_fields(data, onnx.ModelProto.DESCRIPTOR)
        model.ParseFromString(data)
    except HostileBytesError as error:
        raise ModelError(
            f"this model is refused: {error}", path=path, hint="export the network again"
        ) from None
    except DecodeError as error:
        raise ModelError("this is not an ONNX file", path=path, hint="export the network again") from error
    try:
        _check_structure(model)
        _check_weights(model)
        if grown := longest_list(model):
            raise _RefusedError(f"the list of integers '{grown}' is longer than any shape")
        onnx.checker.check_model(model)
        describe(model, path)
    except _RefusedError as refused:
        kind = WeightsError if refused.weights else ModelError
        raise kind(f"this model is refused: {refused}", path=path, hint=refused.hint) from None
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"ONNX refuses this model ({first})", path=path, hint="export it again") from error
    return model


def describe(model: onnx.ModelProto, path: Path) -> GraphFacts:
    """Return channels and scale, by shape inference on a probing input.

    Raises:
        ModelError: The shapes cannot be inferred, or are not those of a super-resolution network.
    """
    _, channels = _the_input(model)
    shapes = tensor_shapes(model, path, _PROBE, _PROBE)
    hint = "this cannot be a network for video"
    if unknown := unknown_shape(model, shapes):
        raise ModelError(f"the shape of '{unknown}' cannot be told in advance", path=path, hint=hint)
    for name, shape in shapes.items():
        size = float(np.prod([max(side, 1) for side in shape], dtype=float))
        if size > MAX_TENSOR:
            raise ModelError(
                f"'{name}' would have {size:.0f} elements for a {_PROBE}x{_PROBE} picture",
                path=path,
                hint=hint,
            )
    twice = tensor_shapes(model, path, 2 * _PROBE, 2 * _PROBE)
    if grown := grown_beyond(shapes, twice, 4):
        raise ModelError(f"'{grown}' grows faster than the picture", path=path, hint=hint)
    found = shapes[model.graph.output[0].name]
    scale = found[2] // _PROBE if len(found) == 4 else 0
    if found != (1, channels, scale * _PROBE, scale * _PROBE) or not 1 <= scale <= 16:
        raise ModelError(
            f"a {channels} x {_PROBE} x {_PROBE} picture becomes {list(found)}",
            path=path,
            hint="export the network with dynamic height and width and a whole scale",
        )
    _check_slopes(model, shapes, path)
    return GraphFacts(channels, scale)


def tensor_shapes(model: onnx.ModelProto, path: Path, width: int, height: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor for a picture of that size; 0: not known.

    Raises:
        ModelError: The shapes cannot be inferred.
    """
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.value_info[:]
    name, channels = _the_input(model)
    shape = next(i for i in probe.graph.input if i.name == name).type.tensor_type.shape
    for dim, value in zip(shape.dim, (1, channels, height, width), strict=True):
        dim.dim_value = value
    # What the file declares of its output would only be merged with what is inferred.
    probe.graph.output[0].type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(probe, strict_mode=True, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(
            f"the shapes of this model do not fit ({first})", path=path, hint="export it again"
        ) from error
    values = [*graph.input, *graph.value_info, *graph.output]
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _check_slopes(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], path: Path) -> None:
    """Check what ONNX's shape inference does not: PReLU has one slope, or one a channel."""
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "PRelu":
            continue
        channels = (*shapes.get(node.input[0], ()), 0, 0)[1]
        slopes = weights.get(node.input[1], ())
        if slopes not in ((), (1,), (channels,), (channels, 1, 1), (1, channels, 1, 1)):
            raise WeightsError(
                f"PRelu has slopes {list(slopes)} for {channels} channels", path=path, hint="export it again"
            )


class _RefusedError(Exception):
    def __init__(self, why: str, *, hint: str = "export the network again", weights: bool = False) -> None:
        super().__init__(why)
        self.hint = hint
        self.weights = weights


def _check_structure(model: onnx.ModelProto) -> None:
    graph = model.graph
    opsets = {o.domain: o.version for o in model.opset_import}
    if foreign := sorted(opsets.keys() - {"", "ai.onnx"}):
        raise _RefusedError(
            f"it uses the operator domain '{foreign[0]}'", hint="export with standard operators"
        )
    if max(opsets.values(), default=0) < MIN_OPSET:
        raise _RefusedError(
            f"opset {max(opsets.values(), default=0)} is too old", hint="export with opset 17"
        )
    if model.functions or graph.sparse_initializer or model.training_info:
        raise _RefusedError(
            "it has functions, sparse weights or training graphs", hint="export plain inference"
        )
    if not 0 < len(graph.node) <= MAX_NODES:
        raise _RefusedError(f"it has {len(graph.node)} nodes")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED_OPERATORS:
            label = f"{node.domain}.{node.op_type}".lstrip(".")
            raise _RefusedError(
                f"the operator {label} is not one that vidsr runs", hint="see docs for the list"
            )
        for attribute in node.attribute:
            _check_attribute(node.op_type, attribute)
    for tensor in _tensors(model):
        if tensor.data_location or tensor.external_data:
            raise _RefusedError(f"'{tensor.name}' lies in another file", hint="save the model as one file")
    _the_input(model)


def _check_attribute(operator: str, attribute: onnx.AttributeProto) -> None:
    if attribute.HasField("g") or attribute.graphs:
        raise _RefusedError(f"{operator} has a subgraph")
    limit = _LIMITS.get(attribute.name)
    if limit is not None and any(not 0 <= v <= limit for v in [*attribute.ints, attribute.i]):
        raise _RefusedError(f"{operator} has {attribute.name} {list(attribute.ints) or attribute.i}")


def _the_input(model: onnx.ModelProto) -> tuple[str, int]:
    """Return the name and channels of the one input."""
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise _RefusedError(
            f"it has {len(inputs)} inputs and {len(model.graph.output)} outputs, not one each"
        )
    for value in (inputs[0], model.graph.output[0]):
        if value.type.tensor_type.elem_type != 1:
            raise _RefusedError(f"'{value.name}' is not 32-bit floating point", hint="export it in fp32")
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) != 4 or dims[1].dim_value not in (1, 3):
        shape = [d.dim_value or d.dim_param for d in dims]
        raise _RefusedError(f"its input {shape} is not N x 1 x H x W or N x 3 x H x W")
    if dims[2].dim_value or dims[3].dim_value or dims[0].dim_value > 1:
        raise _RefusedError("its input has a fixed size", hint="export it with dynamic height and width")
    return inputs[0].name, int(dims[1].dim_value)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _RefusedError(f"{node.op_type} has a sparse tensor")


def _check_weights(model: onnx.ModelProto) -> None:
    from onnx import numpy_helper

    total = 0
    for tensor in _tensors(model):
        if any(d < 0 for d in tensor.dims) or len(tensor.dims) > 6:
            raise _RefusedError(f"'{tensor.name}' has the shape {list(tensor.dims)}", weights=True)
        total += int(np.prod(tensor.dims, dtype=float))
        if total > MAX_WEIGHTS:
            raise _RefusedError(f"it has more than {MAX_WEIGHTS} weights", weights=True)
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise _RefusedError(
                f"'{tensor.name}' has less data than its shape needs", weights=True
            ) from error
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _RefusedError(f"'{tensor.name}' has weights that are not finite numbers", weights=True)
