"""Manifests, and which of several values for an option counts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vidsr.batch.manifest import job_options, load_manifest, merge
from vidsr.errors import OptionsError


def write(folder: Path, text: str) -> Path:
    path = folder / "jobs.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_and_overrides(tmp_path: Path) -> None:
    manifest = load_manifest(
        write(
            tmp_path,
            """
            max_tries = 2
            workers = 3
            [defaults]
            scale = "3/2"
            codec = "libx265"
            drop = [3, "data"]
            encoder_options = { tune = "grain", bf = "2" }
            model = "nets/mine.onnx"
            [[files]]
            source = "a"
            [[files]]
            source = "b.mkv"
            size = "x1080"
            output = "b.mkv"
            model = "ecbsr"
            encoder_options = { bf = "0" }
            """,
        )
    )
    assert (manifest.max_tries, manifest.workers, manifest.path) == (2, 3, tmp_path / "jobs.toml")
    first, second = manifest.files
    assert first.options == {
        "scale": Fraction(3, 2),
        "codec": "libx265",
        "drop": (3, "data"),
        "encoder_options": {"tune": "grain", "bf": "2"},
        "model": str(tmp_path / "nets" / "mine.onnx"),
    }
    assert (first.source, first.output, first.recursive, first.where) == ("a", None, None, "files[0]")
    assert second.options == {
        "size": "x1080",
        "codec": "libx265",
        "drop": (3, "data"),
        "encoder_options": {"tune": "grain", "bf": "0"},
        "model": "ecbsr",
    }
    assert second.output == "b.mkv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no files; add"),
        ("files = 3", "'files' must be tuple, not 3"),
        ("worker = 3", "unknown key 'worker'; did you mean 'workers'"),
        ("workers = 0", "'workers' must be 1 or more, not 0"),
        ("[defaults]\nsource = 'a'", "unknown key 'defaults.source'"),
        ("[defaults]\nsclae = 2", "unknown key 'defaults.sclae'; did you mean 'scale'"),
        (
            "[defaults]\nprecision = 'f64'",
            "'defaults.precision' must be 'auto' or 'f32' or 'bf16' or 'f16' or 'int8', not 'f64'",
        ),
        ("[defaults]\nscale = 99", "defaults: the scale must be from 1 to 16, not 99"),
        ("[[files]]\nsource = 'a'\n[[files]]\ncrf = 3", r"the key 'files\[1\]\.source' is missing"),
        ("[[files]]\nsource = 'a'\ncfr = 3", r"unknown key 'files\[0\]\.cfr'; did you mean 'crf'"),
        ("[[files]]\nsource = 'a'\nscale = 2\nsize = 'x8'", r"files\[0\]: --scale and --size both"),
        ("[[files]]\nsource = 'a'\ndrop = ['sound']", r"files\[0\]: --drop 'sound' means nothing; it takes"),
        ("[[files]]\nsource = 3", r"'files\[0\]\.source' must be text, not 3"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(OptionsError, match=message) as caught:
        load_manifest(path)
    assert caught.value.path == str(path)


def test_options_have_the_types_of_a_job() -> None:
    assert job_options({"scale": 1.5, "crf": 20}) == {"scale": Fraction(3, 2), "crf": 20.0}
    with pytest.raises(ValueError, match=r"'x\.threads' must be a whole number, not '2'"):
        job_options({"threads": "2"}, "x.")


def test_merging() -> None:
    assert merge({"scale": 2, "crf": 1.0}, {"size": "x8"}) == {"crf": 1.0, "size": "x8"}
    assert merge({"size": "x8"}, {"scale": 2}) == {"scale": 2}
    options = merge({"encoder_options": {"a": "1", "b": "1"}}, {"encoder_options": {"b": "2"}})
    assert options == {"encoder_options": {"a": "1", "b": "2"}}
    assert merge({"drop": ("audio",)}, {"drop": ("data",)}) == {"drop": ("data",)}
