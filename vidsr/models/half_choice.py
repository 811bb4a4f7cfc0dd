"""Which nodes of a deployed graph compute in FP16: the network between its first convolution and its last.

What only moves samples beside it follows it, so that half the bytes are moved. All else stays in FP32: codes
above 8 bits are normalised there, and the skip connection, filters, matrices and rounding lie behind the last
convolution or beside it. Operators that sum over pictures, or whose results leave FP16's range or
precision for common values, never become FP16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log2
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["FLOAT", "Choice", "choose"]

FLOAT = 1
"""ONNX's number of float32."""

_CONVS = frozenset(("Conv", "ConvTranspose"))
_MOVING = frozenset(
    "Concat DepthToSpace Expand Gather Identity Pad Reshape Slice SpaceToDepth Split Squeeze Tile Transpose "
    "Unsqueeze".split()
)
_ALWAYS_F32 = frozenset("Cast GlobalAveragePool Pow ReduceMean ReduceSum Sqrt".split())
_SMALL = 2.0**-5
"""First layers whose largest weight is below are scaled: FP16 holds only 2**-24 steps below 2**-14."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What each node computes in; nodes are told apart by their first output."""

    half: frozenset[str]
    """Those in FP16."""
    factors: Mapping[str, float]
    """Powers of 2 by which what goes into the network is multiplied, and its first weights are divided: by
    the first output of the convolution, and of what moves samples for it."""
    kept: tuple[str, ...]
    """Names of the network's nodes that stay in FP32."""


def choose(
    graph: onnx.GraphProto,
    kinds: Mapping[str, int],
    constants: Mapping[str, NDArray[Any]],
    keep: frozenset[str],
) -> Choice:
    """Return what of a deployed graph is to be FP16.

    Args:
        graph: Its nodes, in order.
        kinds: Element types by tensor.
        constants: What the graph holds.
        keep: Names of nodes that stay in FP32.
    """
    nodes = [n for n in graph.node if n.op_type != "Constant"]
    network = _network(nodes)
    floats = {n.output[0] for n in nodes if all(kinds.get(o, FLOAT) == FLOAT for o in n.output)}
    half = {
        n.output[0]
        for n in nodes
        if n.output[0] in network & floats and n.op_type not in _ALWAYS_F32 and n.name not in keep
    }
    kept = tuple(n.name for n in nodes if n.output[0] in (network & floats) - half)
    movers = [
        n for n in nodes if n.op_type in _MOVING and n.output[0] in floats - network and n.name not in keep
    ]
    makers = {o: n.output[0] for n in nodes for o in n.output}
    users = _users(nodes)
    for node in movers:
        if all(makers.get(name) in half for name in _samples(node)):
            half.add(node.output[0])
    ends = {o.name for o in graph.output}
    before: set[str] = set()
    for node in reversed(movers):
        found = [u for name in node.output for u in users.get(name, ())]
        if found and not ends.intersection(node.output) and all(u in half for u in found):
            before.add(node.output[0])
            half.add(node.output[0])
    return Choice(frozenset(half), _factors(nodes, half, before, constants), kept)


def _users(nodes: Sequence[onnx.NodeProto]) -> dict[str, list[str]]:
    """Return the first output of each node that takes a tensor."""
    users: dict[str, list[str]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node.output[0])
    return users


def _samples(node: onnx.NodeProto) -> Sequence[str]:
    """Return the inputs of what moves samples that are samples, not places."""
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])


def _network(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Return the nodes between a convolution and a convolution, both included."""
    after: set[str] = set()
    for node in nodes:
        if node.op_type in _CONVS or after.intersection(node.input):
            after.update(node.output)
    network: set[str] = set()
    needed: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in _CONVS or needed.intersection(node.output):
            needed.update(node.input)
            if after.intersection(node.output):
                network.add(node.output[0])
    return network


def _factors(
    nodes: Sequence[onnx.NodeProto], half: set[str], before: set[str], constants: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Return the factors of first layers, and of what moves samples for nothing but one of them.

    First layers take codes, and their weights are divided by the largest: of 16 bits FP16 would hold
    nothing of them.
    """
    makers = {o: n for n in nodes for o in n.output}
    users = _users(nodes)
    factors: dict[str, float] = {}
    for node in nodes:
        if node.op_type not in _CONVS or node.output[0] not in half:
            continue
        weights = constants.get(node.input[1])
        way, name = [], node.input[0]
        while (maker := makers.get(name)) is not None and maker.output[0] in before:
            way.append(maker)
            name = maker.input[0]
        if weights is None or (maker is not None and maker.output[0] in half):
            continue
        most = float(np.abs(weights).max(initial=0.0))
        if not 0 < most < _SMALL:
            continue
        if any(len(users[n.output[0]]) != 1 for n in way):
            continue
        factor = 2.0 ** (floor(log2(most)) + 1)
        factors |= dict.fromkeys((n.output[0] for n in [node, *way]), factor)
    return factors
