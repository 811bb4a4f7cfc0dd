"""ECBSR as a whole: sizes of the published networks, folding, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidsr.errors import WeightsError
from vidsr.networks.ecbsr import BLOCKS, ECBSR, PlainECBSR
from vidsr.networks.export import export_network
from vidsr.training.run import load_averaged

ENGINES = Path(__file__).parents[2] / "engines"

PUBLISHED = {  # parameters after folding, x2 and x4
    (4, 8): (2748, 3624),
    (4, 16): (10100, 11840),
    (10, 16): (24116, 25856),
    (10, 32): (94308, 97776),
    (16, 64): (594884, 601808),
}


def shaken(network: ECBSR, seed: int) -> ECBSR:
    """Give biases, slopes, edge branches and running statistics values that matter; in eval mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("blocks", "features"), PUBLISHED)
def test_parameters_after_folding(blocks: int, features: int, block: str) -> None:
    for scale, wanted in zip((2, 4), PUBLISHED[blocks, features], strict=True):
        plain = ECBSR(scale=scale, blocks=blocks, features=features, block=block).fold()
        assert sum(p.numel() for p in plain.parameters()) == wanted


@pytest.mark.parametrize("block", BLOCKS)
@settings(max_examples=25, deadline=None)
@given(
    scale=st.integers(2, 4),
    channels=st.sampled_from([1, 3]),
    blocks=st.integers(0, 3),
    features=st.integers(1, 8),
    identity=st.booleans(),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    seed=st.integers(0, 2**31),
)
def test_folded_network_equals_the_branches(
    block: str,
    scale: int,
    channels: int,
    blocks: int,
    features: int,
    identity: bool,
    height: int,
    width: int,
    seed: int,
) -> None:
    network = shaken(
        ECBSR(
            scale=scale,
            channels=channels,
            blocks=blocks,
            features=features,
            identity=identity and block == "ecb",
            block=block,
        ),
        seed,
    ).double()
    x = torch.rand(1, channels, height, width, dtype=torch.float64)
    with torch.no_grad():
        wanted = network.forward_branches(x)
        assert wanted.shape == (1, channels, height * scale, width * scale)
        torch.testing.assert_close(network(x), wanted, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(network.fold()(x), wanted, rtol=1e-10, atol=1e-10)
        limit = 1e-5 * max(1.0, float(wanted.abs().max()))
        single = network.float().fold()(x.float())
        torch.testing.assert_close(single.double(), wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("channels", [1, 3])
def test_zero_weights_give_nearest_neighbour(channels: int) -> None:
    network = ECBSR(scale=3, channels=channels, blocks=1, features=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    x = torch.rand(1, channels, 4, 5)
    wanted = x.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    assert torch.equal(network(x), wanted)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_quiet_network_begins_as_nearest_neighbour_and_learns(block: str, training: bool) -> None:
    torch.manual_seed(2)
    network = ECBSR(blocks=1, features=8, block=block, quiet=True).train(training)
    x = torch.rand(2, 1, 6, 5)
    y = network(x)
    wanted = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-6)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    for _ in range(2):  # at first the gradient stops at the last block
        optimizer.zero_grad()
        (network(x) - 0.5).square().mean().backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(slope.grad.abs().max() > 0 for slope in network.slopes)
    assert not torch.allclose(network(x), wanted, atol=1e-4)


@pytest.mark.parametrize("block", ["repvgg", "acb", "dbb"])
def test_training_mode_looks_at_the_whole_batch(block: str) -> None:
    network = shaken(ECBSR(blocks=1, features=4, block=block), 4)
    one, other = torch.rand(1, 1, 6, 6), torch.rand(1, 1, 6, 6) * 3
    both = torch.cat([one, other])
    torch.testing.assert_close(network(both)[:1], network(one))
    network.train()
    assert not torch.allclose(network(both)[:1], network(one), atol=1e-2)


def test_wrong_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="one of ecb, plain, repvgg, acb, dbb, not 'vgg'"):
        ECBSR(block="vgg")
    with pytest.raises(ValueError, match="options of ecb, not of dbb"):
        ECBSR(block="dbb", identity=True)
    with pytest.raises(ValueError, match="options of ecb, not of plain"):
        ECBSR(block="plain", depth_multiplier=1.0)


def test_every_block_folds_to_the_same_graph(tmp_path: Path) -> None:
    """Only the numbers in the weights may differ."""
    files = {}
    for block in BLOCKS:
        network = shaken(ECBSR(blocks=1, features=4, block=block), 6)
        files[block] = export_network(network, tmp_path / f"{block}.onnx")
    graphs = {block: onnx.load(path).graph for block, path in files.items()}
    first = graphs["ecb"]
    for block, graph in graphs.items():
        assert files[block].stat().st_size == files["ecb"].stat().st_size
        assert list(graph.node) == list(first.node)
        assert [(w.name, w.dims) for w in graph.initializer] == [(w.name, w.dims) for w in first.initializer]
        assert block == "ecb" or graph.initializer[0].raw_data != first.initializer[0].raw_data


@pytest.mark.parametrize(
    "path", sorted((ENGINES / "checkpoints").glob("*/checkpoint.pt")), ids=lambda p: p.parent.name
)
def test_shipped_checkpoints_still_make_the_shipped_models(path: Path, tmp_path: Path) -> None:
    network = load_averaged(path.parent)[1]
    model = ENGINES / f"{path.parent.name}.onnx"
    again = export_network(network, tmp_path / "again.onnx")
    if model.exists():  # not all checkpoints are shipped as models
        made, shipped = (
            {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(file).graph.initializer}
            for file in (again, model)
        )
        assert made.keys() == shipped.keys()
        for name, weights in shipped.items():
            torch.testing.assert_close(torch.tensor(made[name]), torch.tensor(weights), rtol=0, atol=1e-5)


def test_folding_leaves_the_network_alone() -> None:
    network = ECBSR(blocks=1, features=4)
    plain = network.fold()
    before = network(torch.ones(1, 1, 4, 4)).detach().clone()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.fill_(7)
    assert torch.equal(network(torch.ones(1, 1, 4, 4)), before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_checkpoint_round_trip_under_other_names(scale: int, channels: int) -> None:
    plain = shaken(ECBSR(scale=scale, channels=channels, blocks=2, features=5), 1).fold()
    state: dict[str, Tensor] = {}
    for i, (kernel, bias) in enumerate(zip(plain.kernels, plain.biases, strict=True)):
        state[f"backbone.{i}.conv.weight"] = kernel
        state[f"backbone.{i}.conv.bias"] = bias
        if i < len(plain.slopes):
            state[f"backbone.{i}.act.weight"] = plain.slopes[i]
    loaded = PlainECBSR.from_state_dict(state)
    assert (loaded.scale, loaded.channels) == (scale, channels)
    x = torch.rand(1, channels, 6, 7)
    assert torch.equal(loaded(x), plain(x))


def good_state() -> dict[str, Tensor]:
    return {
        "0.weight": torch.zeros(5, 1, 3, 3),
        "0.bias": torch.zeros(5),
        "0.act": torch.zeros(5),
        "1.weight": torch.zeros(4, 5, 3, 3),
        "1.bias": torch.zeros(4),
    }


def nan_somewhere(state: dict[str, Tensor]) -> None:
    state["0.act"][3] = torch.nan


def infinite_somewhere(state: dict[str, Tensor]) -> None:
    state["1.weight"][0, 0, 0, 0] = torch.inf


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.clear(), "0 kernels"),
        (lambda s: s.pop("0.act"), "0 slopes"),
        (lambda s: s.pop("1.bias"), "1 biases"),
        (lambda s: s.update({"1.weight": torch.zeros(4, 6, 3, 3)}), "after 5 channels"),
        (lambda s: s.update({"1.weight": torch.zeros(4, 5, 1, 1)}), r"\(4, 5, 1, 1\)"),
        (lambda s: s.update({"0.bias": torch.zeros(6)}), "after 1 channels"),
        (lambda s: s.update({"0.act": torch.zeros(1)}), "1 slopes after 5 channels"),
        (
            lambda s: s.update({"1.weight": torch.zeros(5, 5, 3, 3), "1.bias": torch.zeros(5)}),
            "5 channels at",
        ),
        (lambda s: s.update({"0.weight": torch.zeros(5, 2, 3, 3)}), "for 2 at the start"),
        (
            lambda s: s.update({"1.weight": torch.zeros(1, 5, 3, 3), "1.bias": torch.zeros(1)}),
            "1 channels at",
        ),
        (nan_somewhere, "not finite"),
        (infinite_somewhere, "not finite"),
    ],
)
def test_checkpoint_of_something_else_is_refused(
    damage: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = good_state()
    assert PlainECBSR.from_state_dict(state).scale == 2
    damage(state)
    with pytest.raises(WeightsError, match=message):
        PlainECBSR.from_state_dict(state)
