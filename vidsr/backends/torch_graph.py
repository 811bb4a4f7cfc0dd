"""A graph with static shapes as a function in torch.

What constants and shapes decide is decided when the function is made, and what is not supported is
refused then. A call launches the operators in turn and lets go of each tensor after its last use.

In half precision the nodes between the first and the last convolution compute in f16, all others in f32:
decoding codes, the skip connection around the network, colour, filters and rounding keep their precision.
A first convolution's weights are brought to about 1 by a power of two, and what it takes by the
opposite, both exact: of codes up to 65535 it has weights that f16 does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidsr.backends.torch_operators import OPERATORS, Function, Read, UnsupportedError, to_tensor
from vidsr.backends.torch_shapes import SHAPES
from vidsr.backends.torch_windows import WINDOWS
from vidsr.errors import EngineBuildError
from vidsr.models.steps import Graph, Step

__all__ = ["TorchGraph"]

_MAKERS = OPERATORS | SHAPES | WINDOWS
_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
_PRECISE = frozenset(
    ("Pow", "Sqrt", "ReduceMean", "ReduceSum", "GlobalAveragePool", "QuantizeLinear", "DequantizeLinear")
)
"""What computes in f32 between convolutions as well."""


@dataclass(slots=True)
class _Call:
    """A step of the function."""

    function: Function
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    half: bool | None
    """Floating point in: f16, f32, or as it comes."""
    convolution: bool
    factor: float = 1.0
    """By which the first input is multiplied before it becomes f16."""
    dead: list[str] = field(default_factory=list)
    """What nothing after it takes."""


class TorchGraph:
    """Takes planes [1, 1, rows, columns] in the graph's order and returns those that it makes.

    Planes are uint8, or int16 with the bits of uint16: torch computes little with uint16 itself.
    """

    def __init__(self, graph: Graph, *, device: str = "cpu", half: bool = False) -> None:
        """Make the function.

        Args:
            graph: What to compute.
            device: torch's name of a device.
            half: See the module.

        Raises:
            EngineBuildError: An operator, or a form of it, is not supported; the message names it.
        """
        self._inputs, self._outputs = tuple(graph.inputs), graph.outputs
        self._device = torch.device(device)
        fixed = {name: to_tensor(array) for name, array in graph.constants.items()}
        self._calls: list[_Call] = []
        halves, first = _between(graph.steps) if half else (frozenset[int](), frozenset[int]())
        with torch.inference_mode():
            for number, step in enumerate(graph.steps):
                if not set(step.outputs) <= fixed.keys():
                    call = _call(step, fixed, graph.shapes, half=number in halves if half else None)
                    if call is not None:
                        self._calls.append(call)
                        self._prepare(call, step, fixed, lift=number in first)
            self._constants = self._placed(fixed)
        self._find_dead()

    def __call__(self, planes: Sequence[Tensor]) -> list[Tensor]:
        """Return the planes that the graph makes of these."""
        with torch.inference_mode():
            values = dict(self._constants)
            for name, plane in zip(self._inputs, planes, strict=True):
                values[name] = plane.to(torch.int32) & 0xFFFF if plane.dtype == torch.int16 else plane
            for call in self._calls:
                made = call.function(*(self._taken(call, i, values) for i in range(len(call.inputs))))
                several = made if isinstance(made, list) else [made]
                values.update(zip(call.outputs, several, strict=False))
                del made, several
                for name in call.dead:
                    values.pop(name, None)
            return [_narrow(values[name]) for name in self._outputs]

    @staticmethod
    def _taken(call: _Call, place: int, values: dict[str, Tensor]) -> Tensor | None:
        name = call.inputs[place]
        if not name:
            return None
        x = values[name]
        if call.half is None or not x.is_floating_point():
            return x
        if call.factor != 1.0 and place == 0:
            x = x * call.factor
        x = x.to(torch.float16 if call.half else torch.float32)
        if call.half and call.convolution and place == 0:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def _prepare(self, call: _Call, step: Step, fixed: dict[str, Tensor], *, lift: bool) -> None:
        """Store a half convolution's weights as it takes them."""
        if not call.half:
            return
        names = list(call.inputs)
        for place, name in enumerate(names):
            value = fixed.get(name)
            if value is None or value.dtype != torch.float32:
                continue
            names[place] = f"{name}/f16"
            if call.convolution and place == 1:
                power = -math.frexp(float(value.abs().max()))[1] if lift else 0
                if power > 0 and math.isfinite(2.0**power):
                    value, call.factor = value * 2.0**power, 2.0**-power
                    names[place] = f"{name}/f16 * 2**{power}"
                value = value.contiguous(memory_format=torch.channels_last)
            fixed[names[place]] = value.to(torch.float16)
        call.inputs = tuple(names)

    def _placed(self, fixed: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the constants that calls take, on the device."""
        wanted = {name for call in self._calls for name in call.inputs} | set(self._outputs)
        return {name: value.to(self._device) for name, value in fixed.items() if name in wanted}

    def _find_dead(self) -> None:
        seen = set(self._outputs) | self._constants.keys()
        for call in reversed(self._calls):
            call.dead = [n for n in dict.fromkeys((*call.inputs, *call.outputs)) if n and n not in seen]
            seen.update(call.dead)


def _call(
    step: Step, fixed: dict[str, Tensor], shapes: Mapping[str, tuple[int, ...]], *, half: bool | None
) -> _Call | None:
    """Return what computes a step; None: it is known already and has been added to `fixed`."""
    maker = _MAKERS.get(step.kind)
    if maker is None:
        raise _refused(f"has no operator {step.kind}")
    try:
        function = maker(step, Read(step, fixed, shapes))
        if step.kind == "Shape" or all(name in fixed for name in step.inputs if name):
            made = function(*(fixed.get(name) for name in step.inputs))
            fixed.update(zip(step.outputs, made if isinstance(made, list) else [made], strict=False))
            return None
    except UnsupportedError as error:
        raise _refused(f"does not do {step.kind} {error}") from error
    return _Call(function, step.inputs, step.outputs, half, step.kind in _CONVOLUTIONS)


def _refused(what: str) -> EngineBuildError:
    return EngineBuildError(f"the backend torch {what}", stage="inference", hint="use --backend openvino")


def _narrow(plane: Tensor) -> Tensor:
    """Return uint8, or the lower 16 bits."""
    return plane.to(torch.int16) if plane.dtype == torch.int32 else plane


def _between(steps: Sequence[Step]) -> tuple[frozenset[int], frozenset[int]]:
    """Return the numbers of the steps from the first to the last convolution, and of the first ones.

    That is what takes something from a convolution and gives something to one.
    """
    after = _reached(enumerate(steps), lambda s: s.inputs, lambda s: s.outputs)
    before = _reached(reversed(list(enumerate(steps))), lambda s: s.outputs, lambda s: s.inputs)
    inside = frozenset(i for i in after & before if steps[i].kind not in _PRECISE)
    made = {name for i in after for name in steps[i].outputs}
    first = frozenset(i for i in inside if steps[i].kind in _CONVOLUTIONS and steps[i].inputs[0] not in made)
    return inside, first


def _reached(
    steps: Iterable[tuple[int, Step]],
    taken: Callable[[Step], Sequence[str]],
    made: Callable[[Step], Sequence[str]],
) -> frozenset[int]:
    """Return convolutions and what follows them, in the order of `steps`."""
    names: set[str] = set()
    found = set()
    for number, step in steps:
        if step.kind in _CONVOLUTIONS or not names.isdisjoint(taken(step)):
            found.add(number)
            names.update(name for name in made(step) if name)
    return frozenset(found)
