"""An interchange file as calls of torch, for `peer_worker.py`: the operations that vidsr writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional as F


def torch_network(path: Path) -> Callable[[Any], Any]:
    """Return an interchange file as calls of torch, node after node."""
    graph = onnx.load(str(path)).graph
    consts = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    for name, value in consts.items():
        if value.ndim == 4:
            consts[name] = value.to(memory_format=torch.channels_last)

    def convolved(x: Any, weight: Any, bias: Any = None, **a: Any) -> Any:
        top, left, *rest = a.get("pads", [0, 0, 0, 0])
        if [top, left] != rest:
            x, top, left = F.pad(x, (left, rest[1], top, rest[0])), 0, 0
        return F.conv2d(x, weight, bias, a.get("strides", 1), (top, left), 1, a.get("group", 1))

    def shuffled(x: Any, **a: Any) -> Any:
        if a.get("mode", b"DCR") != b"CRD":
            raise ValueError("torch has no depth-to-space of the kind DCR")
        return F.pixel_shuffle(x, a["blocksize"])

    def resized(x: Any, _roi: Any, _scales: Any, sizes: Any, **a: Any) -> Any:
        if a["mode"] != b"linear" or a.get("coordinate_transformation_mode", b"half_pixel") not in (
            b"half_pixel",
            b"pytorch_half_pixel",
        ):
            raise ValueError(f"no resize of the kind {a['mode'].decode()} was written for torch")
        return F.interpolate(x, sizes[-2:].tolist(), mode="bilinear", align_corners=False)

    calls: dict[str, Callable[..., Any]] = {
        "Add": torch.add,
        "Concat": lambda *x, axis: torch.cat(x, axis),
        "Conv": convolved,
        "DepthToSpace": shuffled,
        "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
        "MaxPool": lambda x, kernel_shape, strides, **_: F.max_pool2d(x, kernel_shape, strides),
        "Mul": torch.mul,
        "PRelu": lambda x, slope: F.prelu(x, slope.flatten().to(x.dtype)),
        "Relu": F.relu,
        "Resize": resized,
        "Shape": lambda x, start=0, end=None: torch.tensor(x.shape[start:end]),
        "Sigmoid": torch.sigmoid,
        "Split": lambda x, sizes, axis: torch.split(x, sizes.tolist(), axis),
    }
    return _following(graph, consts, calls, onnx.helper.get_attribute_value)


def _following(graph: Any, consts: Any, calls: dict[str, Callable[..., Any]], read: Any) -> Any:
    nodes = [(n, {a.name: read(a) for a in n.attribute}) for n in graph.node]
    if missing := {node.op_type for node, _ in nodes} - set(calls):
        raise ValueError(f"no {', '.join(sorted(missing))} was written for torch")

    def network(low: Any) -> Any:
        values = {"": None, **consts, graph.input[0].name: low}
        for node, attributes in nodes:
            made = calls[node.op_type](*(values[name] for name in node.input), **attributes)
            values |= zip(node.output, made if isinstance(made, tuple) else (made,), strict=True)
        return values[graph.output[0].name]

    return network
