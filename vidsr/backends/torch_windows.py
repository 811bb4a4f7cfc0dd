"""ONNX operators that look at neighbouring samples: see `vidsr.backends.torch_operators`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vidsr.backends.torch_operators import Function, Held, Maker, Read, UnsupportedError
from vidsr.models.steps import Step

__all__ = ["WINDOWS"]


class _Window:
    """Kernel, strides and padding of a step in two dimensions."""

    def __init__(self, step: Step, kernel: Sequence[int]) -> None:
        attributes = step.attributes
        if len(kernel) != 2:
            raise UnsupportedError(f"in {len(kernel)} dimensions")
        self.kernel = list(kernel)
        self.strides = list(attributes.get("strides", [1, 1]))
        self.dilations = list(attributes.get("dilations", [1, 1]))
        self._pads = list(attributes.get("pads", [0] * 4))
        self._automatic = attributes.get("auto_pad", b"NOTSET").decode()

    def pads(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return columns before and after, rows above and below, as torch orders them."""
        top, left, bottom, right = self._pads
        if self._automatic == "VALID":
            return 0, 0, 0, 0
        if self._automatic != "NOTSET":
            (top, bottom), (left, right) = (self._same(x, axis) for axis in (0, 1))
        return left, right, top, bottom

    def _same(self, x: Tensor, axis: int) -> tuple[int, int]:
        length, stride = x.shape[axis + 2], self.strides[axis]
        span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        total = max((-(-length // stride) - 1) * stride + span - length, 0)
        less, more = total // 2, total - total // 2
        return (less, more) if self._automatic == "SAME_UPPER" else (more, less)


def _convolution(step: Step, read: Read) -> Function:
    window, group = _Window(step, read.shape(1)[2:]), step.attributes.get("group", 1)

    def run(x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
        left, right, top, bottom = window.pads(x)
        if (left, top) != (right, bottom):
            x, left, top = F.pad(x, (left, right, top, bottom)), 0, 0
        return F.conv2d(x, weights, bias, window.strides, (top, left), window.dilations, group)

    return run


def _transposed(step: Step, read: Read) -> Function:
    attributes, window = step.attributes, _Window(step, read.shape(1)[2:])
    group, extra = attributes.get("group", 1), attributes.get("output_padding", [0, 0])
    if "output_shape" in attributes or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise UnsupportedError("with a shape or padding of its own choice")
    pads = attributes.get("pads", [0] * 4)
    if pads[:2] != pads[2:]:
        raise UnsupportedError("with uneven padding")

    def run(x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv_transpose2d(x, weights, bias, window.strides, pads[:2], extra, group, window.dilations)

    return run


def _max_pool(step: Step, read: Read) -> Function:
    window, up = _Window(step, step.attributes["kernel_shape"]), bool(step.attributes.get("ceil_mode", 0))
    if len(step.outputs) > 1:
        raise UnsupportedError("with indices")

    def run(x: Tensor) -> Tensor:
        pads = window.pads(x)
        padded = F.pad(x, pads, value=float("-inf")) if any(pads) else x
        return F.max_pool2d(padded, window.kernel, window.strides, 0, window.dilations, up)

    return run


def _average_pool(step: Step, read: Read) -> Function:
    window, up = _Window(step, step.attributes["kernel_shape"]), bool(step.attributes.get("ceil_mode", 0))
    counted = bool(step.attributes.get("count_include_pad", 0))
    if window.dilations != [1, 1] or (up and counted):
        raise UnsupportedError("with dilations, or with ceil_mode and count_include_pad")

    def run(x: Tensor) -> Tensor:
        pads = window.pads(x)
        made = F.avg_pool2d(F.pad(x, pads), window.kernel, window.strides, 0, up)
        if counted or not any(pads):
            return made
        share = F.pad(torch.ones_like(x[:1, :1]), pads)  # how much of a window is picture
        return made / F.avg_pool2d(share, window.kernel, window.strides, 0, up)

    return run


def _pad(step: Step, read: Read) -> Function:
    pads, value = read.whole(1, "pads"), read(2)
    mode = step.attributes.get("mode", b"constant").decode()
    names = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}
    if pads is None or mode not in names or (len(step.inputs) > 3 and step.inputs[3]):
        raise UnsupportedError(f"in the mode {mode}, or along axes that are named")
    rank = len(pads) // 2
    # torch begins with the last dimension.
    order = [n for axis in reversed(range(rank)) for n in (pads[axis], pads[axis + rank])]
    while len(order) > 4 and not any(order[-2:]):
        order = order[:-2]
    if mode == "constant":
        filled = 0.0 if value is None else value.item()
        return lambda x, *_: F.pad(x, order, value=filled)
    if rank != 4 or len(order) != 4 or min(order) < 0:
        raise UnsupportedError(f"in the mode {mode} with {pads}")
    return lambda x, *_: F.pad(x, order, mode=names[mode])


# ---- resizing --------------------------------------------------------------------------------------


def _resize(step: Step, read: Read) -> Function:
    attributes = step.attributes
    mode = attributes.get("mode", b"nearest").decode()
    place = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    for name in ("antialias", "axes", "exclude_outside"):
        if attributes.get(name):
            raise UnsupportedError(f"with {name}")
    if attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise UnsupportedError("that keeps the aspect ratio")
    if place not in _PLACES or mode not in ("nearest", "linear", "cubic"):
        raise UnsupportedError(f"in the mode {mode} with {place}")
    scales, sizes, shape = read(2), read.whole(3, "sizes"), read.shape(0)
    changes: list[tuple[int, list[tuple[Held, Held]]]] = []
    for axis, have in enumerate(shape):
        if sizes is not None:
            wanted, scale = sizes[axis], sizes[axis] / have
        elif scales is not None:
            wanted, scale = int(have * float(scales[axis])), float(scales[axis])
        else:
            raise UnsupportedError("without scales and sizes")
        if wanted == have and scale == 1:
            continue
        if axis < 2:
            raise UnsupportedError("of channels")
        taps = _taps(step, _PLACES[place](np.arange(wanted), scale, have, wanted), have)
        side = (-1,) + (1,) * (len(shape) - 1 - axis)
        changes.append((axis, [(Held(i), Held(w.astype(np.float32).reshape(side))) for i, w in taps]))

    def run(x: Tensor, *_: Tensor) -> Tensor:
        for axis, taps in changes:
            found = [x.index_select(axis, i.beside(x)) * w.beside(x, same_type=True) for i, w in taps]
            x = sum(found[1:], found[0])
        return x

    return run


_PLACES = {
    "half_pixel": lambda i, scale, have, wanted: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, have, wanted: (i + 0.5) / scale - 0.5 if wanted > 1 else i * 0.0,
    "asymmetric": lambda i, scale, have, wanted: i / scale,
    "align_corners": lambda i, scale, have, wanted: i * (have - 1) / max(wanted - 1, 1),
}
"""Where in the source an output sample lies."""


def _taps(step: Step, places: NDArray[Any], have: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return pairs of indices and weights, one of each for every output sample."""
    mode = step.attributes.get("mode", b"nearest")
    if mode == b"nearest":
        rule = step.attributes.get("nearest_mode", b"round_prefer_floor")
        rules: dict[bytes, Any] = {
            b"round_prefer_floor": lambda v: np.ceil(v - 0.5),
            b"round_prefer_ceil": lambda v: np.floor(v + 0.5),
            b"floor": np.floor,
            b"ceil": np.ceil,
        }
        return [(_inside(rules[rule](places), have), np.ones(len(places)))]
    whole = np.floor(places)
    part = places - whole
    if mode == b"linear":
        weights = {0: 1 - part, 1: part}
    else:
        a = step.attributes.get("cubic_coeff_a", -0.75)
        weights = {tap: _cubic(np.abs(part - tap), a) for tap in (-1, 0, 1, 2)}
    return [(_inside(whole + tap, have), weight) for tap, weight in weights.items()]


def _cubic(d: NDArray[Any], a: float) -> NDArray[Any]:
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, far)


def _inside(places: NDArray[Any], have: int) -> NDArray[np.int64]:
    return np.asarray(np.clip(places, 0, have - 1), dtype=np.int64)


WINDOWS: dict[str, Maker] = {
    "AveragePool": _average_pool,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "GlobalAveragePool": lambda step, read: lambda x: x.mean(dim=(2, 3), keepdim=True),
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Resize": _resize,
}
