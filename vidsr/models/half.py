"""`half`: from a deployed graph to a strongly typed one whose network computes in FP16.

TensorRT takes the precision of every layer from the graph. Planes go in and out as uint8, its only type for
samples: 8 bit planes as they are, longer codes as the two bytes of each sample, [1, 1, rows, columns, 2],
which are combined and split in FP32 inside the graph. In between codes are FP32, which holds them exactly.

`half_choice` says which nodes are FP16, and why.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vidsr.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

    from vidsr.frame import PixelFormat
    from vidsr.models.deploy import Deployed, FrameFormat
    from vidsr.models.lattice import Size
    from vidsr.models.lookup import Model

__all__ = ["TypedGraph", "carrier", "dynamic", "half", "tensor_types"]

_TYPES = {1: "f32", 2: "uint8", 6: "int32", 7: "int64", 9: "bool", 10: "f16"}
"""By ONNX's numbers."""


@dataclass(frozen=True, slots=True)
class TypedGraph:
    """A graph that says of every tensor what type it has."""

    model_bytes: bytes = field(repr=False)
    """Serialised ONNX; the weights of FP16 layers are FLOAT16."""
    digest: str
    """sha256 of `model_bytes`, hexadecimal."""
    pixel_format: PixelFormat
    """Of the planes that go in and come out."""
    carriers: tuple[tuple[int, ...], ...]
    """Shape of each input p0, p1, ... as uint8; -1 where it is dynamic."""
    out_carriers: tuple[tuple[int, ...], ...]
    """Shape of each output q0, q1, ... as uint8."""
    f32_nodes: tuple[str, ...]
    """Names of the network's nodes that stay in FP32."""

    @property
    def dynamic(self) -> bool:
        """Whether rows and columns are given with each frame."""
        return any(-1 in shape for shape in self.carriers)

    def carriers_at(self, size: Size) -> tuple[tuple[int, ...], ...]:
        """Return the inputs' shapes for frames of (rows, columns) luma samples."""
        return tuple(carrier(self.pixel_format, s) for s in self.pixel_format.plane_shapes(size[1], size[0]))


def carrier(pixels: PixelFormat, shape: Size) -> tuple[int, ...]:
    """Return the shape of a plane of (rows, columns) as uint8: its memory, unpadded, little-endian."""
    return (1, 1, *shape) if pixels.peak < 256 else (1, 1, *shape, 2)


def half(deployed: Deployed, *, keep_f32: frozenset[str] = frozenset()) -> TypedGraph:
    """Return the graph that does in FP16 what a deployed graph does in FP32.

    Args:
        deployed: Made of a model's f32 file.
        keep_f32: Names of nodes of the network that stay in FP32.

    Raises:
        OptionsError: It is made of an int8 file.
    """
    import onnx

    proto = onnx.ModelProto.FromString(deployed.model_bytes)
    return _typed(proto, deployed.format, keep_f32)


def dynamic(
    model: Model,
    frame_format: FrameFormat,
    sizes: tuple[Size, Size, Size],
    *,
    keep_f32: frozenset[str] = frozenset(),
) -> TypedGraph:
    """Return one graph for whole frames of all sizes in a range, at the network's own scale.

    The graph does not depend on the range, which only TensorRT's profile needs, but must be one it works for.

    Args:
        model: The network; of its f32 file.
        frame_format: Of the frames.
        sizes: The smallest, the usual and the largest (rows, columns) in luma samples.
        keep_f32: As of `half`.

    Raises:
        OptionsError: The network, or a size, is not one that works without constants that depend on it.
    """
    from vidsr.models.any_size import check_sizes, without_sizes

    check_sizes(model, frame_format, sizes)
    return _typed(without_sizes(model, frame_format), frame_format, keep_f32)


def tensor_types(typed: TypedGraph) -> dict[str, str]:
    """Return by name what type each tensor of a graph has: uint8, f16, f32, int32, int64 or bool."""
    import onnx

    proto = onnx.ModelProto.FromString(typed.model_bytes)
    known = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    values = (*known.input, *known.value_info, *known.output)
    return {v.name: _TYPES[v.type.tensor_type.elem_type] for v in values}


def _typed(proto: onnx.ModelProto, frame_format: FrameFormat, keep: frozenset[str]) -> TypedGraph:
    from vidsr.models.half_graph import HalfGraph

    if any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in proto.graph.node):
        raise OptionsError(
            "FP16 is made of a model's f32 file, this is its int8 file", hint="leave --precision int8 away"
        )
    pixels = frame_format.pixel_format
    work = HalfGraph(proto, pixels.peak, keep)
    data = work.finish()

    def carriers(values: Iterable[onnx.ValueInfoProto]) -> tuple[tuple[int, ...], ...]:
        shapes = ([d.dim_value or -1 for d in v.type.tensor_type.shape.dim] for v in values)
        return tuple(tuple(s) for s in shapes)

    return TypedGraph(
        model_bytes=data,
        digest=hashlib.sha256(data).hexdigest(),
        pixel_format=pixels,
        carriers=carriers(work.made.graph.input),
        out_carriers=carriers(work.made.graph.output),
        f32_nodes=work.choice.kept,
    )
