"""ONNX operators that move samples and compute nothing: see `vidsr.backends.torch_operators`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vidsr.backends.torch_operators import Function, Held, Maker, Read, UnsupportedError
from vidsr.models.steps import Step

__all__ = ["SHAPES"]


def _concat(step: Step, read: Read) -> Function:
    axis = step.attributes["axis"]
    return lambda *xs: torch.cat(xs, dim=axis)


def _split(step: Step, read: Read) -> Function:
    axis, sizes, count = step.attributes.get("axis", 0), read.whole(1, "split"), len(step.outputs)
    if sizes is None:
        return lambda x, *_: list(torch.split(x, -(-x.shape[axis] // count), dim=axis))
    return lambda x, *_: list(torch.split(x, sizes, dim=axis))


def _slice(step: Step, read: Read) -> Function:
    starts, ends = read.whole(1, "starts"), read.whole(2, "ends")
    if starts is None or ends is None:
        raise UnsupportedError("without starts and ends")
    axes = read.whole(3, "axes") or list(range(len(starts)))
    steps = read.whole(4, "steps") or [1] * len(starts)
    if min(steps) < 1:
        raise UnsupportedError("backwards")

    def run(x: Tensor, *_: Tensor) -> Tensor:
        for axis, start, end, every in zip(axes, starts, ends, steps, strict=True):
            index = [slice(None)] * x.dim()
            index[axis] = slice(start, end, every)
            x = x[tuple(index)]
        return x

    return run


def _gather(step: Step, read: Read) -> Function:
    axis, indices = step.attributes.get("axis", 0), read(1)
    assert indices is not None
    held = Held(indices.astype(np.int64))
    if indices.ndim == 1 and indices.min(initial=0) >= 0:
        return lambda x, *_: x.index_select(axis, held.beside(x))
    return lambda x, *_: x[(slice(None),) * (axis % x.dim()) + (held.beside(x),)]


def _reshape(step: Step, read: Read) -> Function:
    wanted = read.whole(1, "shape") or []
    if step.attributes.get("allowzero"):
        raise UnsupportedError("with allowzero")
    return lambda x, *_: x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(wanted)])


def _transpose(step: Step, read: Read) -> Function:
    order = step.attributes.get("perm")
    return lambda x: x.permute(order if order is not None else list(range(x.dim()))[::-1])


def _shuffle(step: Step, read: Read) -> Function:
    """DepthToSpace; in torch's own words only for the mode CRD, and for floating point."""
    size, crd = step.attributes["blocksize"], step.attributes.get("mode", b"DCR") == b"CRD"

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        inner = c // (size * size)
        if crd:
            parts = x.reshape(n, inner, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
        else:
            parts = x.reshape(n, size, size, inner, h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, inner, h * size, w * size)

    return run


def _unshuffle(step: Step, read: Read) -> Function:
    size = step.attributes["blocksize"]

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(n, c * size * size, h // size, w // size)

    return run


def _squeeze(step: Step, read: Read) -> Function:
    axes = read.whole(1, "axes")
    return lambda x, *_: x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(step: Step, read: Read) -> Function:
    axes = read.whole(1, "axes") or []

    def run(x: Tensor, *_: Tensor) -> Tensor:
        rank = x.dim() + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _expand(step: Step, read: Read) -> Function:
    shape = read.whole(1, "shape") or []
    return lambda x, *_: x.expand(np.broadcast_shapes(tuple(x.shape), tuple(shape)))


def _tile(step: Step, read: Read) -> Function:
    repeats = read.whole(1, "repeats") or []
    return lambda x, *_: x.repeat(repeats)


def _shape(step: Step, read: Read) -> Function:
    dims = read.shape(0)[step.attributes.get("start", 0) : step.attributes.get("end")]
    made = torch.tensor(dims, dtype=torch.int64)
    return lambda x: made


SHAPES: dict[str, Maker] = {
    "Concat": _concat,
    "DepthToSpace": _shuffle,
    "Expand": _expand,
    "Gather": _gather,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _unshuffle,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
