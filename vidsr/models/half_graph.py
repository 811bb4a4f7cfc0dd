"""Writing the strongly typed graph of a deployed one, node by node; see `vidsr.models.half`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.models.first_layer import NOTHING
from vidsr.models.half_choice import FLOAT, Choice, choose
from vidsr.models.steps import constants_of

if TYPE_CHECKING:
    import onnx

__all__ = ["HalfGraph"]

_HALF = 10
_UINT8 = 2
_UINT16 = 4
_CODES = (_UINT8, _UINT16)
_PLACES = {"Resize": (1, 2, 3)}
"""Inputs that are not samples although they may be floating point."""


class HalfGraph:
    """One graph being written."""

    def __init__(self, deployed: onnx.ModelProto, peak: int, keep: frozenset[str]) -> None:
        """Begin with a deployed graph whose planes hold codes up to `peak`."""
        import onnx
        from onnx import helper, numpy_helper

        self._helper = helper
        self._to_tensor = numpy_helper.from_array
        self._peak = peak
        self._source = deployed.graph
        known = onnx.shape_inference.infer_shapes(deployed, strict_mode=True).graph
        values = (*known.input, *known.value_info, *known.output)
        self._kinds: dict[str, int] = {v.name: v.type.tensor_type.elem_type for v in values}
        self._constants = constants_of(deployed)
        self.choice: Choice = choose(self._source, self._kinds, self._constants, keep)
        self._makers = {o: n for n in self._source.node for o in n.output}
        self._half = {o for n in self._source.node if n.output[0] in self.choice.half for o in n.output}
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, NDArray[Any]] = {}
        self._names: dict[str, str] = {}
        self._casts: dict[tuple[str, float], str] = {}
        self.made = onnx.ModelProto()
        self.made.CopyFrom(deployed)
        self.made.graph.ClearField("node")
        self.made.graph.ClearField("initializer")
        self.made.graph.ClearField("value_info")

    def finish(self) -> bytes:
        """Write it and return its bytes; the same graph gives the same bytes."""
        graph = self.made.graph
        ends = {o.name for o in graph.output}
        for value in graph.input:
            self._enter(value)
        for node in self._source.node:
            if node.output[0] in ends:
                self._leave(node)
            elif node.op_type != "Constant" and not self._renamed(node):
                self._copy(node)
        for value in graph.output:
            self._carried(value)
        needed = set(ends)
        kept = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        graph.node.extend(reversed(kept))
        graph.initializer.extend(self._to_tensor(v, n) for n, v in self._stored.items() if n in needed)
        return bytes(self.made.SerializeToString(deterministic=True))

    # ---- planes ------------------------------------------------------------------------------------

    def _carried(self, value: onnx.ValueInfoProto) -> None:
        """Declare a plane as bytes."""
        kind = value.type.tensor_type
        if kind.elem_type == _UINT16:
            kind.shape.dim.add().dim_value = 2
        kind.elem_type = _UINT8

    def _enter(self, value: onnx.ValueInfoProto) -> None:
        """Make FP32 codes of the bytes of an input."""
        name = str(value.name)
        codes = self._node("Cast", [name], f"{name}/f32", to=FLOAT)
        if value.type.tensor_type.elem_type == _UINT16:
            axis = self._store("axis4", np.array([4], dtype=np.int64))
            bytes_ = [
                self._node("Squeeze", [self._byte(codes, i), axis], f"{name}/{label}")
                for i, label in enumerate(("low", "high"))
            ]
            upper = self._node("Mul", [bytes_[1], self._f32(256.0)], f"{name}/upper")
            codes = self._node("Add", [upper, bytes_[0]], f"{name}/codes")
        self._carried(value)
        self._names[name] = codes

    def _byte(self, codes: str, place: int) -> str:
        ends = [self._store(f"at{v}", np.array([v], dtype=np.int64)) for v in (place, place + 1, 4)]
        return self._node("Slice", [codes, *ends], f"{codes}/{place}")

    def _leave(self, node: onnx.NodeProto) -> None:
        """Make the bytes of an output of FP32 codes."""
        name, codes = str(node.output[0]), self._name(node.input[0])
        if self._peak < 256:
            self._node("Cast", [codes], name, to=_UINT8)
            return
        axis = self._store("axis4", np.array([4], dtype=np.int64))
        part = self._node("Mul", [codes, self._f32(1 / 256)], f"{name}/part")
        high = self._node("Floor", [part], f"{name}/high")
        low = self._node(
            "Sub", [codes, self._node("Mul", [high, self._f32(256.0)], f"{name}/upper")], f"{name}/low"
        )
        pair = [self._node("Unsqueeze", [one, axis], f"{one}/byte") for one in (low, high)]
        self._node("Cast", [self._node("Concat", pair, f"{name}/bytes", axis=4)], name, to=_UINT8)

    # ---- nodes -------------------------------------------------------------------------------------

    def _renamed(self, node: onnx.NodeProto) -> bool:
        """Leave out what changes nothing here: codes become FP32, or the reverse, and anchors."""
        other = None
        if node.op_type == "Cast":
            floats = (FLOAT, *_CODES)
            if self._kind(node.input[0]) in floats and self._kind(node.output[0]) in floats:
                other = node.input[0]
        elif node.op_type == "Add" and node.output[0] not in self._half:
            other = node.input[0] if self._is_anchor(node.input[1]) else None
        if other is None or other in self._constants:
            return False
        self._names[node.output[0]] = self._name(other)
        if other in self._half:
            self._half.add(node.output[0])
        return True

    def _is_anchor(self, name: str) -> bool:
        """Tell whether a tensor is what `first_layer.anchored` adds, which only OpenVINO needs."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "Mul" or maker.input[1] not in self._constants:
            return False
        value = self._constants[maker.input[1]]
        return value.size == 1 and value.item() == np.float32(NOTHING)

    def _copy(self, node: onnx.NodeProto) -> None:
        halved = node.output[0] in self.choice.half
        if halved and node.op_type == "PRelu" and node.input[1] in self._constants:
            self._activate(node)
            return
        factor = self.choice.factors.get(node.output[0], 1.0)
        copied = type(node)()
        copied.CopyFrom(node)
        for place, name in enumerate(node.input):
            if not name:
                continue
            if place in _PLACES.get(node.op_type, ()) or self._kind(name) not in (FLOAT, *_CODES):
                made = self._name(name)
            elif not halved:
                made = self._as_f32(name)
            elif name in self._constants:
                weights = place == 1 and node.op_type in ("Conv", "ConvTranspose")
                made = self._weights(name, 1 / factor if weights else 1.0)
            else:
                made = self._as_half(name, factor)
            copied.input[place] = made
        if node.op_type == "Cast" and self._kind(node.output[0]) in _CODES:
            raise ValueError(
                f"'{node.name}' makes codes of what are none"
            )  # a deployed graph has no such node
        self._nodes.append(copied)

    def _activate(self, node: onnx.NodeProto) -> None:
        """Write a PReLU as the larger of x and slope * x, which TensorRT fuses with the convolution before.

        A PReLU by itself it does not fuse (TensorRT for RTX 1.7). Where a slope is above 1, the smaller is
        wanted: of such channels -x is taken, and the result negated. All of this rounds as a PReLU does.
        """
        name, x = str(node.output[0]), self._as_half(node.input[0], 1.0)
        slopes = self._constants[node.input[1]]
        signs = np.where(slopes > 1, -1, 1).astype(np.float16)
        scaled = self._store(f"{name}/slopes", slopes.astype(np.float16) * signs)
        parts = [x, self._node("Mul", [x, scaled], f"{name}/scaled")]
        if not (signs < 0).any():
            self._node("Max", parts, name)
            return
        turned = self._store(f"{name}/signs", signs)
        parts[0] = self._node("Mul", [x, turned], f"{name}/turned")
        self._node("Mul", [self._node("Max", parts, f"{name}/larger"), turned], name)

    def _as_f32(self, name: str) -> str:
        if name not in self._half:
            return self._name(name)
        return self._cast(self._name(name), 1.0, FLOAT)

    def _as_half(self, name: str, factor: float) -> str:
        """Return a tensor in FP16, multiplied by a factor, which what moves it for the same has applied."""
        if name in self._half:
            applied = self.choice.factors.get(self._makers[name].output[0], 1.0)
            if applied == factor or factor == 1.0:
                return self._name(name)
        return self._cast(self._name(name), factor, _HALF)

    def _cast(self, name: str, factor: float, kind: int) -> str:
        key = (name, factor if kind == _HALF else 0.0)
        if key not in self._casts:
            scaled = name
            if factor != 1.0:
                scaled = self._node("Mul", [name, self._f32(factor)], f"{name}/{factor}")
            label = "f16" if kind == _HALF else "f32"
            self._casts[key] = self._node("Cast", [scaled], f"{scaled}/{label}", to=kind)
        return self._casts[key]

    def _weights(self, name: str, factor: float) -> str:
        value = self._constants[name]
        if value.dtype != np.float32:
            return self._name(name)
        return self._store(f"{name}/{factor}/f16", (value.astype(np.float64) * factor).astype(np.float16))

    # ---- small parts -------------------------------------------------------------------------------

    def _kind(self, name: str) -> int:
        if name in self._constants:
            return int(self._helper.np_dtype_to_tensor_dtype(self._constants[name].dtype))
        return self._kinds[name]

    def _name(self, name: str) -> str:
        """Return what a tensor of the deployed graph is called here, in its own type."""
        if name in self._constants:
            return self._store(name, self._constants[name])
        return self._names.get(name, name)

    def _store(self, name: str, value: NDArray[Any]) -> str:
        self._stored.setdefault(name, value)
        return name

    def _f32(self, value: float) -> str:
        return self._store(f"f32/{value}", np.array(value, dtype=np.float32))

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(self._helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output
