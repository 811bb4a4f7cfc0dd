"""Re-parameterised blocks with batch normalisation: RepVGG, asymmetric convolutions, diverse branches.

In eval mode batch normalisation is ``y = (x - mean) * t + beta`` with ``t = gamma / sqrt(variance + eps)``
and running statistics: a factor and an offset a channel, which fold into the convolution before it.

Batch normalisation is known to cost super-resolution quality (Lim et al., "Enhanced Deep Residual
Networks for Single Image Super-Resolution", CVPR-W 2017), as the batch's statistics and the running
ones differ. These blocks are here to be compared with ECB.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.networks.block import Block

__all__ = ["ACB", "DBB", "Normalised", "RepVGG"]


class Normalised(Block):
    """Common to the blocks whose branches all end in batch normalisation; training runs the branches."""

    uses_batch_statistics = True

    @torch.no_grad()
    def silence(self) -> None:
        """Make the output zero by the factors of each branch's last normalisation."""
        for norm in self._last_norms():
            norm.weight.zero_()
            norm.bias.zero_()

    @abstractmethod
    def _last_norms(self) -> list[nn.BatchNorm2d]:
        """Return the normalisations that the branches end in."""


class RepVGG(Normalised):
    """3x3 | 1x1 | identity where as many channels come as go, each with batch normalisation.

    X. Ding, X. Zhang, N. Ma, J. Han, G. Ding, J. Sun, "RepVGG: Making VGG-style ConvNets Great Again",
    CVPR 2021.
    """

    def __init__(self, inner: int, out: int) -> None:
        """Draw the weights from `inner` to `out` channels."""
        super().__init__()
        self.conv3, self.norm3 = _conv(inner, out, 3, 3), nn.BatchNorm2d(out)
        self.conv1, self.norm1 = _conv(inner, out, 1, 1), nn.BatchNorm2d(out)
        self.norm_identity = nn.BatchNorm2d(out) if inner == out else None

    def forward_branches(self, x: Tensor) -> Tensor:
        """Run every branch and sum."""
        parts = [self.norm3(self.conv3(x)), self.norm1(self.conv1(x))]
        if self.norm_identity is not None:
            parts.append(self.norm_identity(x))
        return _total(parts)

    def _last_norms(self) -> list[nn.BatchNorm2d]:
        always = [self.norm3, self.norm1]
        return always if self.norm_identity is None else [*always, self.norm_identity]

    def _fold(self) -> tuple[Tensor, Tensor]:
        parts = [
            _through(self.norm3, self.conv3.weight),
            _through(self.norm1, _to_3x3(self.conv1.weight)),
        ]
        if self.norm_identity is not None:
            unit = nn.init.dirac_(torch.empty_like(self.conv3.weight))
            parts.append(_through(self.norm_identity, unit))
        return _total([kernel for kernel, _ in parts]), _total([bias for _, bias in parts])


class ACB(Normalised):
    """3x3 | 1x3 | 3x1, each with batch normalisation.

    X. Ding, Y. Guo, G. Ding, J. Han, "ACNet: Strengthening the Kernel Skeletons for Powerful CNN via
    Asymmetric Convolution Blocks", ICCV 2019.
    """

    def __init__(self, inner: int, out: int) -> None:
        """Draw the weights from `inner` to `out` channels."""
        super().__init__()
        self.square, self.square_norm = _conv(inner, out, 3, 3), nn.BatchNorm2d(out)
        self.wide, self.wide_norm = _conv(inner, out, 1, 3), nn.BatchNorm2d(out)
        self.tall, self.tall_norm = _conv(inner, out, 3, 1), nn.BatchNorm2d(out)

    def forward_branches(self, x: Tensor) -> Tensor:
        """Run every branch and sum."""
        wide, tall = self.wide_norm(self.wide(x)), self.tall_norm(self.tall(x))
        return _total([self.square_norm(self.square(x)), wide, tall])

    def _last_norms(self) -> list[nn.BatchNorm2d]:
        return [self.square_norm, self.wide_norm, self.tall_norm]

    def _fold(self) -> tuple[Tensor, Tensor]:
        kernel, bias = _through(self.square_norm, self.square.weight)
        wide, wide_bias = _through(self.wide_norm, _to_3x3(self.wide.weight))
        tall, tall_bias = _through(self.tall_norm, _to_3x3(self.tall.weight))
        return kernel + wide + tall, bias + wide_bias + tall_bias


