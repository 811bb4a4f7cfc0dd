"""``vidsr engines``: building, listing, verifying, pruning; and a machine without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_engines
import pytest
from fake_engines import ABOUT, GATE, PLACE, FakeBackend, builds
from spent import seconds_of_children

from vidsr.backends import ahead
from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import EngineKey
from vidsr.backends.engine_recipe import EngineRecipe, WantedEngines, find_recipe, load_recipe, parse_range
from vidsr.cli import _run
from vidsr.errors import OptionsError
from vidsr.models.lookup import find_model

RECIPES = sorted((Path(__file__).parents[2] / "engines" / "recipes").glob("*.toml"))
SMALL = ["--size", "32x24", "--backend", "fake"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and the fake backend alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ahead, "AHEAD", {"fake": "fake_engines"})
    monkeypatch.setattr(fake_engines, "BACKEND", FakeBackend())
    return tmp_path / "vidsr"


def said(capfd: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert _run(["engines", *words]) == code
    out, err = capfd.readouterr()
    return out, err


def listed(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, _ = said(capfd, "list", "--json")
    found: list[dict[str, object]] = json.loads(out)["engines"]
    return found


def test_build_then_list(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = said(capfd, "build", "ecbsr", *SMALL, "--size", "48x32", "--pix-fmt", "gray")
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("2x-ecbsr-m4c16 32x24 gray: built in ")
    assert "61.5 dB against nothing; 2x-ecbsr-m4c16_32x24_" in lines[0]
    assert "vidsr:" not in err
    assert len(builds(home)) == 2
    out, _ = said(capfd, "build", "ecbsr", *SMALL, "--pix-fmt", "gray")
    assert "32x24 gray: was there, 61.5 dB" in out
    assert len(builds(home)) == 2
    out, _ = said(capfd, "build", "ecbsr", *SMALL, "--pix-fmt", "gray", "--again", "--no-progress")
    assert "built in" in out
    assert len(builds(home)) == 3
    entries = listed(capfd)
    assert [(e["state"], e["reason"]) for e in entries] == [("good", "")] * 2
    record = entries[0]["record"]
    assert record["key"]["driver"] == "550.54"  # type: ignore[index]
    assert record["about"]["model_sha256"] == find_model("ecbsr", 2).sha256  # type: ignore[index]
    out, _ = said(capfd, "list")
    assert "2x-ecbsr-m4c16 32x24 gray auto" not in out
    assert "2x-ecbsr-m4c16 32x24 gray fp16: NVIDIA Test GPU (sm 9.0), tensorrt 10.13.2, driver 550.54" in out
    assert out.splitlines()[-1] == f"2 in {home / 'engines'}"


def test_a_range_of_sizes(capfd: pytest.CaptureFixture[str]) -> None:
    said(capfd, "build", "ecbsr", "--dynamic", "32x24,48x32,64x64", "--backend", "fake")
    (entry,) = listed(capfd)
    assert entry["record"]["key"]["shapes"] == "32x24..48x32..64x64"  # type: ignore[index]


def test_a_recipe(tmp_path: Path, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "fleet.toml"
    recipe.write_text(
        'backend = "fake"\n[[engines]]\nmodel = "ecbsr"\nscale = 2\nsizes = ["32x24", "64x36", "40x24"]\n'
        '[[engines]]\nmodel = "ecbsr"\nscale = 3\nsizes = ["32x24"]\nformats = ["gray", "yuv420p10le"]\n'
    )
    out, err = said(capfd, "build", str(recipe), "--no-progress", code=1)
    assert len(out.splitlines()) == 4
    assert err == "vidsr: 2x-ecbsr-m4c16 64x36 yuv420p: layer conv is not supported; leave it out\n"
    assert "3x-ecbsr-m4c16 32x24 yuv420p10le: built" in out
    assert len(builds(home)) == 5


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["ecbsr", *SMALL[2:]], "'sizes' or 'dynamic' is needed for ecbsr", 2),
        (["ecbsr", *SMALL, "--size", "0x24"], "a size is like 960x540, not '0x24'", 2),
        (["ecbsr", *SMALL, "--dynamic", "64x64,32x32,80x80"], "least to most", 2),
        (["ecbsr", *SMALL, "--pix-fmt", "nv12"], "nv12 is not a planar", 2),
        (["ecbsr", *SMALL, "--chroma-location", "middle"], "'engines[0].chroma_location' must be", 2),
        (["esrgan", *SMALL], "no model 'esrgan' at scale 2", 2),
        (["ecbsr", "--size", "32x24", "--backend", "openvino"], "keeps no engines; these do: fake", 2),
        (["ecbsr", "live.toml"], "cannot be mixed", 2),
        (["live.toml", "--scale", "3"], "a recipe says this itself: scale", 2),
        (["nothing.toml"], "nothing.toml: cannot read", 2),
    ],
)
def test_wrong_words(words: list[str], message: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = said(capfd, "build", *words, code=code)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'engines' is missing"),
        ("engines = []", "'engines' is empty"),
        ("[[engines]]\nmodel = 'x'\nsize = ['1x1']", "unknown key 'engines[0].size'; did you mean 'sizes'?"),
        ("[[engines]]\nmodel = 'x'\nsizes = []", "'sizes' or 'dynamic' is needed for x"),
        ("[[engines]]\nmodel = 'x'\nsizes = ['1x1']\nscale = '2'", "'engines[0].scale' must be a whole"),
        ("[[engines]]\nmodel = 'x'\nsizes = ['1x1']\nformats = []", "'formats' is empty for x"),
        ("[[engines]", "cannot read this TOML file"),
    ],
)
def test_wrong_recipes(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(OptionsError) as caught:
        load_recipe(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes_that_vidsr_brings(path: Path) -> None:
    recipe = load_recipe(path)
    assert find_recipe(path.name) == path
    for wanted in recipe.engines:
        assert find_model(wanted.model, wanted.scale).spec.scale == wanted.scale
        for frame_format, sizes in wanted.each():
            assert frame_format.pixel_format.name in wanted.formats
            assert len(sizes) in (1, 3)


def test_there_are_recipes() -> None:
    assert {path.name for path in RECIPES} == {"1080p.toml", "live.toml"}
    assert parse_range("1x2, 3x4, 3x5") == ((1, 2), (3, 4), (3, 5))
    assert EngineRecipe(engines=(WantedEngines(model="x", sizes=("2x2",)),)).backend == "tensorrt"


def keep(model: str, **place: str) -> EngineKey:
    """Keep an engine of a model's present file, made for another place."""
    key = EngineKey.at(
        replace(PLACE, **place), model=model, graph="a" * 64, shapes="960x540", precision="fp16"
    )
    cache = EngineCache()
    with cache.building(key):
        cache.put(key, b"engine", GATE, replace(ABOUT, model_sha256=find_model("ecbsr", 2).sha256))
    return key


