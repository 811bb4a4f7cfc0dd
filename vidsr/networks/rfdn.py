"""RFDN, the residual feature distillation network.

    x -> head -> blocks; all their outputs -> 1x1, LeakyReLU -> 3x3; + head's output -> tail

The head is one 3x3 convolution, the tail a 3x3 convolution and a pixel shuffle. Values are 0..1; the
checkpoint that the authors published works on 0..255, see `RFDN.fold_range`.

Source: J. Liu, J. Tang, G. Wu, "Residual Feature Distillation Network for Lightweight Image
Super-Resolution", ECCV workshops 2020.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.networks.graph import NetworkGraph
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

__all__ = ["ESA", "RFDB", "RFDN", "write_rfdn"]

_STEPS = 3


class ESA(nn.Module):
    """Enhanced spatial attention: a mask from features at about a sixth of the size.

    The strided convolution has no padding and the pooling none either, so sides below 15 have no mask.
    """

    def __init__(self, features: int, inner: int) -> None:
        """Draw the weights for masks of `features` channels, made in `inner` channels."""
        super().__init__()
        self.reduce = conv(features, inner, 1)
        self.skip = conv(inner, inner, 1)
        self.shrink = nn.Conv2d(inner, inner, 3, stride=2)
        self.convs = nn.ModuleList(conv(inner, inner, 3) for _ in range(3))
        self.expand = conv(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x [N, features, H, W], H and W from 15 on."""
        small = self.reduce(x)
        y = F.max_pool2d(self.shrink(small), kernel_size=7, stride=3)
        y = F.relu(self.convs[0](y))
        y = self.convs[2](F.relu(self.convs[1](y)))
        y = F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(y + self.skip(small)))


class RFDB(nn.Module):
    """Residual feature distillation block: three steps of [1x1 distils | 3x3 + input refines], a last 3x3."""

    def __init__(self, features: int, attention: int) -> None:
        """Draw the weights for `features` channels, an even number, and `attention` channels in ESA."""
        super().__init__()
        if features < 4 or features % 2:
            raise ValueError(f"features must be an even number from 4 on, not {features}")
        half = features // 2
        self.distil = nn.ModuleList(conv(features, half, 1) for _ in range(_STEPS))
        self.refine = nn.ModuleList(conv(features, features, 3) for _ in range(_STEPS))
        self.last = conv(features, half, 3)
        self.fuse = conv(half * (_STEPS + 1), features, 1)
        self.esa = ESA(features, attention)

    def forward(self, x: Tensor) -> Tensor:
        """Return the refined features, of x's shape."""
        parts = []
        for distil, refine in zip(self.distil, self.refine, strict=True):
            parts.append(leaky(distil(x)))
            x = leaky(refine(x) + x)
        parts.append(leaky(self.last(x)))
        made: Tensor = self.esa(self.fuse(torch.cat(parts, dim=1)))
        return made


