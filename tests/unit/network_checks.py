"""What the tests of every network do: draw weights that matter, export, run, change one pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from vidsr.backends.openvino import run_interchange
from vidsr.models.halo import context_of
from vidsr.models.lookup import Model
from vidsr.networks.export import export_network, network_card


def shaken(network: nn.Module, seed: int = 0) -> Any:
    """Give weights and biases values that matter and depend on `seed` alone, in eval mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.copy_(torch.randn_like(parameter) * spread)
    return network.eval()


def weights_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def exported(network: nn.Module, folder: Path) -> Model:
    path = export_network(network, folder / "n.onnx")
    return Model(network_card(network, path), path)


def assert_export_equals_torch(network: Any, folder: Path, sizes: list[tuple[int, int]]) -> None:
    """Through OpenVINO in f32, for pictures of these heights and widths."""
    model = exported(network, folder)
    for height, width in sizes:
        x = torch.rand(1, network.channels, height, width)
        with torch.no_grad():
            wanted = network(x).numpy()
        assert wanted.std() > 0.01, "weights that matter"
        made = run_interchange(model, x.numpy())
        assert made.shape == wanted.shape
        np.testing.assert_allclose(made, wanted, rtol=0, atol=2e-5 * max(1.0, float(np.abs(wanted).max())))


def assert_fold_is_exact(make: Any, peak: float, size: int) -> None:
    """In float64, ``make()``, which gives equal networks, must not change but for the range."""
    wide, narrow = make().double(), make().double()
    narrow.fold_range(peak)
    x = torch.rand(1, wide.channels, size, size, dtype=torch.float64)
    with torch.no_grad():
        wanted = wide(x * peak) / peak
        torch.testing.assert_close(narrow(x), wanted, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(wide(x), wanted, atol=1e-3), "the range matters"


def halo_of(network: nn.Module, folder: Path) -> int:
    return context_of(onnx.load(export_network(network, folder / "n.onnx"))).halo


def reach(network: Any, size: int, at: int) -> tuple[int, int]:
    """Return how far up or left, and how far down or right, one changed pixel of the input shows."""
    x: Tensor = torch.rand(1, network.channels, size, size, dtype=torch.float64)
    other = x.clone()
    other[0, 0, at, at] += 0.5
    with torch.no_grad():
        changed = (network.double()(x) != network(other))[0].any(dim=0).nonzero() // network.scale
    return at - int(changed.min()), int(changed.max()) - at