class DBB(Normalised):
    """3x3 | 1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 average, batch normalisation after every one of these.

    X. Ding, X. Zhang, J. Han, G. Ding, "Diverse Branch Block: Building a Convolution as an
    Inception-like Unit", CVPR 2021. As there, the third branch has `inner` channels in its middle, and
    its 1x1 begins as the identity.

    What comes before a 3x3 in the same branch is padded with what it gives for zeros, that is the
    normalisation's offset ``beta - mean * t``: so all branches see the same zero-padded picture. Padding
    with zeros there would not fold at the border. The offset is that of the running statistics also
    while training, when the inside is normalised with the batch's.
    """

    def __init__(self, inner: int, out: int) -> None:
        """Draw the weights from `inner` to `out` channels."""
        super().__init__()
        self.conv3, self.norm3 = _conv(inner, out, 3, 3), nn.BatchNorm2d(out)
        self.conv1, self.norm1 = _conv(inner, out, 1, 1), nn.BatchNorm2d(out)
        self.enter, self.enter_norm = _conv(inner, inner, 1, 1), nn.BatchNorm2d(inner)
        nn.init.dirac_(self.enter.weight)
        self.leave, self.leave_norm = _conv(inner, out, 3, 3), nn.BatchNorm2d(out)
        self.mix, self.mix_norm = _conv(inner, out, 1, 1), nn.BatchNorm2d(out)
        self.average_norm = nn.BatchNorm2d(out)

    def forward_branches(self, x: Tensor) -> Tensor:
        """Run every branch and sum."""
        middle = _bordered(self.enter_norm(self.enter(x)), self.enter_norm)
        mixed = _bordered(self.mix_norm(self.mix(x)), self.mix_norm)
        return _total(
            [
                self.norm3(self.conv3(x)),
                self.norm1(self.conv1(x)),
                self.leave_norm(F.conv2d(middle, self.leave.weight)),
                self.average_norm(F.avg_pool2d(mixed, 3, stride=1)),
            ]
        )

    def _last_norms(self) -> list[nn.BatchNorm2d]:
        return [self.norm3, self.norm1, self.leave_norm, self.average_norm]

    def _fold(self) -> tuple[Tensor, Tensor]:
        kernel3, bias3 = _through(self.norm3, self.conv3.weight)
        kernel1, bias1 = _through(self.norm1, _to_3x3(self.conv1.weight))
        # conv3x3 after conv1x1: contract the channels between them.
        enter, enter_bias = _through(self.enter_norm, self.enter.weight)
        both = F.conv2d(self.leave.weight, enter.transpose(0, 1))
        both_bias = torch.einsum("omhw,m->o", self.leave.weight, enter_bias)
        both, both_bias = _through(self.leave_norm, both, both_bias)
        # The mean of nine pixels, the border's among them, leaves the offset as it is.
        mix, mix_bias = _through(self.mix_norm, self.mix.weight)
        mean, mean_bias = _through(self.average_norm, mix.expand(-1, -1, 3, 3) / 9, mix_bias)
        return kernel3 + kernel1 + both + mean, bias3 + bias1 + both_bias + mean_bias


def _conv(inner: int, out: int, height: int, width: int) -> nn.Conv2d:
    """Return a convolution without bias: batch normalisation would take any bias out again."""
    return nn.Conv2d(inner, out, (height, width), padding=(height // 2, width // 2), bias=False)


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the factor and the offset [channels] that `norm` is in eval mode."""
    # Copies: the next forward pass changes the running statistics in place, perhaps before this one's
    # gradient is taken.
    mean = cast(Tensor, norm.running_mean).clone()
    variance = cast(Tensor, norm.running_var).clone()
    factor = norm.weight / torch.sqrt(variance + norm.eps)
    return factor, norm.bias - mean * factor


def _through(norm: nn.BatchNorm2d, kernel: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the kernel [out, ...] and bias [out] of a convolution with `norm` behind it."""
    factor, offset = _affine(norm)
    return kernel * factor.reshape(-1, 1, 1, 1), offset if bias is None else bias * factor + offset


def _to_3x3(kernel: Tensor) -> Tensor:
    """Return a 1x1, 1x3 or 3x1 kernel in the middle of a 3x3 one."""
    high, wide = kernel.shape[2] == 1, kernel.shape[3] == 1
    return F.pad(kernel, (int(wide), int(wide), int(high), int(high)))


def _bordered(y: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Return y, the output of `norm`, with a border of one pixel: the offset of `norm`."""
    _, offset = _affine(norm)
    border = 1 - F.pad(torch.ones_like(y[:1, :1]), (1, 1, 1, 1))
    return F.pad(y, (1, 1, 1, 1)) + offset.to(y.dtype).reshape(1, -1, 1, 1) * border
