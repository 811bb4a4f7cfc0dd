"""What is the edge-oriented block's own; `test_blocks.py` has what all blocks share."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vidsr.networks.ecb import ECB, EDGE_MASKS


def random_block(seed: int, inner: int, out: int, multiplier: float, identity: bool) -> ECB:
    """Return a block whose every parameter is far from zero, so that no branch can hide."""
    torch.manual_seed(seed)
    block = ECB(inner, out, depth_multiplier=multiplier, identity=identity)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.5)
    return block


def test_branches_are_the_paper_s() -> None:
    """One branch at a time against its definition written out with explicit padding."""
    block = random_block(3, 2, 4, 2.0, identity=False).double()
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        wanted = F.conv2d(x, block.conv_weight, block.conv_bias, padding=1)
        wide = F.conv2d(x, block.expand_weight, block.expand_bias)
        border = block.expand_bias.reshape(1, -1, 1, 1).expand(1, -1, 7, 8).clone()
        border[:, :, 1:-1, 1:-1] = wide
        wanted = wanted + F.conv2d(border, block.squeeze_weight, block.squeeze_bias)
        for name, mask in EDGE_MASKS.items():
            bias = block.edge_bias[name]
            border = bias.reshape(1, -1, 1, 1).expand(1, -1, 7, 8).clone()
            border[:, :, 1:-1, 1:-1] = F.conv2d(x, block.edge_weight[name], bias)
            for channel in range(4):
                kernel = block.edge_scale[name][channel] * torch.tensor(mask, dtype=torch.float64)
                edge = F.conv2d(border[:, channel : channel + 1], kernel[None, None])
                wanted[:, channel] += edge[:, 0] + block.edge_offset[name][channel]
        torch.testing.assert_close(block.forward_branches(x), wanted, rtol=0, atol=1e-12)


def test_identity_is_what_it_adds() -> None:
    with_it = random_block(7, 3, 3, 2.0, identity=True).double()
    without = random_block(7, 3, 3, 2.0, identity=False).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(with_it(x), without(x) + x)


def test_identity_needs_equal_channels() -> None:
    with pytest.raises(ValueError, match="as many inputs as outputs"):
        ECB(3, 4, identity=True)


def test_masks_are_not_in_the_checkpoint() -> None:
    assert not [name for name in ECB(1, 2).state_dict() if "mask" in name]
