"""Which model makes a result, and what is said about it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from vidsr.choice import FINE_QP, HARD_QP, MANY_BITS, Choice, choose_model
from vidsr.errors import ModelError, OptionsError, UnknownModelError
from vidsr.models import load_card, write_card
from vidsr.models.lookup import scales_of
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network, network_card
from vidsr.video.compression import Compression

SOURCE = (640, 480)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ECBSR m1c4 (default) at 2x, 3x and 4x, m2c4 at 2x; a network "any" that works at the target's size."""
    folder = tmp_path_factory.mktemp("engines")
    torch.manual_seed(0)
    for scale, blocks in ((2, 1), (3, 1), (4, 1), (2, 2)):
        network = ECBSR(scale=scale, blocks=blocks, features=4)
        path = export_network(network, folder / f"{scale}x-ecbsr-m{blocks}c4.onnx")
        write_card(network_card(network, path, default=blocks == 1), folder)
    at_target = replace(load_card(folder / "2x-ecbsr-m1c4.toml"), input="target")
    write_card(replace(at_target, id="2x-any", network="any"), folder)
    write_card(replace(at_target, id="2x-ecbsr-as"), folder)
    return folder


def chosen(engines: Path, name: str, scale: str | tuple[int, int]) -> tuple[str, str, str]:
    if isinstance(scale, str):
        target = (int(SOURCE[0] * Fraction(scale)), int(SOURCE[1] * Fraction(scale)))
        label = f"{float(Fraction(scale)):.4g}x"
    else:
        target, label = scale, "x".join(map(str, scale))
    choice = choose_model(name, SOURCE, target, label, folders=[engines])
    return choice.model.spec.id, choice.reason, choice.way


@pytest.mark.parametrize(
    ("scale", "network", "way"),
    [
        ("2", 2, "2x network"),
        ("4", 4, "4x network"),
        ("1.5", 2, "2x network, then down to 1.5x (Lanczos)"),
        ("1.1", 2, "2x network, then down to 1.1x (Lanczos)"),
        ("2.4", 2, "2x network, then up to 2.4x (Lanczos)"),
        # The geometric mean of 2 and 3 is 2.4495.
        ("2.44", 2, "2x network, then up to 2.44x (Lanczos)"),
        ("2.46", 3, "3x network, then down to 2.46x (Lanczos)"),
        ("12", 4, "4x network, then up to 12x (Lanczos)"),
        ((1280, 960), 2, "2x network"),
        ((1600, 1200), 3, "3x network, then down to 1600x1200 (Lanczos)"),
        ((1920, 1080), 3, "3x network, then down to 1920x1080 (Lanczos)"),
        ((1900, 960), 2, "2x network, then up to 1900x960 (Lanczos)"),
        ((1600, 600), 2, "2x network, then up across and down vertically to 1600x600 (Lanczos)"),
        ((700, 1920), 2, "2x network, then down across and up vertically to 700x1920 (Lanczos)"),
    ],
)
def test_the_nearest_scale(engines: Path, scale: str | tuple[int, int], network: int, way: str) -> None:
    for name in ("ecbsr", "ecbsr-m1c4"):
        model, _, told = chosen(engines, name, scale)
        assert (model, told) == (f"{network}x-ecbsr-m1c4", way)


def test_of_two_that_are_equally_near_the_larger_comes_down(engines: Path, tmp_path: Path) -> None:
    for scale in (2, 4):
        for suffix in (".toml", ".onnx"):
            name = f"{scale}x-ecbsr-m1c4{suffix}"
            (tmp_path / name).write_bytes((engines / name).read_bytes())
    # The axes' geometric mean is the root of 8 = 4 * 2: as far from 2 as from 4.
    assert chosen(tmp_path, "ecbsr", (640 * 4, 480 * 2))[0] == "4x-ecbsr-m1c4"


@pytest.mark.parametrize("named", ["2x-ecbsr-m2c4", "file"])
@pytest.mark.parametrize(
    ("scale", "way"),
    [("2", "2x network"), ("3", "2x network, then up to 3x (Lanczos)"), ("1.5", "then down to 1.5x")],
)
def test_what_is_named_is_taken(engines: Path, named: str, scale: str, way: str) -> None:
    name = str(engines / "2x-ecbsr-m2c4.onnx") if named == "file" else named
    model, reason, told = chosen(engines, name, scale)
    assert (model, reason) == ("2x-ecbsr-m2c4", "as it was named")
    assert way in told


def test_reasons(engines: Path) -> None:
    assert chosen(engines, "ecbsr", "3")[1] == "what 'ecbsr' means at 3x"
    assert chosen(engines, "ecbsr", "1.5")[1] == "of 'ecbsr' at 2x, 3x, 4x, 2x is the nearest to 1.5x"
    assert chosen(engines, "ecbsr-m2c4", "3")[1] == "'ecbsr-m2c4' is there at 2x only"


def test_networks_that_work_at_the_target_are_taken_only_when_named(engines: Path) -> None:
    assert scales_of("ecbsr", [engines]) == [2, 3, 4]
    for name, found in (("any", "2x-any"), ("2x-any", "2x-any"), ("ecbsr-as", "2x-ecbsr-as")):
        for scale in ("1.5", "2", "7"):
            model, reason, way = chosen(engines, name, scale)
            assert model == found
            assert reason == ("as it was named" if name == found else f"'{name}' works at any size")
            assert way == f"bicubic up to {scale}x, then a network that works at that size"
    for scale in ("1.5", "2", "7"):
        assert chosen(engines, "ecbsr", scale)[0].startswith(("2x-ecbsr-m1c4", "4x-ecbsr-m1c4"))