class RFDN(nn.Module):
    """[N, channels, H, W] -> [N, channels, H * scale, W * scale], H and W from 15 on."""

    def __init__(
        self,
        *,
        scale: int = 2,
        channels: int = 3,
        blocks: int = 6,
        features: int = 48,
        attention: int | None = None,
    ) -> None:
        """Draw the weights.

        Args:
            scale: Magnification.
            channels: 1 for luma, 3 for RGB.
            blocks: RFDBs: 6 in the paper, 4 in the authors' entry to the AIM 2020 challenge.
            features: Channels between the layers, an even number: 48 in RFDN, 52 in RFDN-L, 50 in the entry.
            attention: Channels in the attention; None: a quarter of the features.
        """
        super().__init__()
        self.scale = scale
        self.channels = channels
        self.sizes = blocks, features
        attention = features // 4 if attention is None else attention
        self.head = conv(channels, features, 3)
        self.blocks = nn.ModuleList(RFDB(features, attention) for _ in range(blocks))
        self.fuse = conv(features * blocks, features, 1)
        self.end = conv(features, features, 3)
        self.tail = conv(features, channels * scale * scale, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale x."""
        first: Tensor = self.head(x)
        made, y = [], first
        for block in self.blocks:
            y = block(y)
            made.append(y)
        y = self.end(leaky(self.fuse(torch.cat(made, dim=1)))) + first
        return F.pixel_shuffle(self.tail(y), self.scale)

    def fold_range(self, peak: float) -> None:
        """From 0..peak to 0..1, in place and exactly; see `layers.fold_range`."""
        fold_range(self.head, self.tail, peak)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> RFDN:
        """Build the network from a checkpoint, under our names or the authors'.

        Raises:
            WeightsError: The weights are not those of an RFDN.
        """
        named = renamed(state, _PUBLISHED)
        features, channels, *_ = shape_of(named, "head.weight")
        attention = shape_of(named, "blocks.0.esa.reduce.weight")[0]
        scale = scale_of(shape_of(named, "tail.weight")[0], channels)
        return load_strictly(
            lambda: cls(
                scale=scale,
                channels=channels,
                blocks=blocks_in(named),
                features=features,
                attention=attention,
            ),
            named,
        )


def write_rfdn(graph: NetworkGraph, network: RFDN) -> str:
    """Write the nodes of an RFDN; return the output's name."""
    first = graph.conv("input", network.head, "head")
    made, y = [], first
    for i, block in enumerate(network.blocks):
        assert isinstance(block, RFDB)
        y = _write_block(graph, y, block, f"blocks.{i}")
        made.append(y)
    y = graph.leaky(graph.conv(graph.concat(made, "joined"), network.fuse, "fuse"))
    y = graph.add(graph.conv(y, network.end, "end"), first, "sum")
    return graph.shuffle(graph.conv(y, network.tail, "tail"), network.scale)


def _write_block(graph: NetworkGraph, x: str, block: RFDB, name: str) -> str:
    parts = []
    for i, (distil, refine) in enumerate(zip(block.distil, block.refine, strict=True)):
        parts.append(graph.leaky(graph.conv(x, distil, f"{name}.distil.{i}")))
        y = graph.conv(x, refine, f"{name}.refine.{i}")
        x = graph.leaky(graph.add(y, x, f"{name}.sum.{i}"))
    parts.append(graph.leaky(graph.conv(x, block.last, f"{name}.last")))
    fused = graph.conv(graph.concat(parts, f"{name}.joined"), block.fuse, f"{name}.fuse")
    return _write_attention(graph, fused, block.esa, f"{name}.esa")


def _write_attention(graph: NetworkGraph, x: str, esa: ESA, name: str) -> str:
    small = graph.conv(x, esa.reduce, f"{name}.reduce")
    y = graph.conv(small, esa.shrink, f"{name}.shrink")
    y = graph.node("MaxPool", [y], f"{name}.pool", kernel_shape=[7, 7], strides=[3, 3])
    for i in range(2):
        y = graph.node("Relu", [graph.conv(y, esa.convs[i], f"{name}.convs.{i}")], f"{name}.relu.{i}")
    y = graph.conv(y, esa.convs[2], f"{name}.convs.2")
    # `y` and `small` have the same channels, so the one's shape is what the other is resized to.
    size = graph.node("Shape", [small], f"{name}.size")
    y = graph.node(
        "Resize",
        [y, "", "", size],
        f"{name}.resized",
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    y = graph.add(y, graph.conv(small, esa.skip, f"{name}.skip"), f"{name}.sum")
    mask = graph.node("Sigmoid", [graph.conv(y, esa.expand, f"{name}.expand")], f"{name}.mask")
    return graph.node("Mul", [x, mask], f"{name}.weighed")


_PUBLISHED: tuple[Rename, ...] = (
    (re.compile(r"fea_conv"), lambda _: "head"),
    (re.compile(r"B(\d+)\.c([1-3])_d"), lambda m: f"blocks.{int(m[1]) - 1}.distil.{int(m[2]) - 1}"),
    (re.compile(r"B(\d+)\.c([1-3])_r"), lambda m: f"blocks.{int(m[1]) - 1}.refine.{int(m[2]) - 1}"),
    (re.compile(r"B(\d+)\.c4"), lambda m: f"blocks.{int(m[1]) - 1}.last"),
    (re.compile(r"B(\d+)\.c5"), lambda m: f"blocks.{int(m[1]) - 1}.fuse"),
    (re.compile(r"B(\d+)\.esa\.conv1"), lambda m: f"blocks.{int(m[1]) - 1}.esa.reduce"),
    (re.compile(r"B(\d+)\.esa\.conv_f"), lambda m: f"blocks.{int(m[1]) - 1}.esa.skip"),
    (re.compile(r"B(\d+)\.esa\.conv2"), lambda m: f"blocks.{int(m[1]) - 1}.esa.shrink"),
    (re.compile(r"B(\d+)\.esa\.conv_max"), lambda m: f"blocks.{int(m[1]) - 1}.esa.convs.0"),
    (re.compile(r"B(\d+)\.esa\.conv3"), lambda m: f"blocks.{int(m[1]) - 1}.esa.convs.1"),
    (re.compile(r"B(\d+)\.esa\.conv3_"), lambda m: f"blocks.{int(m[1]) - 1}.esa.convs.2"),
    (re.compile(r"B(\d+)\.esa\.conv4"), lambda m: f"blocks.{int(m[1]) - 1}.esa.expand"),
    (re.compile(r"c\.0"), lambda _: "fuse"),
    (re.compile(r"LR_conv"), lambda _: "end"),
    (re.compile(r"upsampler\.0"), lambda _: "tail"),
)
"""The authors' names, as in the published checkpoint."""
