"""Export to interchange files: ONNX written from the weights, node by node, without a tracer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.models.card import ModelFile, ModelSpec, Training
from vidsr.models.halo import context_of
from vidsr.models.lookup import Model
from vidsr.networks.ecbsr import ECBSR, PlainECBSR

__all__ = ["ecbsr_card", "export_ecbsr"]

OPSET = 17
IR_VERSION = 8


def export_ecbsr(network: PlainECBSR | ECBSR, path: Path) -> Path:
    """Write an ECBSR as an interchange file: [N, C, H, W] to [N, C, H * scale, W * scale], fp32, 0..1.

    Equal weights give equal bytes. PReLU slopes are [C, 1, 1], the shape that ONNX's broadcasting
    rule asks for; OpenVINO 2026 fuses them into the convolutions as it does one-dimensional ones.

    Returns:
        `path`, with everything in it.
    """
    from onnx import TensorProto, helper, numpy_helper

    plain = network.fold() if isinstance(network, ECBSR) else network
    weights: list[TensorProto] = []
    nodes = []

    def weight(name: str, values: NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    x = "input"
    for i, (kernel, bias) in enumerate(zip(plain.kernels, plain.biases, strict=True)):
        kernel_name = weight(f"kernel{i}", _numpy(kernel))
        bias_name = weight(f"bias{i}", _numpy(bias))
        x = add("Conv", [x, kernel_name, bias_name], f"conv{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        if i < len(plain.slopes):
            x = add("PRelu", [x, weight(f"slope{i}", _numpy(plain.slopes[i]).reshape(-1, 1, 1))], f"prelu{i}")
    skip = "input"
    if plain.channels > 1:
        order = np.repeat(np.arange(plain.channels, dtype=np.int64), plain.scale**2)
        skip = add("Gather", ["input", weight("order", order)], "skip", axis=1)
    x = add("Add", [x, skip], "sum")
    add("DepthToSpace", [x], "output", blocksize=plain.scale, mode="CRD")
    ends = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch", plain.channels, f"{p}height", f"{p}width"]
        )
        for name, p in (("input", ""), ("output", "large_"))
    ]
    graph = helper.make_graph(nodes, "ecbsr", ends[:1], ends[1:], initializer=weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="vidsr"
    )
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def ecbsr_card(
    network: PlainECBSR | ECBSR,
    path: Path,
    *,
    variant: str | None = None,
    default: bool = False,
    description: str = "",
    license: str = "",
    training: Training | None = None,
    quality: dict[str, dict[str, float]] | None = None,
) -> ModelSpec:
    """Return the card of a file that `export_ecbsr` wrote, with the file checked.

    Args:
        network: What was exported.
        path: The file.
        variant: What follows the network's name in the id; None: ``m<blocks>c<features>``.
        default: Whether "ecbsr" at this scale means this model.
        description: One sentence for lists.
        license: SPDX expression.
        training: Where the weights come from.
        quality: Measured: data set -> metric -> value.

    Raises:
        ModelError: The file is not one that vidsr runs.
    """
    plain = network.fold() if isinstance(network, ECBSR) else network
    if variant is None:
        variant = f"m{len(plain.kernels) - 2}c{len(plain.kernels[0])}"
    spec = ModelSpec(
        id=f"{plain.scale}x-ecbsr-{variant}",
        network="ecbsr",
        scale=plain.scale,
        channels=plain.channels,
        halo=len(plain.kernels),
        files={"f32": ModelFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())},
        default=default,
        description=description,
        license=license,
        training=training or Training(),
        quality=quality or {},
    )
    context = context_of(Model(spec, path).proto)
    if (context.halo, context.exact) != (spec.halo, True):
        raise AssertionError(f"an ECBSR of {spec.halo} layers has the context {context}")
    return spec


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().float().cpu().numpy(), dtype=np.float32)
