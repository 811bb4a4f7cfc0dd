"""One deployed graph for frames of any size, at the network's own scale.

`deploy` writes sizes into its graphs. Written for two sizes, they differ in the constants that depend on
the size, and in nothing else: where a Slice ends, and what a Reshape makes. Those are written anew, relative
to the size of what the node takes; whatever else differs is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import OptionsError
from vidsr.models.deploy import MAX_SIDE, FrameFormat, deploy
from vidsr.models.steps import constants_of

if TYPE_CHECKING:
    import onnx

    from vidsr.models.lattice import Size
    from vidsr.models.lookup import Model

__all__ = ["check_sizes", "without_sizes"]

_PROBES = ((96, 160), (224, 352))
"""Two sizes whose sides have the ratios 3:7 and 5:11, so that rows are not taken for columns."""
_HINT = "use frames of one size, which every network and format takes"
_Arrays = dict[str, NDArray[Any]]


def check_sizes(model: Model, frame_format: FrameFormat, sizes: tuple[Size, Size, Size]) -> None:
    """Check that a graph of `without_sizes` works for all sizes from the smallest to the largest.

    Raises:
        OptionsError: It does not, or they are not in order.
    """
    spec, pixels = model.spec, frame_format.pixel_format
    if spec.input != "low" or spec.multiple != 1:
        what = "works at the result's size" if spec.input != "low" else f"needs multiples of {spec.multiple}"
        raise OptionsError(f"{spec.id} {what}: no graph of it fits all sizes", hint=_HINT)
    least = max(spec.min_size, 8)
    for low, usual, high, factor in zip(
        *sizes, (1 << pixels.chroma_shift_y, 1 << pixels.chroma_shift_x), strict=True
    ):
        if not least <= low <= usual <= high <= MAX_SIDE:
            raise OptionsError(
                f"sides of {low}, {usual} and {high} are no range from {least} to {MAX_SIDE}",
                hint="give the smallest, the usual and the largest size",
            )
        if low % factor or usual % factor or high % factor:
            raise OptionsError(
                f"sides of {low}, {usual} and {high} are not all multiples of {factor}, as its chroma needs",
                hint=_HINT,
            )


def without_sizes(model: Model, frame_format: FrameFormat) -> onnx.ModelProto:
    """Return the deployed graph with dynamic rows and columns, for sizes that `check_sizes` lets pass.

    Raises:
        OptionsError: A constant depends on the size in another way.
    """
    import onnx

    protos, values, shapes = [], [], []
    for rows, columns in _PROBES:
        deployed = deploy(model, frame_format, columns, rows)
        proto = onnx.ModelProto.FromString(deployed.model_bytes)
        protos.append(proto)
        values.append(constants_of(proto))
        known = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
        infos = (*known.input, *known.value_info, *known.output)
        shapes.append({v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in infos})
    return _Joined(protos, values, shapes).joined()


class _Joined:
    """The graphs of the two sizes becoming one."""

    def __init__(
        self, protos: list[onnx.ModelProto], values: list[_Arrays], shapes: list[dict[str, list[int]]]
    ) -> None:
        from onnx import helper, numpy_helper

        self._make_node = helper.make_node
        self._to_tensor = numpy_helper.from_array
        self._protos = protos
        self._values = values
        self._shapes = shapes
        self._stored: _Arrays = {}
        self._nodes: list[onnx.NodeProto] = []

    def joined(self) -> onnx.ModelProto:
        one, other = (p.graph.node for p in self._protos)
        if [_outline(n) for n in one] != [_outline(n) for n in other]:
            raise OptionsError("the graph is another one for another size", hint=_HINT)
        for first, second in zip(one, other, strict=True):
            self._join(first, second)
        made = type(self._protos[0])()
        made.CopyFrom(self._protos[0])
        graph = made.graph
        graph.ClearField("node")
        graph.node.extend(self._nodes)
        graph.ClearField("initializer")
        used = {name for node in self._nodes for name in node.input}
        stored = self._values[0] | self._stored
        graph.initializer.extend(self._to_tensor(v, n) for n, v in stored.items() if n in used)
        for value in (*graph.input, *graph.output):
            for i, side in ((2, "rows"), (3, "columns")):
                value.type.tensor_type.shape.dim[i].dim_param = f"{value.name}_{side}"
        return made

    def _join(self, first: onnx.NodeProto, second: onnx.NodeProto) -> None:
        made = type(first)()
        made.CopyFrom(first)
        for place, names in enumerate(zip(first.input, second.input, strict=True)):
            one, other = (v.get(n) for v, n in zip(self._values, names, strict=True))
            if one is None and other is None and names[0] == names[1]:
                continue
            if one is not None and other is not None and np.array_equal(one, other):
                continue
            if one is not None and other is not None and (first.op_type, place) == ("Slice", 2):
                axis = int(self._values[0][first.input[3]].item())
                made.input[place] = self._ends(first, int(one.item()), int(other.item()), axis)
            elif one is not None and other is not None and (first.op_type, place) == ("Reshape", 1):
                made.input[place] = self._shape(first, one.tolist(), other.tolist())
            else:
                raise self._refusal(first)
        self._nodes.append(made)

    def _ends(self, node: onnx.NodeProto, one: int, other: int, axis: int) -> str:
        """Return where a Slice ends, counted from the end."""
        behind = [self._sides(node.input[0])[i][axis] - end for i, end in enumerate((one, other))]
        if behind[0] != behind[1] or behind[0] < 0:
            raise self._refusal(node)
        value = -behind[0] if behind[0] else np.iinfo(np.int64).max
        return self._store(f"end{value}", np.array([value], dtype=np.int64))

    def _shape(self, node: onnx.NodeProto, one: list[int], other: list[int]) -> str:
        """Return what a Reshape makes, each side that depends on the size as a multiple of one it takes."""
        sides = self._sides(node.input[0])
        name = str(node.output[0])
        source = f"{name}/sides"
        self._nodes.append(self._make_node("Shape", [node.input[0]], [source], name=source))
        parts = []
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            if a == b:
                parts.append(self._store(f"side{a}", np.array([a], dtype=np.int64)))
                continue
            found = [
                (place, a // c)
                for place, (c, d) in enumerate(zip(*sides, strict=True))
                if c and c != d and a % c == 0 and a * d == b * c
            ]
            if not found:
                raise self._refusal(node)
            place, times = found[0]
            at = self._store(f"place{place}", np.array([place], dtype=np.int64))
            part = f"{name}/side{i}"
            self._nodes.append(self._make_node("Gather", [source, at], [part], name=part, axis=0))
            if times != 1:
                factor = self._store(f"side{times}", np.array([times], dtype=np.int64))
                self._nodes.append(self._make_node("Mul", [part, factor], [f"{part}x"], name=f"{part}x"))
                part = f"{part}x"
            parts.append(part)
        shape = f"{name}/shape"
        self._nodes.append(self._make_node("Concat", parts, [shape], name=shape, axis=0))
        return shape

    def _sides(self, name: str) -> tuple[list[int], list[int]]:
        return self._shapes[0][name], self._shapes[1][name]

    def _store(self, name: str, value: NDArray[Any]) -> str:
        self._stored[name] = value
        return name

    @staticmethod
    def _refusal(node: onnx.NodeProto) -> OptionsError:
        return OptionsError(f"{node.op_type} '{node.name}' is another one for another size", hint=_HINT)


def _outline(node: onnx.NodeProto) -> tuple[Any, ...]:
    """Return what must be the same for all sizes."""
    attributes = tuple(a.SerializeToString(deterministic=True) for a in node.attribute)
    return node.op_type, len(node.input), tuple(node.output), attributes
