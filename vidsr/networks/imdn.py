"""IMDN, the information multi-distillation network, and IMDN_RTC.

    IMDN:     x -> head -> blocks; all their outputs -> 1x1, LeakyReLU -> 3x3; + head's output -> tail
    IMDN_RTC: x -> head -> blocks -> 1x1; + head's output -> tail

The head is one 3x3 convolution, the tail a 3x3 convolution and a pixel shuffle. RTC is the authors' small
network; its blocks have no attention, so that its tiles equal the whole picture. Values are 0..1.

Source: Z. Hui, X. Gao, Y. Yang, X. Wang, "Lightweight Image Super-Resolution with Information
Multi-distillation Network", ACM MM 2019.
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

__all__ = ["BLOCK_NAMES", "IMDB", "IMDN", "IMDNRTC", "Contrast", "write_blocks", "write_imdn", "write_rtc"]

_STEPS = 4
_TINY = 1e-12


class Contrast(nn.Module):
    """Contrast-aware channel attention (CCA): channels weighed by their standard deviation + mean."""

    def __init__(self, features: int, *, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, features // reduction)
        self.squeeze = conv(features, inner, 1)
        self.excite = conv(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x [N, features, H, W]; mean and deviation over H and W, in float32."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
            mean = wide.mean(dim=(2, 3), keepdim=True)
            variance = (wide - mean).square().mean(dim=(2, 3), keepdim=True)
            # The root's slope at 0 is infinite: a constant channel would make every gradient NaN.
            contrast = (variance.clamp_min(_TINY).sqrt() + mean).to(x.dtype)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(contrast))))


class IMDB(nn.Module):
    """Information multi-distillation block: of four convolutions each keeps a quarter, the rest goes on."""

    def __init__(self, features: int, *, reduction: int = 16) -> None:
        """Draw the weights.

        Args:
            features: Channels, a multiple of 4.
            reduction: Of the attention's channels; 0: no attention.
        """
        super().__init__()
        if features < _STEPS or features % _STEPS:
            raise ValueError(f"features must be a multiple of {_STEPS}, not {features}")
        self.kept = features // _STEPS
        passed = features - self.kept
        ends = [(features, features), (passed, features), (passed, features), (passed, self.kept)]
        self.convs = nn.ModuleList(conv(inner, out, 3) for inner, out in ends)
        self.attention = Contrast(features, reduction=reduction) if reduction else None
        self.fuse = conv(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the refined features, of x's shape."""
        parts, rest = [], x
        for step in self.convs[:-1]:
            y = leaky(step(rest))
            parts.append(y[:, : self.kept])
            rest = y[:, self.kept :]
        parts.append(self.convs[-1](rest))
        y = torch.cat(parts, dim=1)
        fused: Tensor = self.fuse(y if self.attention is None else self.attention(y))
        return fused + x


