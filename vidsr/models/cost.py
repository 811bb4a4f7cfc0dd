"""How large a network is and how much it computes, counted from its graph.

What is counted are the multiplications of convolutions, each with its addition (MAC), for a frame of 960x540.
Activations, attention's products and resizing are left out: they are few, but they take time as well, so
of two networks with equal counts the one that is nothing but convolutions is the faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from vidsr.errors import ModelError
from vidsr.models.checks import tensor_shapes

if TYPE_CHECKING:
    import onnx

    from vidsr.models.lookup import Model

__all__ = ["SPEEDS", "Cost", "cost_of", "count", "speed_of"]

_FRAME = (960, 540)

SPEEDS: dict[str, float] = {"real time": 12.5, "fast": 25.0, "slow": 125.0}
"""Class of speed -> the largest kMAC a pixel in it; beyond all is "very slow".

25 frames of 960x540 a second at 12.5 kMAC a pixel are 162 GMAC a second. Two cores with bf16 do 200 to 240 on
ECBSR-M4C16 (9.9 kMAC; docs/performance.md: 26.6 frames of 1280x720 a second).
"""

_LEARNT = frozenset(("Conv", "ConvTranspose", "PRelu"))
_MAYBE_LEARNT = frozenset(("Add", "Div", "Mul", "Sub"))  # a table is, a single number is a constant


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network is made of."""

    parameters: int
    """Learnt numbers: weights, biases and slopes."""
    kmac: float
    """Thousands of multiplications a pixel of the network's input."""

    @property
    def speed(self) -> str:
        """A class of `SPEEDS`."""
        return speed_of(self.kmac)


def speed_of(kmac: float) -> str:
    """Return the class of `SPEEDS` of so many thousand multiplications a pixel."""
    return next((name for name, most in SPEEDS.items() if kmac <= most), "very slow")


def cost_of(model: Model) -> Cost:
    """Return what a model costs.

    Raises:
        ModelError: Its file is missing or is not a graph that vidsr runs.
    """
    multiple = model.spec.multiple
    width, height = (-(-side // multiple) * multiple for side in _FRAME)
    return count(model.proto, model.path, width, height)


def count(graph: onnx.ModelProto, path: Path, width: int, height: int) -> Cost:
    """Count a graph's parameters and multiplications for a picture of that size; `path` is for messages.

    Raises:
        ModelError: Its shapes do not fit, or cannot be told.
    """
    constants = _constants(graph)
    shapes = tensor_shapes(graph, path, width, height) | constants
    learnt: set[str] = set()
    total = 0
    for node in graph.graph.node:
        inputs = [name for name in node.input if name in constants]
        if node.op_type in _LEARNT:
            learnt.update(inputs)
        elif node.op_type in _MAYBE_LEARNT:
            learnt.update(name for name in inputs if prod(constants[name]) > 1)
        if node.op_type in ("Conv", "ConvTranspose"):
            # Weights are [out, in / groups, rows, columns], and transposed [in, out / groups, rows, columns].
            samples = shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], ())
            products = prod(samples) * prod(shapes.get(node.input[1], ())[1:])
            if len(samples) != 4 or products == 0:
                raise ModelError(f"the multiplications of '{node.output[0]}' cannot be counted", path=path)
            total += products
    return Cost(sum(prod(constants[name]) for name in learnt), total / (1000 * width * height))


def _constants(graph: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shape of every constant."""
    found = {t.name: tuple(t.dims) for t in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], tuple(a.t.dims)) for a in node.attribute if a.name == "value")
    return found
