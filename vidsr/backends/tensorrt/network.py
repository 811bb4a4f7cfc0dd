"""Parsing typed graphs into TensorRT's networks, and reading back what type everything got."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vidsr.errors import EngineBuildError

if TYPE_CHECKING:
    from vidsr.backends.tensorrt.library import Library
    from vidsr.models.half import TypedGraph

__all__ = ["LayerInfo", "Parsed", "TensorInfo", "parse"]

_TYPES = {"UINT8": "uint8", "HALF": "f16", "FLOAT": "f32", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a network."""

    name: str
    type: str
    """uint8, f16, f32, int32, int64 or bool; others as TensorRT calls them."""
    shape: tuple[int, ...]
    """-1 where it is dynamic."""


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer of a network, before TensorRT fuses it with others."""

    name: str
    kind: str
    """As TensorRT calls it, such as CONVOLUTION."""
    inputs: tuple[str, ...]
    """Types of what it takes."""
    outputs: tuple[str, ...]
    """Types of what it makes."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A network that is ready to be built."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[LayerInfo, ...]
    builder: Any = field(repr=False)
    """TensorRT's; the network lives no longer than it."""
    network: Any = field(repr=False)


def parse(library: Library, typed: TypedGraph) -> Parsed:
    """Return the network of a typed graph; TensorRT needs its GPU for this, TensorRT for RTX does not.

    Raises:
        EngineBuildError: TensorRT refuses the graph, or gives a tensor another type than the graph does.
    """
    builder = library.builder()
    network = library.network(builder)
    parser = library.module.OnnxParser(network, library.log)
    if not parser.parse(typed.model_bytes):
        found = parser.get_error(0) if parser.num_errors else None
        place = f", {found.node_operator()} '{found.node_name()}'" if found is not None else ""
        raise library.error(f"refuses the graph{place}")
    inputs = tuple(_tensor(network.get_input(i)) for i in range(network.num_inputs))
    outputs = tuple(_tensor(network.get_output(i)) for i in range(network.num_outputs))
    layers, types = [], {t.name: t.type for t in (*inputs, *outputs)}
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        taken = [layer.get_input(i) for i in range(layer.num_inputs)]
        made = [layer.get_output(i) for i in range(layer.num_outputs)]
        types |= {t.name: _type(t.dtype) for t in made}
        layers.append(
            LayerInfo(
                layer.name,
                str(layer.type).rpartition(".")[2],
                tuple(_type(t.dtype) for t in taken if t is not None),
                tuple(_type(t.dtype) for t in made),
            )
        )
    _compare(library, typed, types)
    return Parsed(inputs, outputs, tuple(layers), builder, network)


def _compare(library: Library, typed: TypedGraph, found: dict[str, str]) -> None:
    """Check that every tensor has the type that the graph gives it, by its name."""
    from vidsr.models.half import tensor_types

    for name, wanted in tensor_types(typed).items():
        if found.get(name, wanted) != wanted:
            raise EngineBuildError(
                f"{library.kind} {library.version} makes '{name}' {found[name]} instead of {wanted}",
                hint="please report it: vidsr's typed graphs are not for this version",
            )


def _tensor(tensor: Any) -> TensorInfo:
    return TensorInfo(tensor.name, _type(tensor.dtype), tuple(tensor.shape))


def _type(dtype: Any) -> str:
    name = str(dtype).rpartition(".")[2]
    return _TYPES.get(name, name.lower())
