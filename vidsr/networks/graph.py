"""Interchange graphs, written node by node from a network's weights, without a tracer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidsr.networks.layers import LEAK

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

__all__ = ["NetworkGraph"]

OPSET = 17
IR_VERSION = 8


class NetworkGraph:
    """Collects nodes. Tensors are named after the node that makes them; the network's input is "input".

    What is written depends on nothing but the calls, so equal weights give equal bytes.
    """

    def __init__(self, name: str) -> None:
        """Begin a graph called `name`."""
        from onnx import helper, numpy_helper

        self.name = name
        self._helper = helper
        self._to_tensor = numpy_helper.from_array
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: Tensor | NDArray[Any]) -> str:
        """Add a constant and return its name; tensors become float32, arrays stay what they are."""
        if not isinstance(values, np.ndarray):
            values = np.asarray(values.detach().float().cpu().numpy(), dtype=np.float32)
        self._weights.append(self._to_tensor(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name, which is the node's."""
        self._nodes.append(self._helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, layer: nn.Module, name: str) -> str:
        """Add a `torch.nn.Conv2d` with a bias and zero padding."""
        from torch import nn

        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        assert not isinstance(layer.padding, str)
        inputs = [x, self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)]
        strides = {"strides": list(layer.stride)} if max(layer.stride) > 1 else {}
        return self.node(
            "Conv",
            inputs,
            name,
            kernel_shape=list(layer.kernel_size),
            pads=list(layer.padding) * 2,
            **strides,
        )

    def leaky(self, x: str) -> str:
        """Add the LeakyReLU of RFDN and IMDN."""
        return self.node("LeakyRelu", [x], f"{x}.leaky", alpha=LEAK)

    def add(self, one: str, other: str, name: str) -> str:
        """Add a sum."""
        return self.node("Add", [one, other], name)

    def concat(self, parts: Sequence[str], name: str) -> str:
        """Join channels."""
        return self.node("Concat", parts, name, axis=1)

    def split(self, x: str, channels: Sequence[int]) -> list[str]:
        """Cut channels apart."""
        names = [f"{x}.{i}" for i in range(len(channels))]
        sizes = self.weight(f"{x}.sizes", np.array(channels, dtype=np.int64))
        self._nodes.append(self._helper.make_node("Split", [x, sizes], names, name=f"{x}.split", axis=1))
        return names

    def shuffle(self, x: str, scale: int) -> str:
        """End the graph: scale * scale neighbouring channels become scale x scale samples."""
        return self.node("DepthToSpace", [x], "output", blocksize=scale, mode="CRD")

    def save(self, path: Path, channels: int) -> Path:
        """Write the graph, which ends in "output", with dynamic batch, height and width; return `path`."""
        ends = [
            self._helper.make_tensor_value_info(
                name, self._helper.np_dtype_to_tensor_dtype(np.dtype(np.float32)), ["batch", channels, *sides]
            )
            for name, sides in (("input", ["height", "width"]), ("output", ["large_height", "large_width"]))
        ]
        graph = self._helper.make_graph(self._nodes, self.name, ends[:1], ends[1:], initializer=self._weights)
        opset = self._helper.make_opsetid("", OPSET)
        model = self._helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="vidsr"
        )
        path.write_bytes(model.SerializeToString(deterministic=True))
        return path
