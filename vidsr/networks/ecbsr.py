"""ECBSR: a plain stack of 3x3 convolutions once folded (Zhang, Zeng, Zhang, ACM MM 2021).

    x -> ECB(in -> C), PReLU -> M x [ECB(C -> C), PReLU] -> ECB(C -> in * s * s)
      -> + x repeated s * s times (nearest-neighbour upsampling) -> PixelShuffle(s)

Values are 0..1 in and out: code values divided by the largest code, for luma as for RGB. The
published luma networks work on 0..255; as every layer but PReLU is linear and PReLU commutes with a
positive factor, theirs equal ours with all biases divided by 255: `PlainECBSR.fold_range`.

The same topology can be trained with other re-parameterised blocks in ECB's place (`BLOCKS`). All of
them fold to the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from math import isqrt
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.errors import WeightsError
from vidsr.networks.block import Block, Plain
from vidsr.networks.ecb import ECB
from vidsr.networks.graph import NetworkGraph
from vidsr.networks.normalised import ACB, DBB, RepVGG

__all__ = ["BLOCKS", "ECBSR", "PlainECBSR", "write_ecbsr"]

_OTHERS: dict[str, type[Plain | RepVGG | ACB | DBB]] = {
    "plain": Plain,
    "repvgg": RepVGG,
    "acb": ACB,
    "dbb": DBB,
}

BLOCKS: dict[str, type[Block]] = {"ecb": ECB, **_OTHERS}
"""What ECBSR can be trained with, by the name that recipes use."""


class ECBSR(nn.Module):
    """The network as it is trained: [N, channels, H, W] -> [N, channels, H * scale, W * scale]."""

    def __init__(
        self,
        *,
        scale: int = 2,
        channels: int = 1,
        blocks: int = 4,
        features: int = 16,
        depth_multiplier: float = 2.0,
        identity: bool = False,
        block: str = "ecb",
        quiet: bool = False,
    ) -> None:
        """Draw the weights of ECBSR-M<blocks>C<features>.

        Args:
            scale: Magnification, 2 or more.
            channels: 1 for luma, 3 for RGB.
            blocks: Blocks between the first and the last.
            features: Channels between the layers.
            depth_multiplier: See `ECB`; it alone has it.
            identity: Whether the inner blocks add their input; for `ECB` alone.
            block: One of `BLOCKS`.
            quiet: Begin as the upsampled input alone: the last block's output is zero at first. Advised
                for blocks with batch normalisation, whose output, of a spread of 1 or more, would drown a
                picture of 0..1 until training has quietened it. After P. Goyal et al., "Accurate,
                Large Minibatch SGD", 2017, section 5.1.
        """
        super().__init__()
        self.scale = scale
        self.channels = channels
        self.sizes = blocks, features
        ends = [channels, *[features] * (blocks + 1), channels * scale * scale]
        if block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}, not {block!r}")
        if block != "ecb" and (identity or depth_multiplier != 2.0):
            raise ValueError(f"identity and depth_multiplier are options of ecb, not of {block}")
        self.body = nn.ModuleList()
        for inner, out in pairwise(ends):
            if block == "ecb":
                adds = identity and inner == out == features
                self.body.append(ECB(inner, out, depth_multiplier=depth_multiplier, identity=adds))
            else:
                self.body.append(_OTHERS[block](inner, out))
        if quiet:
            self._blocks()[-1].silence()
        self.slopes = nn.ParameterList(nn.Parameter(torch.full((features,), 0.25)) for _ in range(blocks + 1))

    def fold(self) -> PlainECBSR:
        """Return the equal network of plain convolutions, detached from this one's branches."""
        kernels = [block.fold() for block in self._blocks()]
        return PlainECBSR(
            [kernel.detach().clone() for kernel, _ in kernels],
            [bias.detach().clone() for _, bias in kernels],
            [slope.detach().clone() for slope in self.slopes],
            channels=self.channels,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upscale x through the folded kernels, or in training through the branches where it must."""
        return _run(x, self._blocks(), self.slopes, self.scale)

    def forward_branches(self, x: Tensor) -> Tensor:
        """Upscale x through all branches: slower, and equal in eval mode."""
        return _run(x, [block.forward_branches for block in self._blocks()], self.slopes, self.scale)

    def _blocks(self) -> list[Block]:
        return [cast(Block, block) for block in self.body]


class PlainECBSR(nn.Module):
    """The folded network: what is exported, and the form of most published checkpoints."""

    def __init__(
        self, kernels: list[Tensor], biases: list[Tensor], slopes: list[Tensor], *, channels: int
    ) -> None:
        """Take kernels [out, in, 3, 3], biases [out] and slopes [features], first layer first."""
        super().__init__()
        self.channels = channels
        self.sizes = len(kernels) - 2, len(kernels[0])
        self.scale = isqrt(len(kernels[-1]) // channels)
        self.kernels = nn.ParameterList(nn.Parameter(k) for k in kernels)
        self.biases = nn.ParameterList(nn.Parameter(b) for b in biases)
        self.slopes = nn.ParameterList(nn.Parameter(s) for s in slopes)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> PlainECBSR:
        """Build the network from a checkpoint of folded layers, whatever its names.

        Layers are taken in the checkpoint's order: four-dimensional tensors are kernels, the
        one-dimensional tensor named ``...bias`` (or, by us, ``biases.<i>``) that follows is its bias, any
        other one-dimensional tensor its slopes.

        Raises:
            WeightsError: The shapes are not those of an ECBSR.
        """
        kernels = [t for t in state.values() if t.ndim == 4]
        vectors = {name: t for name, t in state.items() if t.ndim == 1}
        is_bias = {name for name in vectors if name.endswith("bias") or name.startswith("biases.")}
        biases = [t for name, t in vectors.items() if name in is_bias]
        slopes = [t for name, t in vectors.items() if name not in is_bias]
        if other := next((name for name, t in state.items() if t.ndim not in (1, 4)), ""):
            raise _not_folded(f"'{other}' has the shape {list(state[other].shape)}")
        _check_shapes(kernels, biases, slopes)
        return cls(kernels, biases, slopes, channels=kernels[0].shape[1])

    def fold_range(self, peak: float) -> None:
        """From 0..peak to 0..1, in place and exactly: all biases are divided by peak.

        PReLU(peak * x) = peak * PReLU(x), so the factor passes through every layer and through the skip.
        """
        with torch.no_grad():
            for bias in self.biases:
                bias.div_(peak)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale x [N, channels, H, W] to [N, channels, H * scale, W * scale]."""
        pairs = zip(self.kernels, self.biases, strict=True)
        layers = [partial(F.conv2d, weight=kernel, bias=bias, padding=1) for kernel, bias in pairs]
        return _run(x, layers, self.slopes, self.scale)


def write_ecbsr(graph: NetworkGraph, network: ECBSR | PlainECBSR) -> str:
    """Write the nodes of an ECBSR, folded; return the output's name.

    PReLU slopes are [C, 1, 1], the shape that ONNX's broadcasting rule asks for; OpenVINO 2026 fuses them
    into the convolutions as it does one-dimensional ones.
    """
    plain = network.fold() if isinstance(network, ECBSR) else network
    x = "input"
    for i, (kernel, bias) in enumerate(zip(plain.kernels, plain.biases, strict=True)):
        inputs = [x, graph.weight(f"kernel{i}", kernel), graph.weight(f"bias{i}", bias)]
        x = graph.node("Conv", inputs, f"conv{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        if i < len(plain.slopes):
            slope = graph.weight(f"slope{i}", plain.slopes[i].reshape(-1, 1, 1))
            x = graph.node("PRelu", [x, slope], f"prelu{i}")
    skip = "input"
    if plain.channels > 1:
        order = np.repeat(np.arange(plain.channels, dtype=np.int64), plain.scale**2)
        skip = graph.node("Gather", ["input", graph.weight("order", order)], "skip", axis=1)
    return graph.shuffle(graph.add(x, skip, "sum"), plain.scale)


def _run(
    x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]], slopes: Iterable[Tensor], scale: int
) -> Tensor:
    y = x
    for layer, slope in zip(layers, slopes, strict=False):
        y = F.prelu(layer(y), slope)
    y = layers[-1](y)
    # Nearest-neighbour skip, added before the shuffle while the channels still lie side by side.
    return F.pixel_shuffle(y + x.repeat_interleave(scale * scale, dim=1), scale)


