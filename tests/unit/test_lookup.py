"""Models are found by network, variant, id and path, and cards are believed only as far as files agree."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidsr.errors import ModelError, UnknownModelError, WeightsError
from vidsr.models import ModelFile, ModelSpec, find_model, list_models, load_card, write_card
from vidsr.models.card import Training, TrainingSource
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network, network_card


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2x m1c4 (default), 2x m2c4, 3x m1c4."""
    folder = tmp_path_factory.mktemp("engines")
    for scale, blocks in ((2, 1), (2, 2), (3, 1)):
        torch.manual_seed(0)
        network = ECBSR(scale=scale, blocks=blocks, features=4)
        path = export_network(network, folder / f"{scale}x-ecbsr-m{blocks}c4.onnx")
        sources = (TrainingSource("train/photos", "CC0-1.0"),)
        write_card(
            network_card(
                network,
                path,
                default=blocks == 1,
                license="Apache-2.0",
                training=Training("Two steps.", sources),
                quality={"set5": {"psnr_y_float": 37.0}},
            ),
            folder,
        )
    return folder


@pytest.mark.parametrize(
    ("name", "scale", "found"),
    [
        ("ecbsr", 2, "2x-ecbsr-m1c4"),
        ("ecbsr", 3, "3x-ecbsr-m1c4"),
        ("ecbsr-m2c4", 2, "2x-ecbsr-m2c4"),
        ("2x-ecbsr-m2c4", 2, "2x-ecbsr-m2c4"),
    ],
)
def test_names(engines: Path, name: str, scale: int, found: str) -> None:
    model = find_model(name, scale, [engines])
    assert model.spec.id == found
    assert model.proto.graph.node


def test_list_is_sorted_and_the_first_folder_wins(engines: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(load_card(engines / "2x-ecbsr-m1c4.toml"), description="mine")
    write_card(spec, tmp_path)
    models = list_models([tmp_path, engines])
    assert [m.spec.id for m in models] == ["2x-ecbsr-m1c4", "2x-ecbsr-m2c4", "3x-ecbsr-m1c4"]
    assert (models[0].spec.description, models[0].path.parent) == ("mine", tmp_path)


def test_cards_come_back_as_they_were(engines: Path, tmp_path: Path) -> None:
    spec = load_card(engines / "2x-ecbsr-m1c4.toml")
    assert spec.quality == {"set5": {"psnr_y_float": 37.0}}
    assert spec.training.sources[0].licence == "CC0-1.0"
    assert load_card(write_card(spec, tmp_path)) == spec


@pytest.mark.parametrize(
    ("name", "scale", "words"),
    [
        ("ecbs", 2, "did you mean"),
        ("ecbsr", 4, "exists at scale 2, 3"),
        ("rfdn", 2, "there are: 2x-ecbsr-m1c4"),
    ],
)
def test_unknown_names_list_what_there_is(engines: Path, name: str, scale: int, words: str) -> None:
    with pytest.raises(UnknownModelError, match=words) as caught:
        find_model(name, scale, [engines])
    assert "2x-ecbsr-m2c4" in str(caught.value)


def test_no_models_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"give the path of an \.onnx file"):
        find_model("ecbsr", 2, [tmp_path])


def test_no_default_is_asked_about(engines: Path, tmp_path: Path) -> None:
    for blocks in (1, 2):
        spec = load_card(engines / f"2x-ecbsr-m{blocks}c4.toml")
        write_card(dataclasses.replace(spec, default=False), tmp_path)
    with pytest.raises(UnknownModelError, match="could be any of"):
        find_model("ecbsr", 2, [tmp_path])


def test_a_file_without_a_card(engines: Path, tmp_path: Path) -> None:
    path = tmp_path / "My model (v2).onnx"
    path.write_bytes((engines / "3x-ecbsr-m1c4.onnx").read_bytes())
    spec = find_model(str(path), 3).spec
    assert (spec.id, spec.channels, spec.scale, spec.halo, spec.tiling) == (
        "3x-my_model_v2",
        1,
        3,
        3,
        "exact",
    )
    with pytest.raises(ModelError, match="enlarges 3 times, not 2"):
        find_model(str(path), 2)


def test_a_file_with_its_card(engines: Path) -> None:
    assert find_model(str(engines / "2x-ecbsr-m2c4.onnx"), 2).spec.license == "Apache-2.0"


def test_a_missing_file_is_no_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file") as caught:
        find_model(str(tmp_path / "no.onnx"), 2)
    assert not isinstance(caught.value, UnknownModelError)


def test_another_file_than_the_cards(engines: Path, tmp_path: Path) -> None:
    for name in ("2x-ecbsr-m1c4.toml", "2x-ecbsr-m1c4.onnx"):
        (tmp_path / name).write_bytes((engines / name).read_bytes())
    with (tmp_path / "2x-ecbsr-m1c4.onnx").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    model = find_model("ecbsr", 2, [tmp_path])
    with pytest.raises(WeightsError, match="sha256"):
        _ = model.proto


def test_a_card_that_lies(engines: Path, tmp_path: Path) -> None:
    spec = load_card(engines / "2x-ecbsr-m1c4.toml")
    (tmp_path / spec.files["f32"].name).write_bytes((engines / spec.files["f32"].name).read_bytes())
    write_card(dataclasses.replace(spec, channels=3), tmp_path)
    with pytest.raises(ModelError, match="its card says 3 and 2"):
        _ = find_model("ecbsr", 2, [tmp_path]).proto


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": 2}, "'channels' must be 1 or 3"),
        ({"id": "ecbsr"}, "'id' must look like"),
        ({"scale": 3}, "scale and network make it"),
        ({"files": {}}, "must have an entry 'f32'"),
        ({"halo": -1}, "out of range"),
    ],
)
def test_wrong_cards(engines: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(load_card(engines / "2x-ecbsr-m1c4.toml"), **change)


def test_cards_are_strict(engines: Path, tmp_path: Path) -> None:
    text = (engines / "2x-ecbsr-m1c4.toml").read_text()
    path = tmp_path / "a.toml"
    path.write_text(text.replace("halo =", "halos ="))
    with pytest.raises(ModelError, match=r"unknown key 'halos'; did you mean 'halo'\?"):
        load_card(path)


@pytest.mark.parametrize("name", ["../x.onnx", "/etc/x.onnx", "x.onnx/..", ".onnx", "a/b.onnx"])
def test_files_stay_beside_their_card(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        ModelFile(name, "0" * 64)


def test_variant() -> None:
    spec = ModelSpec(
        id="2x-ecbsr-m4c16-video",
        network="ecbsr",
        scale=2,
        channels=1,
        halo=6,
        files={"f32": ModelFile("a.onnx", "0" * 64)},
    )
    assert spec.variant == "m4c16-video"


def test_importing_the_rooms_loads_no_heavy_library() -> None:
    code = (
        "import sys, vidsr.models, vidsr.backends, vidsr.backends.openvino, vidsr.backends.nearest\n"
        "print(sorted({'onnx', 'openvino', 'torch', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
