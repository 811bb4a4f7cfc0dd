"""An engine's key: every ingredient counts, and people recognise the file."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from fake_engines import PLACE

from vidsr.backends.engine_key import EngineKey, Place, shapes_of
from vidsr.frame import PixelFormat
from vidsr.models import FrameFormat, deploy, find_model

KEY = EngineKey.at(PLACE, model="2x-ecbsr-m4c16", graph="a" * 64, shapes="960x540", precision="fp16")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(EngineKey)])
def test_each_ingredient_changes_the_name(field: str) -> None:
    other = dataclasses.replace(KEY, **{field: getattr(KEY, field) + "1"})
    assert other.name != KEY.name
    assert other.digest != KEY.digest
    assert dataclasses.replace(other, **{field: getattr(KEY, field)}).name == KEY.name


def test_parts_do_not_run_into_each_other() -> None:
    one = dataclasses.replace(KEY, runtime="tensorrt1", runtime_version="0.1")
    other = dataclasses.replace(KEY, runtime="tensorrt", runtime_version="10.1")
    assert one.name != other.name


def test_the_name_is_readable() -> None:
    assert re.fullmatch(
        r"2x-ecbsr-m4c16_960x540_fp16_tensorrt10\.13\.2_nvidia-test-gpu_[0-9a-f]{12}", KEY.name
    )
    assert KEY.place == PLACE


@pytest.mark.parametrize("device", ["../../etc/passwd", "GPU \n*?[x]", "", "ü" * 300, "G" * 300])
def test_any_device_gives_a_file_name(device: str, tmp_path: Path) -> None:
    place = dataclasses.replace(PLACE, device=device)
    key = EngineKey.at(place, model="m" * 300, graph="g", shapes="s" * 300, precision="p" * 300)
    assert re.fullmatch(r"[a-z0-9._-]+", key.name)
    (tmp_path / f"{key.name}.engine.1234567.partial").touch()


def test_shapes() -> None:
    assert shapes_of([(960, 540)]) == "960x540"
    assert shapes_of([(480, 270), (960, 540), (1920, 1080)]) == "480x270..960x540..1920x1080"


def test_a_place_is_all_that_a_driver_can_change() -> None:
    assert {f.name for f in dataclasses.fields(Place)} < {f.name for f in dataclasses.fields(EngineKey)}


def test_deployed_graphs_tell_their_model() -> None:
    model = find_model("ecbsr", 2)
    deployed = deploy(model, FrameFormat(PixelFormat.parse("gray")), 32, 24)
    assert (deployed.model, deployed.model_sha256) == (model.spec.id, model.sha256)
