"""ECBSR: a plain stack of 3x3 convolutions once folded (Zhang, Zeng, Zhang, ACM MM 2021).

    x -> ECB(in -> C), PReLU -> M x [ECB(C -> C), PReLU] -> ECB(C -> in * s * s)
      -> + x repeated s * s times (nearest-neighbour upsampling) -> PixelShuffle(s)

Values are 0..1 in and out: code values divided by the largest code, for luma as for RGB. The
published luma networks work on 0..255; as every layer but PReLU is linear and PReLU commutes with a
positive factor, theirs equal ours with all biases divided by 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.errors import WeightsError
from vidsr.networks.ecb import ECB

__all__ = ["ECBSR", "PlainECBSR"]


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
    ) -> None:
        """Draw the weights of ECBSR-M<blocks>C<features>.

        Args:
            scale: Magnification, 2 or more.
            channels: 1 for luma, 3 for RGB.
            blocks: ECBs between the first and the last.
            features: Channels between the layers.
            depth_multiplier: See `ECB`.
            identity: Whether the inner blocks add their input.
        """
        super().__init__()
        self.scale = scale
        self.channels = channels
        ends = [channels, *[features] * (blocks + 1), channels * scale * scale]
        self.body = nn.ModuleList(
            ECB(
                inner,
                out,
                depth_multiplier=depth_multiplier,
                identity=identity and inner == out == features,
            )
            for inner, out in pairwise(ends)
        )
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
        """Upscale x through the folded kernels; this is what training runs."""
        folded = [block.fold() for block in self._blocks()]
        return _run(x, folded, list(self.slopes), self.scale)

    def forward_branches(self, x: Tensor) -> Tensor:
        """Upscale x through all branches: slower, and equal."""
        y = x
        for block, slope in zip(self._blocks(), self.slopes, strict=False):
            y = F.prelu(block.forward_branches(y), slope)
        y = self._blocks()[-1].forward_branches(y)
        return F.pixel_shuffle(y + x.repeat_interleave(self.scale**2, dim=1), self.scale)

    def _blocks(self) -> list[ECB]:
        return [block for block in self.body if isinstance(block, ECB)]


class PlainECBSR(nn.Module):
    """The folded network: what is exported, and the form of most published checkpoints."""

    def __init__(
        self, kernels: list[Tensor], biases: list[Tensor], slopes: list[Tensor], *, channels: int
    ) -> None:
        """Take kernels [out, in, 3, 3], biases [out] and slopes [features], first layer first."""
        super().__init__()
        self.channels = channels
        self.scale = isqrt(len(kernels[-1]) // channels)
        self.kernels = nn.ParameterList(nn.Parameter(k) for k in kernels)
        self.biases = nn.ParameterList(nn.Parameter(b) for b in biases)
        self.slopes = nn.ParameterList(nn.Parameter(s) for s in slopes)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> PlainECBSR:
        """Build the network from a checkpoint of folded layers, whatever its names.

        Layers are taken in the checkpoint's order: four-dimensional tensors are kernels, the
        one-dimensional tensor named ``...bias`` that follows is its bias, any other
        one-dimensional tensor its slopes.

        Raises:
            WeightsError: The shapes are not those of an ECBSR.
        """
        kernels = [t for t in state.values() if t.ndim == 4]
        biases = [t for name, t in state.items() if t.ndim == 1 and name.endswith("bias")]
        slopes = [t for name, t in state.items() if t.ndim == 1 and not name.endswith("bias")]
        _check_shapes(kernels, biases, slopes)
        return cls(kernels, biases, slopes, channels=kernels[0].shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """Upscale x [N, channels, H, W] to [N, channels, H * scale, W * scale]."""
        layers = list(zip(self.kernels, self.biases, strict=True))
        return _run(x, layers, list(self.slopes), self.scale)


def _run(x: Tensor, layers: list[tuple[Tensor, Tensor]], slopes: list[Tensor], scale: int) -> Tensor:
    y = x
    for (kernel, bias), slope in zip(layers, slopes, strict=False):
        y = F.prelu(F.conv2d(y, kernel, bias, padding=1), slope)
    y = F.conv2d(y, *layers[-1], padding=1)
    # Nearest-neighbour skip, added before the shuffle while the channels still lie side by side.
    return F.pixel_shuffle(y + x.repeat_interleave(scale * scale, dim=1), scale)


def _check_shapes(kernels: list[Tensor], biases: list[Tensor], slopes: list[Tensor]) -> None:
    def refuse(why: str) -> WeightsError:
        return WeightsError(
            f"these weights are not a folded ECBSR: {why}",
            hint="give a checkpoint of plain 3x3 convolutions with PReLU",
        )

    if len(kernels) < 2 or len(biases) != len(kernels) or len(slopes) != len(kernels) - 1:
        raise refuse(f"{len(kernels)} kernels, {len(biases)} biases, {len(slopes)} slopes")
    channels = kernels[0].shape[1]
    before = channels
    for kernel, bias in zip(kernels, biases, strict=True):
        if kernel.shape[1:] != (before, 3, 3) or bias.shape != kernel.shape[:1]:
            raise refuse(f"a kernel of shape {tuple(kernel.shape)} after {before} channels")
        before = len(kernel)
    for kernel, slope in zip(kernels, slopes, strict=False):
        if slope.shape != kernel.shape[:1]:
            raise refuse(f"{len(slope)} slopes after {len(kernel)} channels")
    scale = isqrt(before // channels) if channels in (1, 3) else 0
    if scale < 2 or scale * scale * channels != before:
        raise refuse(f"{before} channels at the end for {channels} at the start")
    if not all(bool(t.isfinite().all()) for t in [*kernels, *biases, *slopes]):
        raise refuse("some are not finite numbers")
