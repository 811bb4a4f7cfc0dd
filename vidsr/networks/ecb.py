"""The edge-oriented convolution block (ECB) and its exact folding into one 3x3 convolution.

Source of the block: X. Zhang, H. Zeng, L. Zhang, "Edge-oriented Convolution Block for Real-time
Super Resolution on Mobile Devices", ACM MM 2021. Five linear branches are summed:

    conv3x3 | conv1x1 -> conv3x3 | conv1x1 -> Sobel-x | conv1x1 -> Sobel-y | conv1x1 -> Laplacian

(and the identity, when asked for). Each 1x1's output is padded with that 1x1's bias, which is what
it would output for a zero input; so all branches see the same zero-padded picture, and their sum is
one 3x3 convolution with zero padding, exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.networks.block import Block, conv_parameters

__all__ = ["ECB", "EDGE_MASKS"]

EDGE_MASKS: dict[str, tuple[tuple[float, ...], ...]] = {
    "sobel_x": ((1, 0, -1), (2, 0, -2), (1, 0, -1)),
    "sobel_y": ((1, 2, 1), (0, 0, 0), (-1, -2, -1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
}


class ECB(Block):
    """One block: [N, in, H, W] -> [N, out, H, W], linear (the activation belongs to the network)."""

    def __init__(
        self, inner: int, out: int, *, depth_multiplier: float = 2.0, identity: bool = False
    ) -> None:
        """Draw the branches' weights.

        Args:
            inner: Input channels.
            out: Output channels.
            depth_multiplier: Channels between the 1x1 and the 3x3 of the second branch, as a
                multiple of `out`.
            identity: Add the input; needs ``inner == out``.
        """
        super().__init__()
        if identity and inner != out:
            raise ValueError(f"identity needs as many inputs as outputs, not {inner} and {out}")
        self.identity = identity
        middle = int(out * depth_multiplier)
        self.conv_weight, self.conv_bias = conv_parameters(out, inner, 3)
        self.expand_weight, self.expand_bias = conv_parameters(middle, inner, 1)
        self.squeeze_weight, self.squeeze_bias = conv_parameters(out, middle, 3)
        self.edge_weight = nn.ParameterDict()
        self.edge_bias = nn.ParameterDict()
        self.edge_scale = nn.ParameterDict()
        self.edge_offset = nn.ParameterDict()
        for name, mask in EDGE_MASKS.items():
            self.edge_weight[name], self.edge_bias[name] = conv_parameters(out, inner, 1)
            self.edge_scale[name] = nn.Parameter(torch.randn(out) * 1e-3)
            self.edge_offset[name] = nn.Parameter(torch.randn(out) * 1e-3)
            self.register_buffer(f"mask_{name}", torch.tensor(mask), persistent=False)

    def _fold(self) -> tuple[Tensor, Tensor]:
        kernel: Tensor = self.conv_weight
        bias: Tensor = self.conv_bias
        # conv3x3 after conv1x1: contract the channels between them.
        kernel = kernel + F.conv2d(self.squeeze_weight, self.expand_weight.transpose(0, 1))
        bias = bias + self.squeeze_bias
        bias = bias + torch.einsum("omhw,m->o", self.squeeze_weight, self.expand_bias)
        for name in EDGE_MASKS:
            mask = self._edge_kernel(name)
            kernel = kernel + mask * self.edge_weight[name]
            bias = bias + self.edge_offset[name]
            bias = bias + mask.sum(dim=(1, 2, 3)) * self.edge_bias[name]
        if self.identity:
            centre = torch.zeros_like(kernel)
            channels = torch.arange(len(kernel))
            centre[channels, channels, 1, 1] = 1.0
            kernel = kernel + centre
        return kernel, bias

    def forward_branches(self, x: Tensor) -> Tensor:
        """Run every branch on x [N, in, H, W] and sum: the definition that `fold` must equal."""
        out = F.conv2d(x, self.conv_weight, self.conv_bias, padding=1)
        wide = self._pointwise(x, self.expand_weight, self.expand_bias)
        out = out + F.conv2d(wide, self.squeeze_weight, self.squeeze_bias)
        for name in EDGE_MASKS:
            y = self._pointwise(x, self.edge_weight[name], self.edge_bias[name])
            mask = self._edge_kernel(name)
            out = out + F.conv2d(y, mask, self.edge_offset[name], groups=len(mask))
        return out + x if self.identity else out

    @torch.no_grad()
    def silence(self) -> None:
        """Make the output zero (or the input, with the identity) by the last weights of each branch."""
        last = [self.conv_weight, self.conv_bias, self.squeeze_weight, self.squeeze_bias]
        for weight in [*last, *self.edge_scale.values(), *self.edge_offset.values()]:
            weight.zero_()

    def _edge_kernel(self, name: str) -> Tensor:
        """Return the scaled mask, [out, 1, 3, 3]."""
        mask: Tensor = getattr(self, f"mask_{name}")
        scaled: Tensor = self.edge_scale[name].reshape(-1, 1, 1, 1) * mask
        return scaled

    @staticmethod
    def _pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Run a 1x1 convolution and pad its output by one pixel with its bias."""
        y = F.pad(F.conv2d(x, weight), (1, 1, 1, 1))
        return y + bias.reshape(1, -1, 1, 1)
