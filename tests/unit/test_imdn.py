"""IMDN, IMDN_RTC and IMDN_AS: sizes, export, ranges, what an output pixel sees, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from network_checks import (
    assert_export_equals_torch,
    assert_fold_is_exact,
    exported,
    halo_of,
    reach,
    shaken,
    weights_of,
)
from torch import Tensor

from vidsr.errors import WeightsError
from vidsr.networks.export import model_id
from vidsr.networks.imdn import IMDN, IMDNRTC
from vidsr.networks.imdn_as import IMDNAS

NETWORKS: dict[str, Callable[..., Any]] = {
    "imdn": lambda **options: IMDN(blocks=2, features=16, reduction=4, **options),
    "rtc": lambda **options: IMDNRTC(blocks=2, features=8, **options),
    "as": lambda **options: IMDNAS(blocks=2, features=16, reduction=4, **options),
}


def small(kind: str, **options: int) -> Any:
    return shaken(NETWORKS[kind](**options))


# Those of the published checkpoints; the paper rounds IMDN's to 694, 703 and 715 K.
@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (IMDN(scale=2), 694_404),
        (IMDN(scale=3), 703_059),
        (IMDN(scale=4), 715_176),
        (IMDNRTC(scale=2), 20_190),
        (IMDNAS(), 752_104),
    ],
)
def test_parameters(network: Any, wanted: int) -> None:
    assert weights_of(network) == wanted


@pytest.mark.parametrize("kind", ["imdn", "rtc"])
@pytest.mark.parametrize(("scale", "channels"), [(2, 3), (3, 1), (4, 3)])
def test_export_equals_torch(tmp_path: Path, kind: str, scale: int, channels: int) -> None:
    sizes = [(1, 1), (2, 7), (24, 36), (37, 29)]
    assert_export_equals_torch(small(kind, scale=scale, channels=channels), tmp_path, sizes)


@pytest.mark.parametrize("channels", [1, 3])
def test_export_of_as_equals_torch(tmp_path: Path, channels: int) -> None:
    assert_export_equals_torch(small("as", channels=channels), tmp_path, [(4, 4), (8, 20), (36, 24)])


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("peak", [255.0, 1023.0])
def test_range_folds_exactly(kind: str, peak: float) -> None:
    assert_fold_is_exact(lambda: small(kind), peak, 16)


def test_cards(tmp_path: Path) -> None:
    """Attention by the picture's mean makes tiles approximate; RTC has none, and AS works at the target."""
    found = {}
    for kind in NETWORKS:
        spec = exported(small(kind), tmp_path).spec
        found[kind] = (spec.id, spec.tiling, spec.multiple, spec.min_size, spec.input)
    assert found == {
        "imdn": ("2x-imdn-b2f16-rgb", "approximate", 1, 1, "low"),
        "rtc": ("2x-imdn-rtc-b2f8-rgb", "exact", 1, 1, "low"),
        "as": ("1x-imdn-as-b2f16-rgb", "approximate", 4, 4, "target"),
    }


def test_halo_of_rtc_is_what_changes(tmp_path: Path) -> None:
    """Four 3x3 in each block, one at each end."""
    network = small("rtc")
    assert halo_of(network, tmp_path) == 2 * 4 + 2
    assert reach(network, 32, 16) == (10, 10)


def test_attention_sees_the_whole_picture() -> None:
    assert reach(small("imdn"), 40, 20) == (20, 19)


def test_without_attention_the_halo_is_what_changes(tmp_path: Path) -> None:
    """What the card's halo counts where it says approximate: everything but the mean over the picture."""
    for kind, size, at in (("imdn", 48, 20), ("as", 144, 64)):
        network = small(kind)
        halo = halo_of(network, tmp_path)
        for block in network.blocks:
            block.attention = None
        before, after = reach(network, size, at)
        assert max(before, after) <= halo
        assert max(before, after) > halo - 8


def test_as_takes_multiples_of_four_alone() -> None:
    network = small("as")
    assert network(torch.rand(1, 3, 8, 12)).shape == (1, 3, 8, 12)
    assert network(torch.rand(1, 3, 7, 10)).shape != (1, 3, 7, 10)
    with pytest.raises(ValueError, match="scale of IMDN_AS is 1, not 2"):
        IMDNAS(scale=2)


def test_names() -> None:
    assert model_id(IMDN(scale=3)) == "3x-imdn-b6f64-rgb"
    assert model_id(IMDN(channels=1), "mine") == "2x-imdn-mine"


def published(network: Any) -> dict[str, Tensor]:
    """Return the weights under the authors' names."""
    rtc = isinstance(network, IMDNRTC)
    ends = {"head": "fea_conv", "fuse": "c.0", "end": "LR_conv", "tail": "upsampler.0"}
    ends |= {"head.0": "fea_conv.0", "head.1": "fea_conv.2"}
    if rtc:
        ends = {"head": "model.0", "fuse": f"model.1.sub.{len(network.blocks)}", "tail": "model.2"}
    steps = {f"convs.{i}": f"c{i + 1}" for i in range(4)} | {"fuse": "c5"}
    steps |= {"attention.squeeze": "cca.conv_du.0", "attention.excite": "cca.conv_du.2"}
    found = {}
    for name, tensor in network.state_dict().items():
        module, _, kind = name.rpartition(".")
        if module.startswith("blocks."):
            _, number, rest = module.split(".", 2)
            block = f"model.1.sub.{number}" if rtc else f"IMDB{int(number) + 1}"
            found[f"{block}.{steps[rest]}.{kind}"] = tensor
        else:
            found[f"{ends[module]}.{kind}"] = tensor
    return found


@pytest.mark.parametrize("names", [lambda n: n.state_dict(), published])
@pytest.mark.parametrize("kind", NETWORKS)
def test_checkpoint_round_trip(kind: str, names: Callable[[Any], dict[str, Tensor]]) -> None:
    network = small(kind)
    loaded = type(network).from_state_dict(names(network))
    x = torch.rand(1, 3, 12, 16)
    assert torch.equal(loaded(x), network(x))


DAMAGE = [
    (lambda s: s.pop(next(n for n in s if "c3.weight" in n)), r"convs.2.weight' is missing"),
    (lambda s: s.update({"more.weight": torch.zeros(1)}), r"'more.weight' is not a part"),
    (
        lambda s: s.update({next(n for n in s if n.endswith("c5.bias")): torch.zeros(5)}),
        r"'blocks.0.fuse.bias' has the shape \[5\]",
    ),
    (
        lambda s: s.update({"tail.weight": torch.zeros(12, 8, 3, 3)}),
        r"'tail.weight' is there twice|'tail.weight' is not",
    ),
]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=[m for _, m in DAMAGE])
def test_checkpoint_of_something_else_is_refused(
    kind: str, damage: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    network = small(kind)
    state = published(network)
    damage(state)
    with pytest.raises(WeightsError, match=message):
        type(network).from_state_dict(state)


def test_features_that_cannot_be() -> None:
    state = {f"head.{n}": torch.zeros(6, *([3, 3, 3] if n == "weight" else [])) for n in ("weight", "bias")}
    state |= {"tail.weight": torch.zeros(12, 6, 3, 3)}
    with pytest.raises(WeightsError, match="no such network: features must be a multiple of 4, not 6"):
        IMDNRTC.from_state_dict({**state, "blocks.0.fuse.weight": torch.zeros(1)})
