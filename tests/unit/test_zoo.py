"""The rules that every model in engines/ keeps, whatever is in there."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

from vidsr.choice import AUTO_NETWORK
from vidsr.evaluation.gate import CLIPS, MOST_LOST, PICTURES
from vidsr.models.card import ModelSpec
from vidsr.models.cost import cost_of
from vidsr.models.lookup import Model, find_model, list_models
from vidsr.training import recipe as recipe_module
from vidsr.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "engines"
RECIPES = Path(recipe_module.__file__).with_name("recipes")
MODELS = list_models([ENGINES])

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: m.spec.id)


def by_what(models: list[Model], *fields: str) -> dict[tuple[object, ...], list[Model]]:
    """Return the models in groups of equal fields of their cards."""

    def key(model: Model) -> tuple[object, ...]:
        return tuple(getattr(model.spec, field) for field in fields)

    return {what: list(group) for what, group in groupby(sorted(models, key=key), key)}


def recipe_of(spec: ModelSpec) -> Recipe:
    return Recipe.load(RECIPES / f"{spec.id}.toml")


def test_files_and_cards_belong_together() -> None:
    assert MODELS
    named = {file.name for m in MODELS for file in m.spec.files.values()}
    assert {p.name for p in ENGINES.glob("*.onnx")} == named
    assert {p.stem for p in ENGINES.glob("*.toml")} == {m.spec.id for m in MODELS}


@every_model
def test_the_file_is_the_card_s(model: Model) -> None:
    assert set(model.spec.files) <= {"f32", "int8"}
    assert model.path == ENGINES / f"{model.spec.id}.onnx"
    assert model.proto.graph.node  # read against the card's digest, channels and scale


@pytest.mark.parametrize("model", [m for m in MODELS if m.offers("int8")], ids=lambda m: m.spec.id)
def test_int8_is_offered_only_where_it_loses_little(model: Model) -> None:
    int8 = model.at("int8")
    assert int8.file == ENGINES / f"{model.spec.id}.int8.onnx"
    kinds = [node.op_type for node in int8.proto.graph.node]  # read against the card's digest
    assert 0 < kinds.count("QuantizeLinear") < kinds.count("Conv")
    figures = {k.removeprefix("int8/"): v for k, v in model.spec.quality.items() if k.startswith("int8/")}
    assert list(figures) == [*PICTURES, *(clip.stem.lower() for clip in CLIPS)]
    for name, measured in figures.items():
        assert measured["psnr_y_lost"] <= MOST_LOST, name
        assert measured["psnr_y_f32"] - measured["psnr_y"] == pytest.approx(measured["psnr_y_lost"], abs=2e-3)
    for name in PICTURES:  # of this very f32 file
        assert figures[name]["psnr_y_f32"] == pytest.approx(
            model.spec.quality[name]["psnr_y_float"], abs=2e-3
        )


def test_every_family_has_one_default_for_each_kind_of_source() -> None:
    for (network, scale), models in by_what(MODELS, "network", "scale").items():
        defaults = [m.spec for m in models if m.spec.default]
        kinds = [spec.kind for spec in defaults]
        assert kinds.count("clean") == 1, f"{network} at {scale}x: {[s.id for s in defaults]}"
        assert kinds.count("video") <= 1, f"{network} at {scale}x: {[s.id for s in defaults]}"
        # What the rule is for: the name alone is enough.
        for spec in defaults:
            assert find_model(str(network), int(str(scale)), [ENGINES], kind=spec.kind).spec == spec
    assert AUTO_NETWORK in {m.spec.network for m in MODELS}


@pytest.mark.parametrize("pictures", ["set5", "set14"])
def test_who_computes_more_is_not_worse(pictures: str) -> None:
    """Smaller is what multiplies less, not what has fewer parameters: time is what a user pays with.

    Files are small beside the frames, and parameters that work on few samples, as attention's, cost nothing.
    """
    for what, models in by_what(MODELS, "scale", "kind").items():
        scored = [(cost_of(m).kmac, m.spec.quality[pictures]["psnr_y_float"], m.spec.id) for m in models]
        for kmac, psnr, name in scored:
            cheaper = [(p, n) for k, p, n in scored if k < kmac]
            best, better = max(cheaper, default=(0.0, ""))
            assert psnr >= best, f"{what}: {name} {psnr} dB at {kmac} kMAC is below {better} {best} dB"


@every_model
def test_the_card_says_what_it_was_trained_on(model: Model) -> None:
    spec = model.spec
    assert spec.license == "Apache-2.0"
    assert spec.training.sources
    notice = " ".join((ROOT / "NOTICE").read_text("utf-8").split())
    for source in spec.training.sources:
        assert source.folder
        licence, _, sets = source.licence.partition(" (")
        assert licence
        assert sets, f"{source.licence}: not clear what is under this licence"
        for name in sets.removesuffix(")").split(", "):
            assert name in notice, f"NOTICE does not name {name}"


@every_model
def test_the_card_has_its_figures(model: Model) -> None:
    quality = model.spec.quality
    for name in ("set5", "set14"):
        assert {"psnr_y_bicubic", "psnr_y_float", "ssim_y_float", "psnr_y_planes"} <= quality[name].keys()
        assert quality[name]["psnr_y_float"] > quality[name]["psnr_y_bicubic"]
    if model.spec.kind == "video":
        clips = [name.split("/") for name in quality if name.startswith("video/")]
        assert len({clip for _, clip, _ in clips}) >= 5
        assert {"uncompressed", "crf23", "crf28"} <= {point for _, _, point in clips}


@every_model
def test_its_recipe_is_here(model: Model) -> None:
    spec, recipe = model.spec, recipe_of(model.spec)
    found = re.search(r"recipe digest ([0-9a-f]{16})$", spec.training.text)
    assert found, f"{spec.training.text!r} names no recipe"
    assert found[1] == recipe.digest[:16], f"{spec.id} was made from another recipe than the one shipped"


@every_model
def test_card_and_recipe_agree(model: Model) -> None:
    spec, recipe = model.spec, recipe_of(model.spec)
    assert (spec.scale, spec.channels, spec.kind, spec.default) == (
        recipe.model.scale, recipe.model.channels, recipe.data.degradation, recipe.model.default,
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_says_what_its_model_is_measured_on(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.evaluation.pictures == (Path("eval/Set5/HR"), Path("eval/Set14/HR"))
    assert len(recipe.evaluation.clips) == (5 if recipe.data.degradation == "video" else 0)
    if recipe.model.start:
        assert (RECIPES / f"{recipe.model.start}.toml").is_file()


def test_recipes_name_one_default_a_family_scale_and_kind() -> None:
    recipes = {path.stem: Recipe.load(path) for path in RECIPES.glob("*.toml")}
    defaults = [
        (r.model.network.split("-")[0], r.model.scale, r.data.degradation)
        for r in recipes.values()
        if r.model.default
    ]
    assert len(defaults) == len(set(defaults))
    clean = {(n, s, "clean") for n in ("ecbsr", "rfdn", "imdn") for s in (2, 3, 4)}
    assert set(defaults) == clean | {("ecbsr", s, "video") for s in (2, 3, 4)}


def test_clips_that_recipes_name_are_there(data: Path) -> None:
    for path in RECIPES.glob("*.toml"):
        evaluation = Recipe.load(path).evaluation
        assert all((data / folder).is_dir() for folder in evaluation.pictures), path.stem
        assert all((data / clip).is_file() for clip in evaluation.clips), path.stem