class IMDN(nn.Module):
    """[N, channels, H, W] -> [N, channels, H * scale, W * scale]."""

    def __init__(
        self, *, scale: int = 2, channels: int = 3, blocks: int = 6, features: int = 64, reduction: int = 16
    ) -> None:
        """Draw the weights.

        Args:
            scale: Magnification.
            channels: 1 for luma, 3 for RGB.
            blocks: IMDBs.
            features: Channels between the layers, a multiple of 4.
            reduction: Of the attention's channels.
        """
        super().__init__()
        self.scale = scale
        self.channels = channels
        self.sizes = blocks, features
        self.head = conv(channels, features, 3)
        self.blocks = nn.ModuleList(IMDB(features, reduction=reduction) for _ in range(blocks))
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
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> IMDN:
        """Build the network from a checkpoint, under our names or the authors'.

        Raises:
            WeightsError: The weights are not those of an IMDN.
        """
        named = renamed(state, _PUBLISHED)
        features, channels, *_ = shape_of(named, "head.weight")
        squeezed = shape_of(named, "blocks.0.attention.squeeze.weight")[0]
        scale = scale_of(shape_of(named, "tail.weight")[0], channels)
        return load_strictly(
            lambda: cls(
                scale=scale,
                channels=channels,
                blocks=blocks_in(named),
                features=features,
                reduction=max(1, features // squeezed),
            ),
            named,
        )


class IMDNRTC(nn.Module):
    """[N, channels, H, W] -> [N, channels, H * scale, W * scale], by a short stack without attention."""

    def __init__(self, *, scale: int = 2, channels: int = 3, blocks: int = 5, features: int = 12) -> None:
        """Draw the weights; see `IMDN`."""
        super().__init__()
        self.scale = scale
        self.channels = channels
        self.sizes = blocks, features
        self.head = conv(channels, features, 3)
        self.blocks = nn.ModuleList(IMDB(features, reduction=0) for _ in range(blocks))
        self.fuse = conv(features, features, 1)
        self.tail = conv(features, channels * scale * scale, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale x."""
        first: Tensor = self.head(x)
        y = first
        for block in self.blocks:
            y = block(y)
        return F.pixel_shuffle(self.tail(self.fuse(y) + first), self.scale)

    def fold_range(self, peak: float) -> None:
        """From 0..peak to 0..1, in place and exactly; see `layers.fold_range`."""
        fold_range(self.head, self.tail, peak)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> IMDNRTC:
        """Build the network from a checkpoint, under our names or the authors'.

        Raises:
            WeightsError: The weights are not those of an IMDN_RTC.
        """
        named = renamed(state, _PUBLISHED_RTC)
        features, channels, *_ = shape_of(named, "head.weight")
        scale = scale_of(shape_of(named, "tail.weight")[0], channels)
        return load_strictly(
            lambda: cls(scale=scale, channels=channels, blocks=blocks_in(named), features=features), named
        )


def write_imdn(graph: NetworkGraph, network: IMDN) -> str:
    """Write the nodes of an IMDN; return the output's name."""
    first = graph.conv("input", network.head, "head")
    made = write_blocks(graph, first, network.blocks)
    y = graph.leaky(graph.conv(graph.concat(made, "joined"), network.fuse, "fuse"))
    y = graph.add(graph.conv(y, network.end, "end"), first, "sum")
    return graph.shuffle(graph.conv(y, network.tail, "tail"), network.scale)


def write_rtc(graph: NetworkGraph, network: IMDNRTC) -> str:
    """Write the nodes of an IMDN_RTC; return the output's name."""
    first = graph.conv("input", network.head, "head")
    last = write_blocks(graph, first, network.blocks)[-1] if len(network.blocks) else first
    y = graph.add(graph.conv(last, network.fuse, "fuse"), first, "sum")
    return graph.shuffle(graph.conv(y, network.tail, "tail"), network.scale)


def write_blocks(graph: NetworkGraph, x: str, blocks: nn.ModuleList) -> list[str]:
    """Write a chain of IMDBs that begins at x; return each one's output."""
    made = []
    for i, block in enumerate(blocks):
        assert isinstance(block, IMDB)
        x = _write_block(graph, x, block, f"blocks.{i}")
        made.append(x)
    return made


def _write_block(graph: NetworkGraph, x: str, block: IMDB, name: str) -> str:
    parts, rest = [], x
    for i, step in enumerate(block.convs[:-1]):
        y = graph.leaky(graph.conv(rest, step, f"{name}.convs.{i}"))
        kept, rest = graph.split(y, [block.kept, block.fuse.in_channels - block.kept])
        parts.append(kept)
    parts.append(graph.conv(rest, block.convs[-1], f"{name}.convs.{len(block.convs) - 1}"))
    y = graph.concat(parts, f"{name}.joined")
    if block.attention is not None:
        y = _write_contrast(graph, y, block.attention, f"{name}.attention")
    return graph.add(graph.conv(y, block.fuse, f"{name}.fuse"), x, f"{name}.sum")


def _write_contrast(graph: NetworkGraph, x: str, attention: Contrast, name: str) -> str:
    mean = graph.node("GlobalAveragePool", [x], f"{name}.mean")
    away = graph.node("Sub", [x, mean], f"{name}.away")
    square = graph.node("Mul", [away, away], f"{name}.square")
    variance = graph.node("GlobalAveragePool", [square], f"{name}.variance")
    contrast = graph.add(graph.node("Sqrt", [variance], f"{name}.deviation"), mean, f"{name}.contrast")
    y = graph.node("Relu", [graph.conv(contrast, attention.squeeze, f"{name}.squeeze")], f"{name}.relu")
    weight = graph.node("Sigmoid", [graph.conv(y, attention.excite, f"{name}.excite")], f"{name}.weight")
    return graph.node("Mul", [x, weight], f"{name}.weighed")


BLOCK_NAMES: tuple[Rename, ...] = (
    (re.compile(r"IMDB(\d+)\.c([1-4])"), lambda m: f"blocks.{int(m[1]) - 1}.convs.{int(m[2]) - 1}"),
    (re.compile(r"IMDB(\d+)\.c5"), lambda m: f"blocks.{int(m[1]) - 1}.fuse"),
    (re.compile(r"IMDB(\d+)\.cca\.conv_du\.0"), lambda m: f"blocks.{int(m[1]) - 1}.attention.squeeze"),
    (re.compile(r"IMDB(\d+)\.cca\.conv_du\.2"), lambda m: f"blocks.{int(m[1]) - 1}.attention.excite"),
    (re.compile(r"c\.0"), lambda _: "fuse"),
    (re.compile(r"LR_conv"), lambda _: "end"),
    (re.compile(r"upsampler\.0"), lambda _: "tail"),
)
"""The authors' names of what IMDN and IMDN_AS have in common."""

_PUBLISHED: tuple[Rename, ...] = ((re.compile(r"fea_conv"), lambda _: "head"), *BLOCK_NAMES)

_PUBLISHED_RTC: tuple[Rename, ...] = (
    (re.compile(r"model\.0"), lambda _: "head"),
    (re.compile(r"model\.1\.sub\.(\d+)\.c([1-4])"), lambda m: f"blocks.{m[1]}.convs.{int(m[2]) - 1}"),
    (re.compile(r"model\.1\.sub\.(\d+)\.c5"), lambda m: f"blocks.{m[1]}.fuse"),
    (re.compile(r"model\.1\.sub\.\d+"), lambda _: "fuse"),
    (re.compile(r"model\.2"), lambda _: "tail"),
)
