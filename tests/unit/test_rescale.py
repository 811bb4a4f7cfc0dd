"""Files that take 0..255 give the same pictures as the same network on 0..1."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vidsr.backends.openvino import run_interchange
from vidsr.errors import OptionsError
from vidsr.models.card import write_card
from vidsr.models.lookup import find_model
from vidsr.networks.ecbsr import ECBSR, PlainECBSR
from vidsr.networks.export import export_network, network_card


def on_255(network: PlainECBSR) -> PlainECBSR:
    """Return the network that maps 255 x to 255 y: PReLU commutes with the factor, biases take it."""
    biases = [bias.detach() * 255 for bias in network.biases]
    return PlainECBSR(list(network.kernels), biases, list(network.slopes), channels=network.channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_on_255_equals_the_one_on_1(tmp_path: Path, channels: int) -> None:
    torch.manual_seed(2)
    network = ECBSR(channels=channels, blocks=1, features=8).fold()
    plain = export_network(network, tmp_path / "one.onnx")
    other = export_network(on_255(network), tmp_path / "other.onnx")
    x = np.random.default_rng(0).random((1, channels, 12, 17), dtype=np.float32)
    wanted = run_interchange(find_model(str(plain), 2), x)
    made = run_interchange(find_model(str(other), 2, value_range=255), x)
    np.testing.assert_allclose(made, wanted, atol=2e-6)
    wrong = run_interchange(find_model(str(other), 2), x)
    assert np.abs(wrong - wanted).max() > 0.01


def test_a_card_that_says_otherwise_wins_by_an_error(tmp_path: Path) -> None:
    network = ECBSR(blocks=0, features=4).fold()
    path = export_network(network, tmp_path / "2x-ecbsr-m0c4.onnx")
    write_card(network_card(network, path), tmp_path)
    with pytest.raises(OptionsError, match="contradicts"):
        find_model(str(path), 2, value_range=255)
    assert find_model(str(path), 2, value_range=1).spec.value_range == 1


def test_the_option_is_for_files_alone() -> None:
    with pytest.raises(OptionsError, match="model-range"):
        find_model("ecbsr", 2, value_range=255)
