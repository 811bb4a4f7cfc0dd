"""How far an output pixel sees: the halo of an interchange graph, read from its nodes.

Each tensor has a `_Reach`: `ratio` samples a pixel of the input, and sample i depends on the input
pixels from ``i / ratio - before`` to ``i / ratio + after``. A convolution of k taps with padding p adds p
samples before and k - 1 - p after; operators on single samples take the larger; DepthToSpace
multiplies the ratio. What has no such bound (global means, resizing, reshaping of rows) makes
tiling approximate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from vidsr.models.steps import constants_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Context", "context_of"]


@dataclass(frozen=True, slots=True)
class Context:
    """What tiles must respect."""

    halo: int
    """Input pixels to each side that an output pixel depends on; what is unbounded is left out."""
    exact: bool
    """Whether tiles that overlap by the halo equal the whole picture."""
    multiple: int
    """The input's sides, and the tiles' origins, are multiples of this: strides that a shuffle takes back."""


@dataclass(frozen=True, slots=True)
class _Reach:
    ratio: Fraction = Fraction(1)
    before: Fraction = Fraction(0)
    after: Fraction = Fraction(0)
    coarsest: Fraction = Fraction(1)
    """Smallest ratio that its size went through; the inverse is the multiple."""


class _Walk:
    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import helper

        self._attribute = helper.get_attribute_value
        self.exact = True
        self.sizes: dict[str, _Reach] = {}
        """By the output of a Shape: what it is the shape of."""
        graph = model.graph
        self.constants = constants_of(model)
        self.reach: dict[str, _Reach | None] = dict.fromkeys(self.constants)
        self.reach |= {i.name: _Reach() for i in graph.input if i.name not in self.constants}
        for node in graph.node:
            after = self._step(node)
            if after is not None:
                after = replace(after, coarsest=min(after.coarsest, after.ratio))
            for name in node.output:
                self.reach[name] = after

    def _step(self, node: onnx.NodeProto) -> _Reach | None:
        """Return the reach of the node's outputs; None: they do not depend on pixels."""
        known = [r for r in (self.reach.get(name) for name in node.input if name) if r is not None]
        if node.op_type == "Shape" and known:
            self.sizes[node.output[0]] = known[0]
        if not known or node.op_type == "Shape":
            return None
        ratios = {r.ratio for r in known}
        # Different ratios meet only where something was shrunk to a point or resized, which is not exact.
        self.exact = self.exact and len(ratios) == 1
        total = _Reach(
            max(ratios),
            max(r.before for r in known),
            max(r.after for r in known),
            min(r.coarsest for r in known),
        )
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        match node.op_type:
            case "Conv" | "MaxPool" | "AveragePool":
                return self._window(node, total, attributes)
            case "ConvTranspose":
                return self._transposed(node, total, attributes)
            case "DepthToSpace":
                return replace(total, ratio=total.ratio * attributes["blocksize"])
            case "SpaceToDepth":
                coarse = total.ratio / attributes["blocksize"]
                return replace(total, ratio=coarse, after=total.after + 1 / coarse - 1 / total.ratio)
            case "Pad":
                return self._pad(node, total, attributes)
            case "Resize" if len(node.input) == 4 and node.input[3] in self.sizes:
                # Whatever was lost to strides, the size is another tensor's now. Interpolation takes in one
                # more sample of the coarse grid, which also covers how far that is stretched.
                self.exact = False
                like, more = self.sizes[node.input[3]], 1 / total.ratio
                return _Reach(like.ratio, total.before + more, total.after + more, like.coarsest)
            case "GlobalAveragePool" | "Resize" | "Reshape" | "Transpose" | "Tile" | "Expand":
                self.exact = False
            case (
                "ReduceMean" | "ReduceSum" | "Slice" | "Concat" | "Split" | "Gather" | "Squeeze" | "Unsqueeze"
            ):
                self.exact = self.exact and self._on_channels(node, attributes)
        return total

    def _window(self, node: onnx.NodeProto, total: _Reach, attributes: dict[str, Any]) -> _Reach:
        weights = self.constants.get(node.input[1]) if node.op_type == "Conv" else None
        kernel = attributes.get("kernel_shape") or (weights.shape[2:] if weights is not None else None)
        if kernel is None:
            self.exact = False
            return total
        stride = max(attributes.get("strides", [1]))
        span = [
            (k - 1) * d for k, d in zip(kernel, attributes.get("dilations", [1] * len(kernel)), strict=True)
        ]
        before, after = _padding(span, attributes)
        self.exact = self.exact and stride == 1
        return replace(
            total,
            ratio=total.ratio / stride,
            before=total.before + before / total.ratio,
            after=total.after + after / total.ratio,
        )

    def _transposed(self, node: onnx.NodeProto, total: _Reach, attributes: dict[str, Any]) -> _Reach:
        weights = self.constants.get(node.input[1])
        kernel = attributes.get("kernel_shape") or (weights.shape[2:] if weights is not None else [1])
        stride = max(attributes.get("strides", [1]))
        # Output o takes input i where o = i * stride - pad + tap: at most (k - 1) / stride samples away.
        reach = Fraction(max(kernel) - 1 + max(attributes.get("pads", [0])), stride) / total.ratio
        return replace(
            total, ratio=total.ratio * stride, before=total.before + reach, after=total.after + reach
        )

    def _pad(self, node: onnx.NodeProto, total: _Reach, attributes: dict[str, Any]) -> _Reach:
        pads = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        if pads is None or len(pads) != 8 or len(node.input) > 3:
            self.exact = False
            return total
        # A sample moves by the padding before it, by different amounts down and across.
        moves = (int(pads[2]), int(pads[3]))
        return replace(
            total,
            before=total.before + max(moves) / total.ratio,
            after=total.after - min(moves) / total.ratio,
        )

    def _on_channels(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> bool:
        """Tell whether the node works along channels alone."""
        place = 3 if node.op_type == "Slice" else 1
        axes = attributes.get("axes", attributes.get("axis"))
        if axes is None and node.op_type in ("Slice", "ReduceMean", "ReduceSum", "Squeeze", "Unsqueeze"):
            axes = self.constants.get(node.input[place]) if len(node.input) > place else None
        if axes is None:
            return False
        return all(int(a) in (1, -3) for a in np.atleast_1d(np.asarray(axes)))


def _padding(span: Sequence[int], attributes: dict[str, Any]) -> tuple[Fraction, Fraction]:
    """Return samples needed before and after, the larger of both axes."""
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        half = Fraction(max(span) + 1, 2)
        return half, half
    begins = list(attributes.get("pads", [0] * 2 * len(span)))[: len(span)]
    pairs = list(zip(span, begins, strict=True))
    return Fraction(max(p for _, p in pairs)), Fraction(max(s - p for s, p in pairs))


def context_of(model: onnx.ModelProto) -> Context:
    """Return the context of a checked interchange graph."""
    walk = _Walk(model)
    end = walk.reach[model.graph.output[0].name] or _Reach()
    halo = max(ceil(end.before), ceil(end.after), 0)
    return Context(halo, walk.exact, ceil(1 / end.coarsest))
