"""An int8 graph in torch, with rounding simulated, so that its numbers can be trained.

What is rounded forwards passes backwards as if it were not (Y. Bengio et al., "Estimating or Propagating
Gradients Through Stochastic Neurons", 2013). Scales and zero points stay what calibration made them: the
weights around them move. Every number is a start plus a step times something that is trained, with steps of
about what rounding takes, so that one learning rate fits all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.errors import ModelError
from vidsr.models.quantised import MOST_WEIGHT, Layer, Quantised
from vidsr.models.steps import Step, constants_of, steps_of, with_constants

__all__ = ["SimulatedInt8"]

_LEARNT_INPUTS = {"Conv": (1, 2), "PRelu": (1,)}
"""Which inputs of an operator are trained."""


class _Learnt(nn.Module):
    """A tensor that is trained: start + step * delta."""

    def __init__(self, start: NDArray[Any], step: NDArray[Any] | float) -> None:
        super().__init__()
        self.start: Tensor
        self.step: Tensor
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("step", torch.as_tensor(step, dtype=torch.float32))
        self.delta = nn.Parameter(torch.zeros_like(self.start))

    def forward(self) -> Tensor:
        return self.start + self.step * self.delta


class SimulatedInt8(nn.Module):
    """Computes what an int8 graph does: [N, C, H, W] in 0..1 to [N, C, H * scale, W * scale]."""

    def __init__(self, quantised: Quantised) -> None:
        """Take a calibrated graph.

        Raises:
            ModelError: It has an operator that cannot be trained here.
        """
        super().__init__()
        self._proto = quantised.proto
        self._layers = quantised.layers
        self._steps = steps_of(quantised.proto)
        self._output = str(quantised.proto.graph.output[0].name)
        self._input = str(quantised.proto.graph.input[0].name)
        self._constants = constants_of(quantised.proto)
        for step in self._steps:
            if step.kind not in (*_OPERATORS, "Conv", "PRelu", "Shape", "Split", "Resize"):
                raise ModelError(f"networks with {step.kind} cannot be fine-tuned for int8")
        self._learnt = nn.ModuleDict()
        for step in self._steps:
            for place in _LEARNT_INPUTS.get(step.kind, ()):
                if place < len(step.inputs) and step.inputs[place] in self._constants:
                    self._learn(step, place)

    def _learn(self, step: Step, place: int) -> None:
        name, layer = step.inputs[place], self._layers.get(step.outputs[0])
        values = self._constants[name]
        unit: NDArray[Any] | float
        if layer is not None and place == 1:
            unit = layer.scales.reshape(-1, 1, 1, 1)
            values = layer.weights * unit
        elif layer is not None:
            unit, values = layer.scales * 16, layer.bias
        elif step.kind == "Conv" and place == 1:
            unit = np.abs(values).max(axis=(1, 2, 3), keepdims=True) / MOST_WEIGHT + 1e-8
        elif step.kind == "Conv":
            unit = np.abs(self._constants[step.inputs[1]]).max(axis=(1, 2, 3)) / MOST_WEIGHT + 1e-8
        else:
            unit = 1 / 512
        self._learnt[_key(name)] = _Learnt(values, unit)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the graph."""
        known: dict[str, Any] = {self._input: x, "": None}
        known |= {n: torch.from_numpy(np.asarray(v)) for n, v in self._constants.items()}
        for name in self._constants:
            if _key(name) in self._learnt:
                known[name] = self._learnt[_key(name)]()
        rounded: dict[str, Tensor] = {}
        for step in self._steps:
            inputs = [known[name] for name in step.inputs]
            layer = self._layers.get(step.outputs[0])
            if layer is not None:
                source = step.inputs[0]
                if source not in rounded:
                    codes = layer.taken
                    rounded[source] = torch.fake_quantize_per_tensor_affine(
                        inputs[0], codes.scale, codes.zero_point, 0, 255
                    )
                inputs[0] = rounded[source]
                scales = torch.from_numpy(layer.scales).reshape(-1, 1, 1, 1)
                inputs[1] = _through((inputs[1] / scales).clamp(-MOST_WEIGHT, MOST_WEIGHT)) * scales
            for name, made in zip(step.outputs, _compute(step, inputs), strict=True):
                known[name] = made
        result: Tensor = known[self._output]
        return result

    @torch.no_grad()
    def quantised(self) -> Quantised:
        """Return the graph with what was trained."""
        found = {n: self._learnt[_key(n)]().numpy() for n in self._constants if _key(n) in self._learnt}
        layers = {}
        for step in self._steps:
            layer = self._layers.get(step.outputs[0])
            if layer is None:
                continue
            whole = np.rint(found[step.inputs[1]] / layer.scales.reshape(-1, 1, 1, 1))
            layers[step.outputs[0]] = Layer(
                layer.taken,
                np.clip(whole, -MOST_WEIGHT, MOST_WEIGHT).astype(np.int8),
                layer.scales,
                found[step.inputs[2]],
            )
        plain = {n: v.reshape(self._constants[n].shape) for n, v in found.items()}
        return Quantised(with_constants(self._proto, plain), layers)


def _key(name: str) -> str:
    """Return a name that torch takes."""
    return name.replace(".", "/")


def _through(x: Tensor) -> Tensor:
    """Round; backwards, as if nothing were done."""
    return x + (x.round() - x).detach()


def _compute(step: Step, inputs: list[Any]) -> list[Any]:
    options = step.attributes
    match step.kind:
        case "Conv":
            pads = options.get("pads", [0] * 4)[:2]
            strides = options.get("strides", [1, 1])
            bias = inputs[2] if len(inputs) > 2 else None
            return [F.conv2d(inputs[0], inputs[1], bias, stride=tuple(strides), padding=tuple(pads))]
        case "PRelu":
            return [F.prelu(inputs[0], inputs[1].reshape(-1))]
        case "Split":
            return list(torch.split(inputs[0], [int(n) for n in inputs[1]], dim=options["axis"]))
        case "Shape":
            return [tuple(inputs[0].shape)]
        case "Resize":
            return [F.interpolate(inputs[0], size=inputs[3][2:], mode="bilinear", align_corners=False)]
    return [_OPERATORS[step.kind](options, *inputs)]


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, x, y: x + y,
    "Concat": lambda o, *parts: torch.cat(parts, dim=o["axis"]),
    "DepthToSpace": lambda o, x: F.pixel_shuffle(x, o["blocksize"]),
    "LeakyRelu": lambda o, x: F.leaky_relu(x, o.get("alpha", 0.01)),
    "MaxPool": lambda o, x: F.max_pool2d(x, tuple(o["kernel_shape"]), tuple(o.get("strides", [1, 1]))),
    "Mul": lambda _, x, y: x * y,
    "Relu": lambda _, x: F.relu(x),
    "Sigmoid": lambda _, x: torch.sigmoid(x),
}
