"""Export to interchange files: ONNX written from the weights, node by node, without a tracer."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import nn

from vidsr.models.card import ModelFile, ModelSpec, Training
from vidsr.models.halo import context_of
from vidsr.models.lookup import Model
from vidsr.networks.graph import NetworkGraph
from vidsr.networks.registry import architecture_of

__all__ = ["export_network", "model_id", "network_card"]


def export_network(network: nn.Module, path: Path) -> Path:
    """Write a network as an interchange file: [N, C, H, W] to [N, C, H * scale, W * scale], fp32, 0..1.

    Equal weights give equal bytes.

    Args:
        network: Any of `vidsr.networks.registry.ARCHITECTURES`; an ECBSR in training is folded first.
        path: The file.

    Returns:
        `path`, with everything in it.
    """
    graph = NetworkGraph(architecture_of(network).title.lower())
    architecture_of(network).write(graph, network)
    return graph.save(path, int(network.channels))  # type: ignore[arg-type]


def model_id(network: nn.Module, variant: str = "") -> str:
    """Return a model's name, such as ``2x-ecbsr-m4c16``; an empty variant stands for the sizes."""
    architecture = architecture_of(network)
    suffix = variant or architecture.variant(network)
    return f"{network.scale}x-{architecture.family}-{suffix}"


def network_card(
    network: nn.Module,
    path: Path,
    *,
    variant: str = "",
    default: bool = False,
    kind: Literal["clean", "video"] = "clean",
    description: str = "",
    license: str = "",
    training: Training | None = None,
    quality: dict[str, dict[str, float]] | None = None,
) -> ModelSpec:
    """Return the card of a file that `export_network` wrote, with the file checked and its context read.

    Args:
        network: What was exported.
        path: The file.
        variant: What follows the network's name in the id; empty: its sizes, such as m4c16.
        default: Whether the network's name at this scale means this model.
        kind: What it was trained for.
        description: One sentence for lists.
        license: SPDX expression.
        training: Where the weights come from.
        quality: Measured: data set -> metric -> value.

    Raises:
        ModelError: The file is not one that vidsr runs.
    """
    architecture = architecture_of(network)
    draft = ModelSpec(
        id=model_id(network, variant),
        network=architecture.family,
        scale=int(network.scale),  # type: ignore[arg-type]
        channels=int(network.channels),  # type: ignore[arg-type]
        halo=0,
        files={"f32": ModelFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())},
    )
    context = context_of(Model(draft, path).proto)
    return replace(
        draft,
        halo=context.halo,
        tiling="exact" if context.exact else "approximate",
        multiple=context.multiple,
        min_size=architecture.min_size,
        input=architecture.input,
        default=default,
        kind=kind,
        description=description,
        license=license,
        training=training or Training(),
        quality=quality or {},
    )
