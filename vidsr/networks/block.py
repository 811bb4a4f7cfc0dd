"""What a re-parameterised block is: several linear branches to train, one 3x3 convolution to run.

Blocks without batch normalisation (`Plain`, `vidsr.networks.ecb.ECB`) train on their folded kernel:
the gradient flows through the folding to the branches, at the price of one convolution. Blocks with it
(`vidsr.networks.normalised`) cannot: while they are trained, batch normalisation divides by the spread of
each branch's output over the batch, and nobody knows that without running the branch. They
train on their branches, at several times the time and memory of a step, and fold in eval mode, where
running statistics take the place of the batch's and the block is linear.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Block", "Plain", "averaged_state", "conv_parameters"]


class Block(nn.Module, ABC):
    """One block: [N, in, H, W] -> [N, out, H, W], linear in eval mode (the activation is the network's)."""

    uses_batch_statistics = False
    """Whether training runs the branches, because what they compute depends on the batch."""

    def fold(self) -> tuple[Tensor, Tensor]:
        """Return the equal 3x3 convolution: kernel [out, in, 3, 3] and bias [out].

        Equal to what the block computes in eval mode, whatever mode it is in. Differentiable. Always in
        the parameters' own precision, also under autocast.
        """
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            return self._fold()

    def forward(self, x: Tensor) -> Tensor:
        """Run x [N, in, H, W] through the folded convolution, or through the branches where training must."""
        if self.training and self.uses_batch_statistics:
            return self.forward_branches(x)
        kernel, bias = self.fold()
        return F.conv2d(x, kernel, bias, padding=1)

    @abstractmethod
    def forward_branches(self, x: Tensor) -> Tensor:
        """Run every branch on x [N, in, H, W] and sum: the definition that `fold` must equal in eval mode."""

    @abstractmethod
    def silence(self) -> None:
        """Set the last weights to zero, and with them the output (but for an added input)."""

    @abstractmethod
    def _fold(self) -> tuple[Tensor, Tensor]:
        """Return what `fold` returns; autocast is off."""


class Plain(Block):
    """A 3x3 convolution: what the others are compared with."""

    def __init__(self, inner: int, out: int) -> None:
        """Draw the weights of a convolution from `inner` to `out` channels."""
        super().__init__()
        self.conv_weight, self.conv_bias = conv_parameters(out, inner, 3)

    def forward_branches(self, x: Tensor) -> Tensor:
        """Run the only branch there is."""
        return F.conv2d(x, self.conv_weight, self.conv_bias, padding=1)

    @torch.no_grad()
    def silence(self) -> None:
        """Make the output zero."""
        self.conv_weight.zero_()
        self.conv_bias.zero_()

    def _fold(self) -> tuple[Tensor, Tensor]:
        return self.conv_weight, self.conv_bias


def conv_parameters(out: int, inner: int, size: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weight [out, inner, size, size] and bias [out], drawn as torch's own Conv2d draws them."""
    weight = torch.empty(out, inner, size, size)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    bound = 1 / math.sqrt(inner * size * size)
    return nn.Parameter(weight), nn.Parameter(torch.empty(out).uniform_(-bound, bound))


def averaged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return by name what an average of `network` over its training has to cover.

    These are the parameters and, with batch normalisation, the running means and variances: the statistics
    of the last few batches, seen by the last weights, are not those of the averaged weights. They
    are the very tensors, not copies.
    """
    state = network.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if value.is_floating_point()}
