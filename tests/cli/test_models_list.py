"""``vidsr models list``: figures that are the files' and the cards' own, at any width."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from vidsr.cli import _run, listing
from vidsr.cli.listing import entry_of, table
from vidsr.models import lookup
from vidsr.models.card import ModelFile, load_card, write_card
from vidsr.models.lookup import list_models

ENGINES = Path(__file__).parents[2] / "engines"
ID = "2x-ecbsr-m4c16"


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models: a whole one, one without figures, one whose file is damaged."""
    spec = load_card(ENGINES / f"{ID}.toml")
    spec = replace(spec, files={**spec.files, "int8": ModelFile(f"{ID}.int8.onnx", "0" * 64)})
    file = tmp_path / f"{ID}.onnx"
    shutil.copy(ENGINES / file.name, file)
    quality = {"set5": {"psnr_y_float": 37.125}, "set14": {"psnr_y_float": 32.6}}
    write_card(replace(spec, quality=quality, description="as it should be"), tmp_path)
    write_card(replace(spec, id="2x-ecbsr-new", default=False, quality={}), tmp_path)
    broken = {"f32": replace(spec.files["f32"], name="broken.onnx")}
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    write_card(replace(spec, id="2x-ecbsr-broken", default=False, files=broken), tmp_path)
    monkeypatch.setattr(lookup, "engine_folders", lambda: [tmp_path])
    return tmp_path


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _run(["models", "list", *arguments]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


@pytest.mark.usefixtures("engines")
def test_a_line_a_model(capfd: pytest.CaptureFixture[str]) -> None:
    lines = printed(capfd).splitlines()
    heads = "model scale kind parameters file kMAC/px speed int8 Set5 Set14 description"
    assert lines[0].split() == heads.split()
    by_id = {name: line for line in lines[1:] for name in re.findall(r"\S*x-\S+", line)[:1]}
    cells = re.split(r"  +", by_id[ID].removeprefix("* "))
    assert cells == [
        ID, "2x", "clean", "10,100", "42 kB", "9.9", "real time", "yes", "37.12", "32.60", "as it should be",
    ]  # fmt: skip
    assert by_id[ID].startswith("* ")
    assert by_id["2x-ecbsr-new"].startswith("  2x")
    assert re.search(r"real time +yes +- +- +ECBSR", by_id["2x-ecbsr-new"])
    assert re.search(r"clean +- +0 kB +- +- +", by_id["2x-ecbsr-broken"])


@pytest.mark.usefixtures("engines")
def test_json_has_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    found = {entry["id"]: entry for entry in json.loads(printed(capfd, "--json"))}
    whole, broken = found[ID], found["2x-ecbsr-broken"]
    assert (whole["parameters"], whole["kmac_per_pixel"], whole["speed"]) == (10_100, 9.936, "real time")
    assert whole["file_bytes"] == (ENGINES / f"{ID}.onnx").stat().st_size
    assert whole["quality"]["set5"]["psnr_y_float"] == 37.125
    assert [broken[key] for key in ("parameters", "kmac_per_pixel", "speed")] == [None] * 3


@pytest.mark.parametrize("width", [34, 40, 60, 80, 100, 120, 200])
def test_narrow_terminals(
    engines: Path, width: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "terminal_width", lambda: width)
    lines = printed(capfd).splitlines()[:-1]
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for word in (ID, "10,100", "37.12", "32.60", "real time", "as it should be"):
        assert word in text, f"{word} at {width}"
    assert table([entry_of(m) for m in list_models([engines])], None).count("\n") == 3


@pytest.mark.usefixtures("engines")
def test_listing_loads_no_runtime() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from vidsr.cli import _run; _run(['models', 'list']);"
        "print(*{'av', 'openvino', 'torch'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
