"""Cards, jobs and times that name files of others, absurd numbers, or nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsr.errors import ModelError, OptionsError
from vidsr.job import Job, parse_time
from vidsr.models.card import load_card

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "engines" / "2x-ecbsr-m4c8.toml").read_text()
CARDS = {
    "above": (lambda c: c.replace("2x-ecbsr-m4c8.onnx", "../2x-ecbsr-m4c8.onnx"), "is not a plain name"),
    "absolute": (lambda c: c.replace("2x-ecbsr-m4c8.onnx", "/etc/x.onnx"), "is not a plain name"),
    "hidden": (lambda c: c.replace("2x-ecbsr-m4c8.onnx", ".x.onnx"), "is not a plain name"),
    "newline": (lambda c: c.replace("2x-ecbsr-m4c8.onnx", r"a\nb.onnx"), "is not a plain name"),
    "halo": (lambda c: c.replace("halo = ", "halo = 9999999999"), "out of range"),
    "scale": (lambda c: c.replace("scale = 2", "scale = 1e99"), "'scale' must be a whole number"),
    "text": (lambda c: c.replace("scale = 2", 'scale = "2"'), "'scale' must be a whole number"),
    "long number": (lambda c: c.replace("scale = 2", "scale = 2" + "0" * 5000), "cannot read this TOML file"),
    "nested": (lambda c: "x = " + "[" * 100_000, "cannot read this TOML file"),
    "huge": (lambda c: "#" * (1 << 20) + c, "cannot read this TOML file (more than 1 MiB)"),
    "latin-1": (lambda c: ("# \xe9\n" + c).encode("latin-1"), "cannot read this TOML file"),
    "zeros": (lambda c: "\0" * 100, "cannot read this TOML file"),
}


@pytest.mark.parametrize("name", CARDS)
def test_hostile_cards(tmp_path: Path, name: str) -> None:
    change, word = CARDS[name]
    made = change(CARD)
    assert made != CARD
    path = tmp_path / "card.toml"
    path.write_bytes(made if isinstance(made, bytes) else made.encode())
    with pytest.raises(ModelError) as caught:
        load_card(path)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


JOBS = {
    "start = nan": "--start must be a number",
    "end = inf": "--end must be a number",
    "crf = nan": "--crf must be a number",
    "threads = 99999999999": "--threads must be 1024 or less",
    "encoder_threads = 99999999999": "--encoder-threads must be 1024 or less",
    "scale = 1e999999999": "'scale' cannot be",
    'scale = "1e999999999"': "'scale' cannot be",
    'tile = "99999999999999999999"': "--tile takes auto",
    "frames = -1": "--frames must be 1 or more",
    "drop = 3": "'drop' must be",
    'encoder_options = "crf"': "'encoder_options' must be",
    "overwrite = 1": "'overwrite' must be true or false",
    "source = 1": "cannot read this TOML file",
    "output = 7": "'output' must be",
}


@pytest.mark.parametrize("line", JOBS)
def test_hostile_jobs(tmp_path: Path, line: str) -> None:
    """Paths in a job may lead anywhere: a job is its owner's, as a command line is."""
    path = tmp_path / "job.toml"
    path.write_text(f'source = "../../a.mp4"\n{line}\n')
    with pytest.raises(OptionsError) as caught:
        Job.load(path)
    assert JOBS[line] in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["1e999999999", "nan", "inf", "9" * 5000, "1/0", "-1", "", "1:", "1_0"])
def test_hostile_times(text: str) -> None:
    with pytest.raises(OptionsError, match="is not a time"):
        parse_time(text)