def test_verify_and_prune(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good, old, damaged = keep("2x-ecbsr-m4c16"), keep("2x-ecbsr-m4c16", driver="1.0"), keep("2x-ecbsr-m4c8")
    other, away = keep("2x-ecbsr-m10c16"), keep("2x-ecbsr-m4c16", device="Another GPU")
    assert "5 of 5 engines are whole" in said(capfd, "verify")[0]
    file = home / "engines" / f"{damaged.name}.engine"
    file.write_bytes(b"enginE")
    out, _ = said(capfd, "verify", code=1)
    assert out == f"{damaged.name}: its bytes are not those of its record\n4 of 5 engines are whole\n"
    states = {str(e["name"]): e["state"] for e in listed(capfd)}
    assert states[good.name] == states[away.name] == "good"
    assert states[old.name] == states[other.name] == "stale"
    out, _ = said(capfd, "prune")
    assert f"{old.name}: the driver was 1.0, is 550.54" in out
    assert f"{other.name}: the installed 2x-ecbsr-m10c16 is another by now" in out
    assert out.endswith("nothing removed; add --yes\n")
    assert len(listed(capfd)) == 5
    with EngineCache().building(damaged):
        assert "stays: somebody is building it" in said(capfd, "prune", "--yes")[0]
    found = json.loads(said(capfd, "prune", "--yes", "--json")[0])
    assert [(e["name"], e["removed"]) for e in found["engines"]] == [(damaged.name, True)]
    assert found["freed_bytes"] == 6
    assert {e["name"] for e in listed(capfd)} == {good.name, away.name}
    assert said(capfd, "prune", "--yes")[0] == "there is nothing to prune\n"
    assert "removed 2: " in said(capfd, "prune", "--yes", "--older", "0")[0]
    assert listed(capfd) == []


def test_without_a_driver(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key = keep("2x-ecbsr-m4c16", driver="1.0")
    fake_engines.BACKEND.usable = False
    out, err = said(capfd, "build", "ecbsr", *SMALL, code=1)
    assert out == ""
    assert err == (
        "vidsr: engines of fake cannot be built here: there is no driver;"
        " build them on a machine with the GPU that they are for\n"
    )
    assert not (home / "journal").exists()
    # What the driver is cannot be known: nothing is stale, and what is damaged is seen all the same.
    assert [(e["name"], e["state"]) for e in listed(capfd)] == [(key.name, "good")]
    assert said(capfd, "prune", "--yes")[0] == "there is nothing to prune\n"


@pytest.mark.clock
@pytest.mark.parametrize("words", [["ecbsr", "--size", "960x540"], ["live.toml"]])
def test_this_machine_in_one_line_and_fast(words: list[str]) -> None:
    """The real backend: where it cannot be used, it says so at once."""
    code = (
        "from vidsr.backends.ahead import ahead_backend as get; print(get('tensorrt').availability().usable)"
    )
    usable = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if usable.stdout.strip() == "True":
        pytest.skip("TensorRT can be used here; see tests/gpu")
    before = seconds_of_children()
    done = subprocess.run(
        [sys.executable, "-m", "vidsr", "engines", "build", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert seconds_of_children() - before < 3
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("vidsr: ")
