"""A small writer of ONNX graphs with static shapes: what `deploy` is written in.

Arithmetic on pictures is made of element-wise operators only. Runtimes that compute convolutions in
bf16 or fp16 keep such operators in f32 between the last convolution and the output (OpenVINO: "tail of
the graph"), so what is built here keeps the precision of 10 and 16 bit code values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphWriter", "Picture"]

_OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """The name of a tensor [1, channels, height, width] in the graph that is being written."""

    name: str
    channels: int
    height: int
    width: int


class GraphWriter:
    """Collects nodes; every method that returns a `Picture` adds nodes for it."""

    def __init__(self, opset: int = _OPSET, *, wary: bool = False) -> None:
        """Begin a graph.

        Args:
            opset: At least.
            wary: Keep OpenVINO 2026 from taking a uint16 plane and its factor for a tensor of an int8 graph:
                it would compute the product in integers, where 0..1 is 0. A Relu between them keeps it
                from that, and changes no code.
        """
        from onnx import helper, numpy_helper

        self._make_node = helper.make_node
        self._helper = helper
        self._to_tensor = numpy_helper.from_array
        self._opset = max(opset, _OPSET)
        self._wary = wary
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    # ---- nodes -------------------------------------------------------------------------------------

    def constant(self, value: NDArray[Any]) -> str:
        """Return the name of a constant; equal ones are shared."""
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = f"k{len(self._constants)}"
            self._initializers.append(self._to_tensor(value, self._constants[key]))
        return self._constants[key]

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(self._make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def split_channels(self, picture: Picture) -> list[Picture]:
        """Return each channel by itself."""
        if picture.channels == 1:
            return [picture]
        return [self._slice(picture, 1, i, i + 1) for i in range(picture.channels)]

    def join_channels(self, pictures: Sequence[Picture]) -> Picture:
        """Return pictures of one size as the channels of one."""
        first = pictures[0]
        if len(pictures) == 1:
            return first
        name = self.node("Concat", *(p.name for p in pictures), axis=1)
        return Picture(name, sum(p.channels for p in pictures), first.height, first.width)

    def crop(self, picture: Picture, height: int, width: int) -> Picture:
        """Return the top left height x width of it."""
        if height < picture.height:
            picture = self._slice(picture, 2, 0, height)
        return self._slice(picture, 3, 0, width) if width < picture.width else picture

    def pad(self, picture: Picture, top: int, bottom: int, left: int, right: int) -> Picture:
        """Return it with its edge samples repeated outwards; f32 only."""
        if not (top or bottom or left or right):
            return picture
        pads = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right], dtype=np.int64))
        name = self.node("Pad", picture.name, pads, mode="edge")
        height, width = picture.height + top + bottom, picture.width + left + right
        return Picture(name, picture.channels, height, width)

    def window(self, picture: Picture, axis: int, start: int, count: int, step: int = 1) -> Picture:
        """Return `count` rows (axis 2) or columns (axis 3) from `start`, every `step`-th."""
        return self._slice(picture, axis, start, start + (count - 1) * step + 1, step)

    def gather(self, picture: Picture, axis: int, indices: NDArray[np.integer[Any]]) -> Picture:
        """Return the rows (axis 2) or columns (axis 3) at `indices`, in that order."""
        name = self.node("Gather", picture.name, self.constant(indices.astype(np.int32)), axis=axis)
        shape = [picture.channels, picture.height, picture.width]
        shape[axis - 1] = len(indices)
        return Picture(name, *shape)

    def weigh(self, picture: Picture, axis: int, weights: NDArray[np.floating[Any]]) -> Picture:
        """Return every row (axis 2) or column (axis 3) times its weight, f32."""
        shape = [1, 1, 1, 1]
        shape[axis] = len(weights)
        factors = self.constant(weights.astype(np.float32).reshape(shape))
        return self._like(picture, self.node("Mul", picture.name, factors))

    def join(self, pictures: Sequence[Picture], axis: int) -> Picture:
        """Return pictures one below the other (axis 2) or side by side (axis 3)."""
        if len(pictures) == 1:
            return pictures[0]
        shape = [pictures[0].channels, pictures[0].height, pictures[0].width]
        shape[axis - 1] = sum(p.height if axis == 2 else p.width for p in pictures)
        return Picture(self.node("Concat", *(p.name for p in pictures), axis=axis), *shape)

    def _slice(self, picture: Picture, axis: int, start: int, stop: int, step: int = 1) -> Picture:
        ends = [self.constant(np.array([v], dtype=np.int64)) for v in (start, stop, axis, step)]
        shape = [1, picture.channels, picture.height, picture.width]
        if (start, stop, step) == (0, shape[axis], 1):
            return picture
        shape[axis] = -(-(stop - start) // step)
        return Picture(self.node("Slice", picture.name, *ends), *shape[1:])

    def affine(self, picture: Picture, factor: float, offset: float = 0.0) -> Picture:
        """Return ``picture * factor + offset``, f32."""
        name = picture.name
        if factor != 1.0:
            name = self.node("Mul", name, self.constant(np.array(factor, dtype=np.float32)))
        if offset != 0.0:
            name = self.node("Add", name, self.constant(np.array(offset, dtype=np.float32)))
        return self._like(picture, name)

    def cut_codes(self, picture: Picture, step: int) -> tuple[Picture, Picture]:
        """Return integer codes as the multiple of `step` below them and the rest, both int32."""
        whole = self.node("Cast", picture.name, to=6)
        unit = self.constant(np.array(step, dtype=np.int32))
        upper = self.node("Mul", self.node("Div", whole, unit), unit)
        return self._like(picture, upper), self._like(picture, self.node("Sub", whole, upper))

    def add(self, one: Picture, other: Picture) -> Picture:
        """Return the sum of two pictures of one shape."""
        return self._like(one, self.node("Add", one.name, other.name))

    def weighted_sum(self, pictures: Sequence[Picture], weights: Sequence[float]) -> Picture:
        """Return the sum of ``weight * picture``; zero weights cost nothing."""
        terms = [self.affine(p, w) for p, w in zip(pictures, weights, strict=True) if w != 0.0]
        if not terms:
            return self.affine(pictures[0], 0.0)
        total = terms[0]
        for term in terms[1:]:
            total = self.add(total, term)
        return total

    def from_codes(self, picture: Picture) -> Picture:
        """Return integer codes as f32."""
        values = self.node("Cast", picture.name, to=1)
        return self._like(picture, self.node("Relu", values) if self._wary else values)

    def to_codes(self, picture: Picture, peak: int) -> Picture:
        """Return f32 codes clipped to 0..peak, rounded half to even, as uint8 or uint16."""
        low, high = (self.constant(np.array(v, dtype=np.float32)) for v in (0, peak))
        rounded = self.node("Round", self.node("Clip", picture.name, low, high))
        kind = self._helper.np_dtype_to_tensor_dtype(_code_type(peak))
        return self._like(picture, self.node("Cast", rounded, to=kind))

    def interleave(self, phases: Sequence[Picture], down: int, across: int) -> Picture:
        """Return the plane whose sample (down * r + a, across * c + b) is phase a * across + b at (r, c)."""
        first = phases[0]
        joined = self.join_channels(phases)
        height, width = first.height * down, first.width * across
        if down == across == 1:
            return first
        if down == across:
            return Picture(
                self.node("DepthToSpace", joined.name, blocksize=down, mode="CRD"), 1, height, width
            )
        split = np.array([1, down, across, first.height, first.width], dtype=np.int64)
        turned = self.node(
            "Transpose", self.node("Reshape", joined.name, self.constant(split)), perm=[0, 3, 1, 4, 2]
        )
        shape = self.constant(np.array([1, 1, height, width], dtype=np.int64))
        return Picture(self.node("Reshape", turned, shape), 1, height, width)

    def repeat(self, picture: Picture, down: int, across: int) -> Picture:
        """Return one channel with every sample repeated down x across times; any type, exact."""
        return self.interleave([picture] * (down * across), down, across)

    @staticmethod
    def _like(picture: Picture, name: str) -> Picture:
        return Picture(name, picture.channels, picture.height, picture.width)

    # ---- other graphs, ends ------------------------------------------------------------------------

    def embed(
        self,
        graph: onnx.GraphProto,
        feeds: Mapping[str, str],
        output: str,
        shared: dict[str, str] | None = None,
    ) -> str:
        """Add the nodes of `graph` that `output` needs and return what that tensor is called here.

        Args:
            graph: An interchange graph.
            feeds: Names here of the graph's inputs.
            output: A tensor in the graph.
            shared: Names here of its weights, filled by the first call with it and used by further ones.
        """
        needed = {output}
        nodes = []
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(name for name in node.input if name)
        prefix = f"n{len(self._nodes)}/"
        known = {} if shared is None else shared
        names = {name: prefix + name for name in needed} | dict(feeds) | known
        for tensor in graph.initializer:
            if tensor.name in needed and tensor.name not in known:
                known[tensor.name] = names[tensor.name]
                copy = type(tensor)()
                copy.CopyFrom(tensor)
                copy.name = names[tensor.name]
                self._initializers.append(copy)
        for node in reversed(nodes):
            copied = type(node)()
            copied.CopyFrom(node)
            copied.name = names.get(node.output[0], prefix + node.output[0])
            copied.ClearField("doc_string")
            copied.input[:] = [names[n] if n else "" for n in node.input]
            copied.output[:] = [names.get(n, prefix + n) if n else "" for n in node.output]
            self._nodes.append(copied)
        return names[output]

    def input(self, name: str, height: int, width: int, peak: int) -> Picture:
        """Declare an input plane of codes 0..peak."""
        kind = self._helper.np_dtype_to_tensor_dtype(_code_type(peak))
        self._inputs.append(self._helper.make_tensor_value_info(name, kind, [1, 1, height, width]))
        return Picture(name, 1, height, width)

    def output(self, name: str, picture: Picture, peak: int) -> None:
        """Declare an output plane of codes 0..peak."""
        kind = self._helper.np_dtype_to_tensor_dtype(_code_type(peak))
        shape = [1, 1, picture.height, picture.width]
        self._outputs.append(self._helper.make_tensor_value_info(name, kind, shape))
        self._nodes.append(self._make_node("Identity", [picture.name], [name], name=name))

    def finish(self) -> bytes:
        """Return the serialised model; the same calls give the same bytes."""
        graph = self._helper.make_graph(
            self._nodes, "deployed", self._inputs, self._outputs, initializer=self._initializers
        )
        opset = self._helper.make_opsetid("", self._opset)
        model = self._helper.make_model(graph, opset_imports=[opset], producer_name="vidsr")
        # The oldest that has the opset, so that runtimes which lag behind the onnx package read it.
        model.ir_version = max(_IR_VERSION, self._helper.find_min_ir_version_for([opset]))
        return bytes(model.SerializeToString(deterministic=True))


def _code_type(peak: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if peak < 256 else np.uint16)
