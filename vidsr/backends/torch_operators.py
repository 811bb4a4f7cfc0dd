"""ONNX operators as torch functions, for `vidsr.backends.torch_graph`.

A maker takes a step once and returns what computes it for each frame, so that nothing is parsed per frame and
nothing but launches is left to capture in a CUDA graph. Planes of uint16 are int32 in here, whose torch is
complete. What moves samples is in
`vidsr.backends.torch_shapes`, what looks at neighbours in `vidsr.backends.torch_windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vidsr.models.steps import Step

__all__ = ["OPERATORS", "Function", "Held", "Maker", "Read", "UnsupportedError", "to_tensor"]

Function = Callable[..., Any]
"""Takes the step's inputs, None for those left out; returns a tensor, or a list where it makes several."""
Maker = Callable[[Step, "Read"], Function]


class UnsupportedError(RuntimeError):
    """A step has a form that is not written here; the message says which."""


class Read:
    """What is known of a step's inputs when it is made."""

    def __init__(
        self, step: Step, constants: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self._step = step
        self._constants = constants
        self._shapes = shapes

    def shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        name = self._step.inputs[place]
        if name in self._constants:
            return tuple(self._constants[name].shape)
        if name not in self._shapes:
            raise UnsupportedError(f"with an input {place} whose shape is not known")
        return self._shapes[name]

    def __call__(self, place: int) -> NDArray[Any] | None:
        """Return the constant at an input; None: it is left out."""
        inputs = self._step.inputs
        if place >= len(inputs) or not inputs[place]:
            return None
        if inputs[place] not in self._constants:
            raise UnsupportedError(f"with an input {place} that is computed")
        return self._constants[inputs[place]].numpy()

    def whole(self, place: int, attribute: str) -> list[int] | None:
        """Return whole numbers, which older opsets have as an attribute; None: neither is there."""
        value = self(place)
        if value is None:
            value = self._step.attributes.get(attribute)
        return None if value is None else [int(v) for v in np.atleast_1d(np.asarray(value))]


class Held:
    """A constant that a function has beside its inputs, on whatever device and in whatever type they are."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = np.array(array, order="C")
        self._made: dict[tuple[torch.device, torch.dtype | None], Tensor] = {}

    def beside(self, x: Tensor, *, same_type: bool = False) -> Tensor:
        """Return it on the device of `x`, in its type if asked for."""
        key = (x.device, x.dtype if same_type else None)
        if key not in self._made:
            made = torch.from_numpy(self._array).to(x.device)
            self._made[key] = made.to(x.dtype) if same_type else made
        return self._made[key]


def to_tensor(array: NDArray[Any]) -> Tensor:
    """Return a stored array as it is computed with: uint16 as int32."""
    return torch.from_numpy(array.astype(np.int32) if array.dtype == np.uint16 else np.array(array))


_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.int32,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    11: torch.float64,
}
"""ONNX's number of a type -> what it is in here."""


def _same(function: Function) -> Maker:
    """Return the maker of an operator whose inputs are all tensors and that has no attributes."""
    return lambda step, read: function


def _cast(step: Step, read: Read) -> Function:
    kind = step.attributes["to"]
    if kind not in _TYPES:
        raise UnsupportedError(f"to the type {kind}")
    return lambda x: x.to(_TYPES[kind])


def _constant(step: Step, read: Read) -> Function:
    for name, kind in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                       ("value_ints", np.int64)):  # fmt: skip
        if name in step.attributes:
            made = torch.from_numpy(np.array(step.attributes[name], kind))
            return lambda: made
    raise UnsupportedError(f"of {', '.join(step.attributes)}")


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _clip(step: Step, read: Read) -> Function:
    low, high = (None if (v := read(i)) is None else v.item() for i in (1, 2))
    if low is None and high is None:
        return lambda x, *_: x
    return lambda x, *_: x.clamp(low, high)


def _reduce(function: Callable[..., Tensor]) -> Maker:
    def make(step: Step, read: Read) -> Function:
        axes, keep = read.whole(1, "axes"), bool(step.attributes.get("keepdims", 1))
        if not axes and step.attributes.get("noop_with_empty_axes", 0):
            return lambda x, *_: x
        return lambda x, *_: function(x, dim=axes or list(range(x.dim())), keepdim=keep)

    return make


def _prelu(x: Tensor, slopes: Tensor) -> Tensor:
    return F.prelu(x, slopes.reshape(-1))


def _leaky(step: Step, read: Read) -> Function:
    slope = step.attributes.get("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return one value, or one for each place along an axis of `x`, in a shape to compute with."""
    if values.dim() == 0 or values.numel() == 1:
        return values.reshape(())
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


def _quantise(step: Step, read: Read) -> Function:
    axis = _qdq_axis(step)
    zero = read(2)
    kind = np.dtype(np.uint8) if zero is None else zero.dtype
    if kind not in (np.uint8, np.int8):
        raise UnsupportedError(f"to {kind}")
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    made = torch.uint8 if kind == np.uint8 else torch.int8

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        codes = torch.round(x.float() / _along(scale, x, axis))  # halves to even, as ONNX has it
        if zero is not None:
            codes = codes + _along(zero, x, axis)
        return codes.clamp(least, most).to(made)

    return run


def _dequantise(step: Step, read: Read) -> Function:
    axis = _qdq_axis(step)

    def run(codes: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        whole = codes.to(torch.int32)
        if zero is not None:
            whole = whole - _along(zero, codes, axis).to(torch.int32)
        return whole.float() * _along(scale, codes, axis)

    return run


def _qdq_axis(step: Step) -> int:
    if step.attributes.get("block_size") or step.attributes.get("output_dtype"):
        raise UnsupportedError("in blocks or with a type of its own")
    return int(step.attributes.get("axis", 1))


OPERATORS: dict[str, Maker] = {
    "Add": _same(lambda x, y: x + y),
    "Cast": _cast,
    "Clip": _clip,
    "Constant": _constant,
    "DequantizeLinear": _dequantise,
    "Div": _same(_divide),
    "Identity": _same(lambda x: x),
    "LeakyRelu": _leaky,
    "Mul": _same(lambda x, y: x * y),
    "PRelu": _same(_prelu),
    "Pow": _same(lambda x, y: torch.pow(x, y.to(x.dtype))),
    "QuantizeLinear": _quantise,
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _same(F.relu),
    "Round": _same(torch.round),
    "Sigmoid": _same(torch.sigmoid),
    "Sqrt": _same(torch.sqrt),
    "Sub": _same(lambda x, y: x - y),
    "Tanh": _same(torch.tanh),
}
"""By ONNX's names."""
