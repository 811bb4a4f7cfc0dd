"""What RFDN and IMDN share: their convolutions, their activation and how their checkpoints are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isqrt
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.errors import WeightsError

__all__ = [
    "LEAK",
    "Rename",
    "blocks_in",
    "conv",
    "fold_range",
    "leaky",
    "load_strictly",
    "renamed",
    "scale_of",
    "shape_of",
]

LEAK = 0.05
"""Slope of LeakyReLU below zero, in RFDN and IMDN alike."""

Rename = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
"""A published module name, matched as a whole, and what it is called here."""

N = TypeVar("N", bound=nn.Module)


def conv(inner: int, out: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the picture's size (at stride 1), drawn as torch draws it."""
    return nn.Conv2d(inner, out, size, stride=stride, padding=size // 2)


def leaky(x: Tensor) -> Tensor:
    """Return x where it is positive, 0.05 x elsewhere."""
    return F.leaky_relu(x, LEAK)


def fold_range(first: nn.Conv2d, last: nn.Conv2d, peak: float) -> None:
    """Turn a network that works on 0..peak into the equal one that works on 0..1, in place.

    ``last(body(first(peak * x))) / peak``: the factor goes into the first layer's weights, its inverse
    into the last layer's weights and bias. Nothing in between changes, so this holds whatever the body
    is (a sigmoid makes RFDN's and IMDN's attention no homogeneous function).
    """
    with torch.no_grad():
        first.weight.mul_(peak)
        last.weight.div_(peak)
        if last.bias is not None:
            last.bias.div_(peak)


def renamed(state: Mapping[str, Tensor], rules: tuple[Rename, ...]) -> dict[str, Tensor]:
    """Return the state under our names; names that no rule knows stay as they are.

    Raises:
        WeightsError: Two names become one.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        for pattern, place in rules:
            if match := pattern.fullmatch(module):
                module = place(match)
                break
        if f"{module}.{kind}" in found:
            raise WeightsError(f"'{module}.{kind}' is there twice, once as '{name}'")
        found[f"{module}.{kind}"] = tensor
    return found


def shape_of(state: Mapping[str, Tensor], name: str) -> tuple[int, int, int, int]:
    """Return the shape of a kernel [out, in, rows, columns].

    Raises:
        WeightsError: There is none of that name.
    """
    tensor = state.get(name)
    if tensor is None:
        raise WeightsError(f"'{name}' is missing", hint="the checkpoint is not whole")
    if tensor.ndim != 4 or 0 in tensor.shape:
        raise WeightsError(f"'{name}' has the shape {list(tensor.shape)}, which is no convolution's")
    out, inner, rows, columns = tensor.shape
    return out, inner, rows, columns


def blocks_in(state: Mapping[str, Tensor]) -> int:
    """Return how many ``blocks.<i>`` there are names of."""
    return len({name.split(".")[1] for name in state if name.startswith("blocks.")})


def scale_of(out: int, channels: int) -> int:
    """Return the factor of a pixel shuffle from `out` channels to `channels`.

    Raises:
        WeightsError: No whole factor does that, or the channels are neither luma nor RGB.
    """
    scale = isqrt(out // channels) if channels in (1, 3) else 0
    if not 1 <= scale <= 16 or scale * scale * channels != out:
        raise WeightsError(
            f"{out} channels at the end for {channels} at the start are no upscaling network",
            hint="it must take and give 1 channel (luma) or 3 (RGB)",
        )
    return scale


def load_strictly(build: Callable[[], N], state: Mapping[str, Tensor]) -> N:
    """Return `build()` with the weights of `state`, which must fit name by name and shape by shape.

    It is first built without memory for weights, so that a file's claims cost nothing.

    Raises:
        WeightsError: A name is missing or too many, or a shape differs; the first is named.
    """
    try:
        with torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
    except ValueError as error:  # sizes that the network cannot have
        raise WeightsError(f"there is no such network: {error}") from error
    for name, shape in wanted.items():
        if name not in state:
            raise WeightsError(f"'{name}' is missing", hint="the checkpoint is not whole")
        if state[name].shape != shape:
            raise WeightsError(f"'{name}' has the shape {list(state[name].shape)}, not {list(shape)}")
    if unknown := sorted(state.keys() - wanted.keys()):
        raise WeightsError(f"'{unknown[0]}' is not a part of this network")
    network = build()
    network.load_state_dict(dict(state))
    return network.eval()
