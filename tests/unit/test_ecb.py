"""The edge-oriented block: folding is exact, and the gradient reaches every branch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


blocks = st.builds(
    random_block,
    seed=st.integers(0, 2**31),
    inner=st.integers(1, 6),
    out=st.integers(1, 6),
    multiplier=st.sampled_from([1.0, 1.5, 2.0]),
    identity=st.just(False),
) | st.builds(
    lambda seed, width, multiplier: random_block(seed, width, width, multiplier, True),
    seed=st.integers(0, 2**31),
    width=st.integers(1, 6),
    multiplier=st.sampled_from([1.0, 2.0]),
)


@settings(max_examples=60, deadline=None)
@given(block=blocks, height=st.integers(1, 9), width=st.integers(1, 9), batch=st.integers(1, 2))
def test_folding_is_exact(block: ECB, height: int, width: int, batch: int) -> None:
    x = torch.randn(batch, block.conv_weight.shape[1], height, width, dtype=torch.float64)
    double = block.double()
    with torch.no_grad():
        torch.testing.assert_close(double(x), double.forward_branches(x), rtol=0, atol=1e-10)
        single, wanted = block.float(), double.forward_branches(x.float())
        scale = max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(single(x.float()), wanted, rtol=0, atol=1e-5 * scale)


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


@pytest.mark.parametrize("identity", [False, True])
def test_gradient_reaches_every_branch_and_equals_that_of_the_branches(identity: bool) -> None:
    block = random_block(5, 3, 3, 2.0, identity).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    block(x).square().sum().backward()
    folded = {name: p.grad.clone() for name, p in block.named_parameters() if p.grad is not None}
    assert folded.keys() == {name for name, _ in block.named_parameters()}
    block.zero_grad()
    block.forward_branches(x).square().sum().backward()
    for name, parameter in block.named_parameters():
        # An edge mask sums to zero, so the bias before it never has an effect.
        assert folded[name].abs().max() > 1e-6 or "edge_bias" in name, name
        torch.testing.assert_close(parameter.grad, folded[name], rtol=1e-9, atol=1e-9)


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


def test_folding_ignores_autocast() -> None:
    block = random_block(9, 4, 4, 2.0, identity=False)
    with torch.autocast("cpu", torch.bfloat16):
        kernel, bias = block.fold()
    wanted_kernel, wanted_bias = block.fold()
    assert kernel.dtype == torch.float32
    assert torch.equal(kernel, wanted_kernel)
    assert torch.equal(bias, wanted_bias)
