"""From a checkpoint to a model: the network is recognised, the range is folded, nothing is half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_checks import shaken
from torch import Tensor

from vidsr.backends.openvino import run_interchange
from vidsr.errors import OptionsError, OutputError, VidsrError, WeightsError
from vidsr.models.card import load_card
from vidsr.models.lookup import named_model
from vidsr.networks import imported
from vidsr.networks.ecb import EDGE_MASKS
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.ecbsr_read import read_ecbsr
from vidsr.networks.imdn import IMDN, IMDNRTC
from vidsr.networks.imdn_as import IMDNAS
from vidsr.networks.imported import Imported, ImportOptions, import_checkpoint
from vidsr.networks.rfdn import RFDN

Named = dict[str, Tensor]


def etds(network: ECBSR) -> Named:
    """Return a folded ECBSR under the names of ETDS."""
    plain = network.fold()
    state: Named = {}
    for i, (kernel, bias) in enumerate(zip(plain.kernels, plain.biases, strict=True)):
        state |= {f"backbone.{i}.0.weight": kernel, f"backbone.{i}.0.bias": bias}
        if i < len(plain.slopes):
            state[f"backbone.{i}.1.weight"] = plain.slopes[i]
    return state


def branches(network: ECBSR) -> Named:
    """Return an ECBSR as its authors train it, under their names."""
    state: Named = {}
    for i, block in enumerate(network.body):
        at = f"backbone.{i}"
        state |= {f"{at}.conv3x3.weight": block.conv_weight, f"{at}.conv3x3.bias": block.conv_bias}
        state |= {f"{at}.conv1x1_3x3.k0": block.expand_weight, f"{at}.conv1x1_3x3.b0": block.expand_bias}
        state |= {f"{at}.conv1x1_3x3.k1": block.squeeze_weight, f"{at}.conv1x1_3x3.b1": block.squeeze_bias}
        for short, name in (("sbx", "sobel_x"), ("sby", "sobel_y"), ("lpl", "laplacian")):
            edge = f"{at}.conv1x1_{short}"
            state |= {f"{edge}.k0": block.edge_weight[name], f"{edge}.b0": block.edge_bias[name]}
            state[f"{edge}.scale"] = block.edge_scale[name].reshape(-1, 1, 1, 1)
            state[f"{edge}.bias"] = block.edge_offset[name]
            state[f"{edge}.mask"] = (
                torch.tensor(EDGE_MASKS[name]).float().repeat(len(block.conv_bias), 1, 1, 1)
            )
        if i < len(network.slopes):
            state[f"{at}.act.weight"] = network.slopes[i]
    return state


def own(network: Any) -> Named:
    return dict(network.state_dict())


def foreign_ends(network: Any) -> Named:
    """Return the weights with two names as the authors have them: enough to be theirs."""
    swap = {"fuse": "c.0", "end": "LR_conv"}
    return {
        ".".join([swap.get(n.split(".")[0], n.split(".")[0]), *n.split(".")[1:]]): t
        for n, t in own(network).items()
    }


def ecbsr(**options: Any) -> ECBSR:
    network: ECBSR = shaken(ECBSR(blocks=2, features=6, **options))
    return network


CASES: dict[str, tuple[Any, Callable[[Any], Named], str, int]] = {
    "luma of ECBSR's authors": (ecbsr(), branches, "2x-ecbsr-m2c6", 255),
    "folded luma": (ecbsr(scale=3), etds, "3x-ecbsr-m2c6", 255),
    "RGB of ETDS": (ecbsr(channels=3), etds, "2x-ecbsr-m2c6-rgb", 1),
    "ECBSR as vidsr trains it": (ecbsr(depth_multiplier=1.5), own, "2x-ecbsr-m2c6", 1),
    "ECBSR as vidsr folds it": (ecbsr().fold(), own, "2x-ecbsr-m2c6", 1),
    "RFDN": (shaken(RFDN(scale=4, blocks=1, features=8)), foreign_ends, "4x-rfdn-b1f8-rgb", 255),
    "RFDN of vidsr": (shaken(RFDN(blocks=1, features=8)), own, "2x-rfdn-b1f8-rgb", 1),
    "IMDN": (shaken(IMDN(blocks=1, features=16)), foreign_ends, "2x-imdn-b1f16-rgb", 1),
    "IMDN of vidsr": (shaken(IMDN(blocks=1, features=16)), own, "2x-imdn-b1f16-rgb", 1),
    "IMDN_RTC": (shaken(IMDNRTC(blocks=1, features=8)), own, "2x-imdn-rtc-b1f8-rgb", 1),
    "IMDN_AS": (shaken(IMDNAS(blocks=1, features=16)), foreign_ends, "1x-imdn-as-b1f16-rgb", 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("wanted", [None, 1, 255])
def test_every_network(tmp_path: Path, name: str, wanted: Any) -> None:
    network, names, identity, published = CASES[name]
    torch.save({"params": {f"module.{n}": t for n, t in names(network).items()}}, tmp_path / "theirs.pth")
    options = ImportOptions(value_range=wanted, license="MIT", kind="video")
    made = import_checkpoint(tmp_path / "theirs.pth", tmp_path / "out", options)
    peak = wanted or published
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{identity}.onnx", f"{identity}.toml"]
    assert made.range_reason.startswith((f"values 0..{peak} assumed", f"values 0..{peak}, as"))
    assert ("as asked for" in made.range_reason) == (wanted is not None)
    card = load_card(made.card)
    assert (card.id, card.license, card.kind, card.value_range) == (identity, "MIT", "video", 1)
    assert "imported from theirs.pth (sha256 " in card.training.text
    assert made.range_reason in card.training.text
    model = named_model(str(made.model))
    assert model is not None
    x = torch.rand(1, network.channels, 16, 20)
    with torch.no_grad():
        expected = (network.double()(x.double() * peak) / peak).numpy()
    limit = 2e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(run_interchange(model, x.numpy()), expected, rtol=0, atol=limit)
    network.float()


@pytest.mark.parametrize("peak", [255.0, 1023.0])
def test_the_range_of_ecbsr_folds_exactly(peak: float) -> None:
    wide, narrow = (ecbsr(channels=3).double().fold() for _ in range(2))
    narrow.fold_range(peak)
    x = torch.rand(1, 3, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(narrow(x), wide(x * peak) / peak, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(wide(x), wide(x * peak) / peak, atol=1e-3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("backbone.1.conv3x3.bias"), "'body.1.conv_bias' is missing"),
        (lambda s: s["backbone.0.conv1x1_sbx.mask"].neg_(), "sbx.mask' is another edge filter than ECB's"),
        (lambda s: s.update({"backbone.9.act.weight": torch.zeros(6)}), "'slopes.9' is not a part"),
        (lambda s: s.update({"body.0.conv_bias": torch.zeros(6)}), "'body.0.conv_bias' is there twice"),
    ],
)
def test_branches_that_are_not_whole(damage: Callable[[Named], object], message: str) -> None:
    state = {name: tensor.detach().clone() for name, tensor in branches(ecbsr()).items()}
    read_ecbsr(state)
    damage(state)
    with pytest.raises(WeightsError, match=message):
        read_ecbsr(state)


def imported_from(folder: Path, state: Any, **options: Any) -> Imported:
    torch.save(state, folder / "theirs.pth")
    return import_checkpoint(folder / "theirs.pth", folder / "out", ImportOptions(**options))


RTC = own(shaken(IMDNRTC(blocks=1, features=8)))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": torch.ones(2, 2)}, "none of the networks that vidsr knows: ECBSR, RFDN, IMDN"),
        ({n: t for n, t in RTC.items() if "fuse" not in n}, "those of IMDN_RTC, but 'blocks.0.fuse.weight'"),
        ({"B1.esa.conv1.weight": torch.ones(2, 2, 1, 1)}, "look like those of RFDN, but 'head.weight' is"),
        ({"backbone.0.0.weight": torch.ones(2, 2, 2)}, "look like those of ECBSR, but .* shape"),
        ({"IMDB1.c1.weight": torch.ones(2, 2, 3, 3)}, "look like those of IMDN, but"),
        ({"fea_conv.0.weight": torch.ones(4, 3, 3, 3)}, "look like those of IMDN_AS, but"),
        ({f"blocks.{i}.x.y": torch.ones(1) for i in range(1999)}, "none of the networks"),
    ],
)  # fmt: skip
def test_what_fits_no_network(tmp_path: Path, state: Named, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        imported_from(tmp_path, state)
    assert str(caught.value).startswith(f"{tmp_path / 'theirs.pth'}: ")
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.pth"]


def test_absurd_sizes_cost_nothing(tmp_path: Path) -> None:
    """A head of a million features would make terabytes of the rest, were it built to be compared."""
    state = {"head.weight": torch.ones(1_000_000, 3, 3, 3, dtype=torch.half)}
    state |= {"tail.weight": torch.ones(12, 2, 3, 3), "blocks.0.esa.reduce.weight": torch.ones(8, 2, 1, 1)}
    with pytest.raises(WeightsError, match=r"RFDN, but 'head.bias' is missing"):
        imported_from(tmp_path, state)


@pytest.mark.parametrize("name", ["../x", "A", "a/b", "-x", "a b", "é"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionsError, match="cannot be part of a model's name"):
        imported_from(tmp_path, RTC, name=name)


def test_a_name_of_ones_own_and_overwriting(tmp_path: Path) -> None:
    made = imported_from(tmp_path, RTC, name="mine-2")
    assert made.spec.id == "2x-imdn-mine-2"
    before = made.model.read_bytes()
    other = {name: tensor * 2 for name, tensor in RTC.items()}
    with pytest.raises(OptionsError, match="this file exists; add --overwrite"):
        imported_from(tmp_path, other, name="mine-2")
    assert made.model.read_bytes() == before
    imported_from(tmp_path, other, name="mine-2", overwrite=True)
    assert made.model.read_bytes() != before
    model = named_model(str(made.model))
    assert model is not None
    assert model.proto is not None, "the card is about the new file"


@pytest.mark.parametrize(
    "step", ["export_network", "network_card", "write_card", "first rename", "second rename"]
)
def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    renamed: list[str] = []

    def rename(source: Any, target: Path) -> None:
        if target.parent.name == "out":
            renamed.append(target.suffix)
            if len(renamed) == ("first rename", "second rename").index(step) + 1:
                raise OSError(28, "No space left on device")
        Path(source).rename(target)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step.endswith("rename"):
        monkeypatch.setattr(os, "replace", rename)
    else:
        monkeypatch.setattr(imported, step, fail)
    with pytest.raises(OutputError, match=r"cannot write the model \(No space left on device\)"):
        imported_from(tmp_path, RTC)
    left = [p.suffix for p in (tmp_path / "out").iterdir()]
    assert left == ([".onnx"] if step == "second rename" else [])
    assert renamed in ([], [".onnx"], [".onnx", ".toml"]), "the card comes last"


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write the model"):
        imported_from(tmp_path, RTC)


def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.pth"))
    torch.save(RTC, tmp_path / "a.pth")
    (tmp_path / "a.pth").rename(path)
    assert "imported from ?" in load_card(import_checkpoint(path, tmp_path).card).training.text


def test_refusals_are_of_one_tree() -> None:
    assert issubclass(WeightsError, VidsrError)
    assert WeightsError.exit_code == 1
