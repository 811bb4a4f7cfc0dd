"""All re-parameterised blocks: folding is exact, gradients reach every branch, training uses the batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from vidsr.networks.block import Block, Plain, averaged_state
from vidsr.networks.ecb import ECB
from vidsr.networks.ecbsr import BLOCKS
from vidsr.networks.normalised import ACB, DBB, Normalised, RepVGG

KINDS: dict[str, Callable[[int, int], Block]] = {
    **BLOCKS,
    "ecb of multiplier 1.5": lambda inner, out: ECB(inner, out, depth_multiplier=1.5),
    "ecb with identity": lambda inner, out: ECB(out, out, identity=True),
}
NORMALISED = {"repvgg": RepVGG, "acb": ACB, "dbb": DBB}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_normalised = pytest.mark.parametrize("kind", NORMALISED)


def random_block(kind: str, seed: int, inner: int, out: int) -> Block:
    """Return a block in eval mode, its every value far from what would let a branch hide."""
    torch.manual_seed(seed)
    block = KINDS[kind](inner, out)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.5)
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.5)
                module.running_var.uniform_(0.3, 3)
    return block.eval()


def inputs(block: Block) -> int:
    """Return the block's input channels."""
    return block.fold()[0].shape[1]


@every_kind
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    inner=st.integers(1, 6),
    out=st.integers(1, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    batch=st.integers(1, 2),
)
def test_folding_is_exact(
    kind: str, seed: int, inner: int, out: int, height: int, width: int, batch: int
) -> None:
    block = random_block(kind, seed, inner, out)
    x = torch.randn(batch, inputs(block), height, width, dtype=torch.float64)
    double = block.double()
    with torch.no_grad():
        torch.testing.assert_close(double(x), double.forward_branches(x), rtol=0, atol=1e-10)
        single, wanted = block.float(), double.forward_branches(x.float())
        scale = max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(single(x.float()), wanted, rtol=0, atol=1e-5 * scale)


