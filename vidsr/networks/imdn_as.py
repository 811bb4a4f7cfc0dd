"""IMDN_AS: IMDN for any scale (Hui, Gao, Yang, Wang, ACM MM 2019).

    picture resized to the target -> two 3x3 convolutions of stride 2 -> as IMDN, at a quarter of the size
      -> 3x3 convolution -> pixel shuffle by 4

Output and input have one size, whose sides are multiples of 4. Values are 0..1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.networks.graph import NetworkGraph
from vidsr.networks.imdn import BLOCK_NAMES, IMDB, write_blocks
from vidsr.networks.layers import (
    Rename,
    blocks_in,
    conv,
    fold_range,
    leaky,
    load_strictly,
    renamed,
    scale_of,
    shape_of,
)

__all__ = ["IMDNAS", "write_as"]

_SHRINK = 4


class IMDNAS(nn.Module):
    """[N, channels, H, W] -> [N, channels, H, W], H and W multiples of 4.

    Attributes:
        scale: 1: the picture comes in at the size that it goes out with.
        channels: In and out.
    """

    def __init__(
        self, *, scale: int = 1, channels: int = 3, blocks: int = 6, features: int = 64, reduction: int = 16
    ) -> None:
        """Draw the weights.

        Args:
            scale: Must be 1, see the class.
            channels: 1 for luma, 3 for RGB.
            blocks: IMDBs.
            features: Channels between the layers, a multiple of 4.
            reduction: Of the attention's channels.
        """
        super().__init__()
        if scale != 1:
            raise ValueError(
                f"the scale of IMDN_AS is 1, not {scale}: it takes pictures of the target's size"
            )
        self.scale = scale
        self.channels = channels
        self.sizes = blocks, features
        self.head = nn.ModuleList(
            [conv(channels, features, 3, stride=2), conv(features, features, 3, stride=2)]
        )
        self.blocks = nn.ModuleList(IMDB(features, reduction=reduction) for _ in range(blocks))
        self.fuse = conv(features * blocks, features, 1)
        self.end = conv(features, features, 3)
        self.tail = conv(features, channels * _SHRINK * _SHRINK, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Sharpen x, an enlarged picture."""
        first: Tensor = self.head[1](leaky(self.head[0](x)))
        made, y = [], first
        for block in self.blocks:
            y = block(y)
            made.append(y)
        y = self.end(leaky(self.fuse(torch.cat(made, dim=1)))) + first
        return F.pixel_shuffle(self.tail(y), _SHRINK)

    def fold_range(self, peak: float) -> None:
        """From 0..peak to 0..1, in place and exactly; see `layers.fold_range`."""
        first = self.head[0]
        assert isinstance(first, nn.Conv2d)
        fold_range(first, self.tail, peak)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> IMDNAS:
        """Build the network from a checkpoint, under our names or the authors'.

        Raises:
            WeightsError: The weights are not those of an IMDN_AS.
        """
        named = renamed(state, _PUBLISHED)
        features, channels, *_ = shape_of(named, "head.0.weight")
        squeezed = shape_of(named, "blocks.0.attention.squeeze.weight")[0]
        scale_of(shape_of(named, "tail.weight")[0], channels)
        return load_strictly(
            lambda: cls(
                channels=channels,
                blocks=blocks_in(named),
                features=features,
                reduction=max(1, features // squeezed),
            ),
            named,
        )


def write_as(graph: NetworkGraph, network: IMDNAS) -> str:
    """Write the nodes of an IMDN_AS; return the output's name."""
    first = graph.conv(graph.leaky(graph.conv("input", network.head[0], "head.0")), network.head[1], "head.1")
    made = write_blocks(graph, first, network.blocks)
    y = graph.leaky(graph.conv(graph.concat(made, "joined"), network.fuse, "fuse"))
    y = graph.add(graph.conv(y, network.end, "end"), first, "sum")
    return graph.shuffle(graph.conv(y, network.tail, "tail"), _SHRINK)


_PUBLISHED: tuple[Rename, ...] = (
    (re.compile(r"fea_conv\.0"), lambda _: "head.0"),
    (re.compile(r"fea_conv\.2"), lambda _: "head.1"),
    *BLOCK_NAMES,
)
