"""``vidsr models import`` as a stranger uses it."""

from __future__ import annotations

import builtins
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from synth import make_clip

from vidsr.cli import _run
from vidsr.models.card import load_card
from vidsr.networks.imdn import IMDNRTC
from vidsr.networks.imdn_as import IMDNAS

ENGINES = Path(__file__).parents[2] / "engines"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("theirs") / "my net.pth"
    torch.save({"state_dict": IMDNRTC(blocks=1, features=4).state_dict()}, path)
    return path


def test_import_then_upscale(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my models"
    assert _run(["models", "import", str(checkpoint), "-o", str(folder), "--license", "MIT"]) == 0
    out, err = capfd.readouterr()
    card, model = folder / "2x-imdn-rtc-b1f4-rgb.toml", folder / "2x-imdn-rtc-b1f4-rgb.onnx"
    assert err == ""
    assert out.splitlines() == [
        str(card),
        "2x-imdn-rtc-b1f4-rgb: IMDN_RTC, 1 blocks of 4 channels, RGB, imported, 996 weights",
        "values 0..1 assumed: its names are those of networks that vidsr trained; --range says otherwise",
        f"use it: vidsr upscale clip.mp4 --scale 2 --model '{model}'",
    ]
    assert load_card(card).license == "MIT"
    source = make_clip(tmp_path / "in.mp4", times=2, size=(32, 24))
    assert _run(["upscale", str(source), "-m", str(model), "--no-progress"]) == 0
    assert "32x24 to 64x48, 2 frames" in capfd.readouterr().out
    assert _run(["models", "show", str(model)]) == 0


def test_a_network_for_any_scale(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save(IMDNAS(blocks=1, features=16).state_dict(), tmp_path / "as.pth")
    assert _run(["models", "import", str(tmp_path / "as.pth"), "-o", str(tmp_path), "--name", "any"]) == 0
    assert "--scale 1.5 --model" in capfd.readouterr().out
    source = make_clip(tmp_path / "in.mp4", times=2, size=(34, 26))
    model = str(tmp_path / "1x-imdn-any.onnx")
    for options, size in ((["--scale", "1.5"], "52x40"), (["--size", "70x"], "70x54")):
        for tile in ("auto", "0"):
            arguments = ["upscale", str(source), "-o", "null:", "-m", model, *options, "--tile", tile]
            assert _run([*arguments, "--no-progress"]) == 0
            assert f"34x26 to {size}, 2 frames" in capfd.readouterr().out


def test_the_folder_is_the_current_one(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(["models", "import", str(checkpoint), "--range", "255", "--kind", "video"]) == 0
    assert capfd.readouterr().out.splitlines()[2] == "values 0..255, as asked for"
    assert sorted(os.listdir(tmp_path)) == ["2x-imdn-rtc-b1f4-rgb.onnx", "2x-imdn-rtc-b1f4-rgb.toml"]  # noqa: PTH208
    assert load_card(tmp_path / "2x-imdn-rtc-b1f4-rgb.toml").kind == "video"
    assert _run(["models", "import", str(checkpoint)]) == 2
    assert "2x-imdn-rtc-b1f4-rgb.onnx: this file exists; add --overwrite" in capfd.readouterr().err
    assert _run(["models", "import", str(checkpoint), "-y"]) == 0


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def refused(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 1) -> str:
    assert _run(["models", "import", *map(str, arguments)]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("vidsr: ")
    assert err.count("\n") == 1
    return err


def test_files_that_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 1, nothing run and nothing written."""
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "code.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol=2))
    (bad / "empty.pth").touch()
    shutil.copy(ENGINES / "2x-ecbsr-m4c16.onnx", bad / "model.onnx")
    torch.save({"a.weight": torch.ones(3, 3)}, bad / "other.pth")
    torch.save({"a.weight": torch.tensor([torch.nan])}, bad / "nan.pth")
    out = tmp_path / "out"
    for name, words in {
        "code.pth": "; ",
        "empty.pth": "this file is empty; ",
        "missing.pth": "there is no such file; check the path",
        "model.onnx": "this is an ONNX file, not a checkpoint; it needs no import: --model takes it as it is",
        "other.pth": "none of the networks that vidsr knows",
        "nan.pth": "'a.weight' has weights that are not finite numbers",
        "": "this is no file; name the checkpoint itself",
    }.items():
        line = refused(capfd, bad / name, "-o", out)
        assert line.startswith(f"vidsr: {bad / name}: ")
        assert words in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--range", "100"], "--range takes auto, 1, 255, not '100'"),
        (["--kind", "noisy"], "--kind takes clean, video, not 'noisy'"),
        (["--name", "../up"], "'../up' cannot be part of a model's name"),
    ],
)
def test_options_that_cannot_be(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in refused(capfd, checkpoint, "-o", tmp_path / "out", *options, code=2)
    assert list(tmp_path.iterdir()) == []


def test_without_torch(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    there = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return there(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert "torch is not installed; pip install 'vidsr[train]'" in refused(capfd, checkpoint)