def normalised(y: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Write out batch normalisation by running statistics."""
    columns = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, gamma, beta = (c.reshape(-1, 1, 1) for c in columns)
    return (y - mean) / torch.sqrt(variance + 1e-5) * gamma + beta


def framed(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return what a 1x1 and its normalisation make of x and of a frame of zeros around it."""
    return normalised(F.conv2d(F.pad(x, (1, 1, 1, 1)), conv.weight), norm)


def by_the_papers(block: Normalised, x: Tensor) -> Tensor:
    """Sum the branches as the papers have them."""
    if isinstance(block, RepVGG):
        out = normalised(F.conv2d(x, block.conv3.weight, padding=1), block.norm3)
        out = out + normalised(F.conv2d(x, block.conv1.weight), block.norm1)
        return out if block.norm_identity is None else out + normalised(x, block.norm_identity)
    if isinstance(block, ACB):
        out = normalised(F.conv2d(x, block.square.weight, padding=1), block.square_norm)
        out = out + normalised(F.conv2d(F.pad(x, (1, 1, 0, 0)), block.wide.weight), block.wide_norm)
        return out + normalised(F.conv2d(F.pad(x, (0, 0, 1, 1)), block.tall.weight), block.tall_norm)
    assert isinstance(block, DBB)
    out = normalised(F.conv2d(x, block.conv3.weight, padding=1), block.norm3)
    out = out + normalised(F.conv2d(x, block.conv1.weight), block.norm1)
    middle = framed(x, block.enter, block.enter_norm)
    out = out + normalised(F.conv2d(middle, block.leave.weight), block.leave_norm)
    mixed = framed(x, block.mix, block.mix_norm)
    height, width = x.shape[2:]
    nine = [mixed[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return out + normalised(torch.stack(nine).mean(dim=0), block.average_norm)


@every_normalised
@pytest.mark.parametrize("out", [3, 5])
def test_branches_are_the_papers(kind: str, out: int) -> None:
    block = random_block(kind, 3, 3, out).double()
    assert isinstance(block, Normalised)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block.forward_branches(x), by_the_papers(block, x), rtol=0, atol=1e-12)


@every_kind
def test_gradient_reaches_every_branch_and_equals_that_of_the_branches(kind: str) -> None:
    block = random_block(kind, 5, 3, 3).double()
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


@every_kind
def test_folding_is_exact_after_training_and_does_not_depend_on_the_mode(kind: str) -> None:
    block = random_block(kind, 11, 2, 4).double().train()
    optimizer = torch.optim.SGD(block.parameters(), lr=1e-2)
    x = torch.randn(4, inputs(block), 6, 6, dtype=torch.float64)
    before = [value.detach().clone() for value in averaged_state(block).values()]
    for _ in range(3):
        optimizer.zero_grad()
        (block(x) - 1).square().mean().backward()
        optimizer.step()
    for (name, value), old in zip(averaged_state(block).items(), before, strict=True):
        # What is constant over a picture is taken out by the mask or by the normalisation after it.
        without_effect = name.endswith(("enter_norm.bias", "mix_norm.bias")) or "edge_bias" in name
        assert without_effect or not torch.equal(value, old), name
    in_training = block.fold()
    block.eval()
    assert all(torch.equal(a, b) for a, b in zip(block.fold(), in_training, strict=True))
    with torch.no_grad():
        torch.testing.assert_close(block(x), block.forward_branches(x), rtol=0, atol=1e-10)


@every_normalised
def test_training_normalises_with_the_batch(kind: str) -> None:
    """With one branch left, each channel's mean and spread over the batch are beta and gamma."""
    block = random_block(kind, 7, 3, 4).train()
    assert isinstance(block, Normalised)
    keep, *others = block._last_norms()
    nn.init.constant_(keep.weight, 3.0)
    nn.init.constant_(keep.bias, 0.5)
    for norm in others:
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    y = block(torch.randn(8, 3, 12, 12) * 5 + 2)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.full((4,), 0.5), rtol=0, atol=1e-4)
    torch.testing.assert_close(y.std(dim=(0, 2, 3)), torch.full((4,), 3.0), rtol=1e-2, atol=0)


@every_normalised
def test_two_passes_before_a_gradient(kind: str) -> None:
    """Running statistics change in place; what the first pass needs of them must be its own."""
    block = random_block(kind, 8, 3, 4).train()
    first, second = block(torch.randn(2, 3, 5, 5)), block(torch.randn(2, 3, 5, 5))
    (first.sum() + second.sum()).backward()
    assert all(p.grad is not None for p in block.parameters())


@every_kind
def test_folding_ignores_autocast(kind: str) -> None:
    block = random_block(kind, 9, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        kernel, bias = block.fold()
    wanted_kernel, wanted_bias = block.fold()
    assert kernel.dtype == bias.dtype == torch.float32
    assert torch.equal(kernel, wanted_kernel)
    assert torch.equal(bias, wanted_bias)


@every_kind
@pytest.mark.parametrize("training", [False, True])
def test_silenced_block_gives_zero_and_can_learn(kind: str, training: bool) -> None:
    block = random_block(kind, 13, 3, 4)
    block.silence()
    block.train(training)
    x = torch.randn(2, inputs(block), 6, 6)
    y = block(x)
    added = x if "identity" in kind else torch.zeros_like(y)
    torch.testing.assert_close(y, added, rtol=0, atol=1e-6)
    (y - 1).square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 1e-3 for p in block.parameters())


def test_only_batch_statistics_join_the_parameters_in_an_average() -> None:
    for kind, make in KINDS.items():
        block = make(3, 3)
        parameters = {name for name, _ in block.named_parameters()}
        more = averaged_state(block).keys() - parameters
        assert parameters <= averaged_state(block).keys()
        assert bool(more) == (kind in NORMALISED)
        assert all(name.endswith(("running_mean", "running_var")) for name in more)
    plain = Plain(2, 3)
    assert averaged_state(plain)["conv_weight"] is plain.conv_weight
