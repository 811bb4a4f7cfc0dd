"""Networks that work at the target's size, ``input = "target"``, such as IMDN_AS: resize, crop, run, join."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidsr.models.graph import GraphWriter, Picture
from vidsr.models.network import run_network
from vidsr.models.resize import KEYS, Axis, resize_plane
from vidsr.tiling import Rect, plan_corners

if TYPE_CHECKING:
    from vidsr.models.lookup import Model

__all__ = ["run_at_target"]


def run_at_target(
    writer: GraphWriter, model: Model, channels: Sequence[Picture], target: tuple[int, int], *, corners: bool
) -> list[Picture]:
    """Add the network and return its output channels at `target` (rows, columns).

    The channels are brought there by bicubic interpolation; what the network makes has the same size.

    Args:
        writer: The graph.
        model: The network.
        channels: Its input, f32 0..1, one picture a channel, at the source's size.
        target: Rows and columns of the result.
        corners: Whether the network gets the four patches of `plan_corners`, one after the other: no
            padding, and a quarter of the memory. Otherwise the whole, padded to what it takes.
    """
    ready = []
    for channel in channels:
        down = Axis.across(channel.height, target[0], KEYS)
        across = Axis.across(channel.width, target[1], KEYS)
        ready.append(resize_plane(writer, channel, down, across))
    if not corners:
        return run_network(writer, model, ready)
    plan = plan_corners(target[1], target[0], model.spec.multiple, least=model.spec.min_size)
    weights: dict[str, str] = {}
    rows: dict[int, list[list[Picture]]] = {}
    for tile in plan.tiles:
        made = run_network(writer, model, [_cut(writer, c, tile.source) for c in ready], weights=weights)
        kept = tile.kept
        inside = Rect(kept.x - tile.source.x, kept.y - tile.source.y, kept.width, kept.height)
        rows.setdefault(kept.y, []).append([_cut(writer, c, inside) for c in made])
    # rows -> patches of a row -> channels
    bands = [[writer.join(parts, 3) for parts in zip(*row, strict=True)] for row in rows.values()]
    return [writer.join(parts, 2) for parts in zip(*bands, strict=True)]


def _cut(writer: GraphWriter, picture: Picture, rect: Rect) -> Picture:
    rows = writer.window(picture, 2, rect.y, rect.height)
    return writer.window(rows, 3, rect.x, rect.width)