def _not_folded(why: str) -> WeightsError:
    return WeightsError(
        f"these weights are not a folded ECBSR: {why}",
        hint="give a checkpoint of plain 3x3 convolutions with PReLU",
    )


def _check_shapes(kernels: list[Tensor], biases: list[Tensor], slopes: list[Tensor]) -> None:
    if len(kernels) < 2 or len(biases) != len(kernels) or len(slopes) != len(kernels) - 1:
        raise _not_folded(f"{len(kernels)} kernels, {len(biases)} biases, {len(slopes)} slopes")
    channels = kernels[0].shape[1]
    before = channels
    for kernel, bias in zip(kernels, biases, strict=True):
        if kernel.shape[1:] != (before, 3, 3) or bias.shape != kernel.shape[:1]:
            raise _not_folded(f"a kernel of shape {tuple(kernel.shape)} after {before} channels")
        before = len(kernel)
    for kernel, slope in zip(kernels, slopes, strict=False):
        if slope.shape != kernel.shape[:1]:
            raise _not_folded(f"{len(slope)} slopes after {len(kernel)} channels")
    scale = isqrt(before // channels) if channels in (1, 3) else 0
    if not 2 <= scale <= 16 or scale * scale * channels != before:
        raise _not_folded(f"{before} channels at the end for {channels} at the start")
    if not all(bool(t.isfinite().all()) for t in [*kernels, *biases, *slopes]):
        raise _not_folded("some are not finite numbers")
