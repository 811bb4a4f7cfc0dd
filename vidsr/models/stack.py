"""Recognising networks that the compiled kernels run: stacks of 3x3 convolutions, read from their graphs.

What is recognised is ``DepthToSpace(Conv(... PRelu(Conv(x))) + x)``, in f32 or with quantised convolutions
(QuantizeLinear and DequantizeLinear around them). Whatever differs from that in anything is another network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.kernels import FoldedConv, FoldedStack, QuantisedConv
from vidsr.models.steps import Step, constants_of, steps_of

if TYPE_CHECKING:
    import onnx

__all__ = ["find_stack"]

MOST_CHANNELS = 64
MOST_CONVS = 66
SCALES = (1, 2, 3, 4)

_CONV_DEFAULTS = {
    "auto_pad": b"NOTSET",
    "dilations": [1, 1],
    "group": 1,
    "kernel_shape": [3, 3],
    "pads": [1, 1, 1, 1],
    "strides": [1, 1],
}


class _OtherNetworkError(Exception):
    """The graph is not one of these; the text says in what."""


@dataclass(frozen=True, slots=True)
class _Input:
    """What a convolution reads: where it comes from, and its codes where it is quantised."""

    name: str
    scale: float = 0.0
    """0: f32."""
    zero: int = 0


class _Walk:
    """Goes from the graph's output to its input."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._makers = {name: step for step in steps_of(proto) for name in step.outputs}
        self._constants = constants_of(proto)
        self._source = next(i.name for i in proto.graph.input if i.name not in self._constants)
        self._output = proto.graph.output[0].name

    def stack(self) -> FoldedStack:
        shuffle = self._maker(self._output, "DepthToSpace")
        scale = int(shuffle.attributes["blocksize"])
        total = self._maker(shuffle.inputs[0], "Add")
        if total.inputs.count(self._source) != 1:
            raise _OtherNetworkError("its skip connection is not the input itself")
        name = next(n for n in total.inputs if n != self._source)
        convs = [self._conv(name, None)]
        while convs[0][1].name != self._source:
            if len(convs) >= MOST_CONVS:
                raise _OtherNetworkError(f"it has more than {MOST_CONVS} convolutions")
            active = self._maker(convs[0][1].name, "PRelu")
            slopes = self._constant(active.inputs[1], "a PReLU's slopes")
            convs.insert(0, self._conv(active.inputs[0], slopes))
        return _checked([conv for conv, _ in convs], scale)

    def _conv(self, name: str, slopes: NDArray[Any] | None) -> tuple[FoldedConv, _Input]:
        node = self._maker(name, "Conv")
        attributes = node.attributes
        for key, wanted in _CONV_DEFAULTS.items():
            if attributes.get(key, [0, 0, 0, 0] if key == "pads" else wanted) != wanted:
                raise _OtherNetworkError(f"a convolution has {key} {attributes.get(key)}")
        source = self._input(node.inputs[0])
        weights, codes, steps = self._weights(node.inputs[1])
        if weights.ndim != 4 or weights.shape[2:] != (3, 3):
            raise _OtherNetworkError("a convolution is not of 3x3 taps")
        out = weights.shape[0]
        bias = np.zeros(out, np.float32)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self._constant(node.inputs[2], "a bias").astype(np.float32).reshape(-1)
        if slopes is not None:
            if slopes.size not in (1, out) or (slopes.size > 1 and slopes.shape != (out, 1, 1)):
                raise _OtherNetworkError("a PReLU's slopes are not one a channel")
            slopes = np.broadcast_to(slopes.reshape(-1).astype(np.float32), (out,))
        if (codes is None) != (source.scale == 0):
            raise _OtherNetworkError("a convolution is quantised by half")
        quantised = None
        if codes is not None and steps is not None:
            quantised = QuantisedConv(codes, steps, source.scale, source.zero)
        return FoldedConv(weights, bias, slopes, quantised), source

    def _input(self, name: str) -> _Input:
        """Return what lies behind a pair of QuantizeLinear and DequantizeLinear, if there is one."""
        maker = self._makers.get(name)
        if maker is None or maker.kind != "DequantizeLinear":
            return _Input(name)
        first = self._maker(maker.inputs[0], "QuantizeLinear")
        numbers = [
            [self._constant(n, "a scale or zero point") for n in node.inputs[1:]] for node in (first, maker)
        ]
        if len(numbers[0]) != 2 or not all(np.array_equal(a, b) for a, b in zip(*numbers, strict=True)):
            raise _OtherNetworkError("a tensor is quantised and restored by different numbers")
        scale, zero = numbers[0]
        if scale.size != 1 or zero.dtype != np.uint8:
            raise _OtherNetworkError("a tensor is not quantised to uint8 as a whole")
        if not 0 < float(scale.item()) < np.inf:
            raise _OtherNetworkError("a tensor is quantised by a scale that is none")
        return _Input(first.inputs[0], float(scale.item()), int(zero.item()))

    def _weights(
        self, name: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int8] | None, NDArray[np.float32] | None]:
        """Return weights [out, in, 3, 3], and where they are quantised their codes and steps [out]."""
        if name in self._constants:
            return self._constants[name].astype(np.float32), None, None
        node = self._maker(name, "DequantizeLinear")
        codes, steps = (self._constant(n, "quantised weights") for n in node.inputs[:2])
        zero = (
            self._constant(node.inputs[2], "a zero point") if len(node.inputs) > 2 else np.zeros(1, np.int8)
        )
        if codes.ndim != 4 or codes.size == 0:
            raise _OtherNetworkError("its quantised weights are none of a convolution")
        per_channel = steps.size == codes.shape[0] and node.attributes.get("axis", 1) == 0
        if codes.dtype != np.int8 or codes.min() < -127 or zero.any() or not (per_channel or steps.size == 1):
            raise _OtherNetworkError("its weights are not quantised to int8 for each channel, around 0")
        steps = np.broadcast_to(steps.astype(np.float32).reshape(-1), (codes.shape[0],))
        return codes.astype(np.float32) * steps[:, None, None, None], codes, steps

    def _maker(self, name: str, kind: str) -> Step:
        step = self._makers.get(name)
        if step is None or step.kind != kind:
            other = "the input" if name == self._source else "a constant"
            raise _OtherNetworkError(f"{step.kind if step else other} is where it would have {kind}")
        return step

    def _constant(self, name: str, what: str) -> NDArray[Any]:
        if name not in self._constants:
            raise _OtherNetworkError(f"{what} is computed, not given")
        return self._constants[name]


def _checked(convs: list[FoldedConv], scale: int) -> FoldedStack:
    """Return the stack of convolutions that fit each other, or say in what they do not."""
    if len(convs) < 2:
        raise _OtherNetworkError("it has one convolution only")
    if scale not in SCALES:
        raise _OtherNetworkError(f"its scale is {scale}")
    channels = 1
    for conv in convs:
        if conv.weights.shape[1] != channels or len(conv.bias) != len(conv.weights):
            raise _OtherNetworkError("its convolutions do not fit each other")
        channels = len(conv.weights)
        if channels > MOST_CHANNELS:
            raise _OtherNetworkError(f"it has more than {MOST_CHANNELS} channels")
    if channels != scale * scale:
        raise _OtherNetworkError(f"its last convolution makes {channels} channels at scale {scale}")
    if convs[0].quantised is not None:
        raise _OtherNetworkError("its first convolution is quantised")
    return FoldedStack(tuple(convs), scale)


def find_stack(proto: onnx.ModelProto) -> FoldedStack | str:
    """Return the stack that a checked interchange graph is, or in what it differs from one, in words."""
    try:
        return _Walk(proto).stack()
    except _OtherNetworkError as error:
        return str(error)