def test_the_sources_own_size_is_refused(engines: Path) -> None:
    for name in ("ecbsr", "2x-ecbsr-m1c4", str(engines / "3x-ecbsr-m1c4.onnx")):
        with pytest.raises(OptionsError, match=r"as large as the source, 640x480; ask for a larger --scale"):
            chosen(engines, name, "1")


def test_a_network_that_only_restores_is_taken_at_once_its_size_alone(engines: Path, tmp_path: Path) -> None:
    network = ECBSR(scale=1, blocks=1, features=4)
    path = export_network(network, tmp_path / "1x-ecbsr-m1c4.onnx")
    write_card(network_card(network, path, default=True), tmp_path)
    assert chosen(tmp_path, "ecbsr", "1") == ("1x-ecbsr-m1c4", "what 'ecbsr' means at 1x", "1x network")
    assert chosen(tmp_path, "1x-ecbsr-m1c4", "1")[2] == "1x network"
    assert chosen(tmp_path, "ecbsr", "1.2")[2] == "1x network, then up to 1.2x (Lanczos)"
    for suffix in (".toml", ".onnx"):
        (tmp_path / f"2x-ecbsr-m1c4{suffix}").write_bytes((engines / f"2x-ecbsr-m1c4{suffix}").read_bytes())
    assert chosen(tmp_path, "ecbsr", "1.2")[0] == "2x-ecbsr-m1c4"


def test_unknown_names(engines: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no model 'espcn' at scale 2; there are: 2x-any"):
        chosen(engines, "espcn", "1.5")
    with pytest.raises(UnknownModelError, match="did you mean"):
        chosen(engines, "ecbs", "1.5")
    with pytest.raises(ModelError, match="no such model file"):
        chosen(engines, str(tmp_path / "no.onnx"), "1.5")
    with pytest.raises(OptionsError, match=r"--model-range is for an \.onnx file"):
        choose_model("ecbsr", SOURCE, (960, 720), "1.5x", value_range=255, folders=[engines])


def test_several_defaults_are_asked_about(engines: Path, tmp_path: Path) -> None:
    for name in ("2x-ecbsr-m1c4", "2x-ecbsr-m2c4"):
        write_card(replace(load_card(engines / f"{name}.toml"), default=False), tmp_path)
    with pytest.raises(UnknownModelError, match="could be any of 2x-ecbsr-m1c4, 2x-ecbsr-m2c4; name one"):
        chosen(tmp_path, "ecbsr", "1.5")


@pytest.mark.parametrize(
    ("compression", "model", "said"),
    [
        (Compression("h264", 27.0, 0.1, "decoder"), "2x-ecbsr-m1c4-video", "h264 at QP 27"),
        (Compression("h264", HARD_QP, 0.3, "decoder"), "2x-ecbsr-m1c4-video", "h264"),
        (Compression("h264", HARD_QP - 1, None, "decoder"), "2x-ecbsr-m1c4", "as good as clean"),
        (Compression("h264", FINE_QP, 0.3, "decoder"), "2x-ecbsr-m1c4-video", "h264"),
        (Compression("h264", FINE_QP - 1, 0.3, "decoder"), "2x-ecbsr-m1c4", "as good as clean"),
        (Compression("h264", 24.0, MANY_BITS["h264"], "decoder"), "2x-ecbsr-m1c4", "enough for a clean"),
        (Compression("vp9", HARD_QP, 2.0, "decoder"), "2x-ecbsr-m1c4-video", "vp9"),
        (Compression("vp9", HARD_QP - 1, 0.1, "decoder"), "2x-ecbsr-m1c4", "as good as clean"),
        (Compression("wmv3", None, 0.1, "unknown"), "2x-ecbsr-m1c4-video", "quality not known"),
        (Compression("ffv1", None, 9.0, "lossless"), "2x-ecbsr-m1c4", "lossless"),
        (None, "2x-ecbsr-m1c4", "nothing is known"),
    ],
)
def test_auto_looks_at_the_source(
    engines: Path, tmp_path: Path, compression: Compression | None, model: str, said: str
) -> None:
    shutil.copytree(engines, tmp_path, dirs_exist_ok=True)
    card = load_card(engines / "2x-ecbsr-m1c4.toml")
    write_card(replace(card, id="2x-ecbsr-m1c4-video", kind="video"), tmp_path)

    def choose(name: str, scale: int) -> Choice:
        target = (SOURCE[0] * scale, SOURCE[1] * scale)
        look = None if compression is None else lambda: compression
        return choose_model(name, SOURCE, target, f"{scale}x", folders=[tmp_path], look=look)

    choice = choose("auto", 2)
    assert choice.model.spec.id == model
    assert said in choice.reason
    # A bare network never looks, and where there is no such variant it is said.
    assert choose("ecbsr", 2).model.spec.id == "2x-ecbsr-m1c4"
    # The kind comes before the scale.
    other = choose("auto", 3)
    if model.endswith("video"):
        assert (other.model.spec.id, other.way) == (model, "2x network, then up to 3x (Lanczos)")
        assert "'ecbsr' for compressed video is there at 2x only" in other.reason
    else:
        assert (other.model.spec.id, other.way) == ("3x-ecbsr-m1c4", "3x network")
    (tmp_path / "2x-ecbsr-m1c4-video.toml").unlink()
    lacking = choose("auto", 3)
    assert lacking.model.spec.id == "3x-ecbsr-m1c4"
    assert ("but there is no video model" in lacking.reason) == model.endswith("video")
