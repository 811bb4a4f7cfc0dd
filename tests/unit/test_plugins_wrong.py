"""Packages whose plug-ins load and then go wrong: each costs itself, in one line, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_plugins import ROOT, broken, vidsr

CLIP = ROOT / "examples" / "clip.mp4"
ENGINES = ROOT / "engines"


def models_at(folder: Path, network: str, **changes: str) -> Path:
    """Return a package whose folder of models holds one of vidsr's own, renamed to another network."""
    models = folder / "models"
    models.mkdir()
    shutil.copy(ENGINES / "2x-ecbsr-m4c8.onnx", models)
    card = (ENGINES / "2x-ecbsr-m4c8.toml").read_text()
    card = card.replace("2x-ecbsr-m4c8", f"2x-{network}-m4c8").replace('"ecbsr"', f'"{network}"')
    card = card.replace(f"2x-{network}-m4c8.onnx", "2x-ecbsr-m4c8.onnx")
    for old, new in changes.items():
        card = card.replace(old, new)
    (models / f"2x-{network}-m4c8.toml").write_text(card)
    site = broken(folder, models={"more": "more_module:MODELS"})
    (folder / "more_module.py").write_text(f"MODELS = {str(models)!r}\n")
    return site


def test_a_folder_of_models_that_is_right_is_taken(tmp_path: Path) -> None:
    done = vidsr(models_at(tmp_path, "other"), "models", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2x-other-m4c8" in done.stdout


@pytest.mark.parametrize(
    ("network", "changes", "reason"),
    [
        ("other", {"scale = 2": 'scale = "two"'}, "'scale'"),
        ("other", {"channels = 1": "channels = ["}, "2x-other-m4c8.toml"),
        (
            "ecbsr",
            {"default = false": "default = true"},
            "the network 'ecbsr' is vidsr's own: call it otherwise",
        ),
        ("imdn", {}, "the network 'imdn' is vidsr's own: call it otherwise"),
    ],
)
def test_models_that_are_wrong_or_vidsrs_own(
    tmp_path: Path, network: str, changes: dict[str, str], reason: str
) -> None:
    site = models_at(tmp_path, network, **changes)
    done = vidsr(site, "upscale", CLIP, "-o", "null:", "-m", "ecbsr", "--frames", "2", "--no-progress")
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "the plug-in 'more' (vidsr.models, of broken 1.2) is left out" in line
    assert reason in line
    assert "2x-ecbsr-m4c16" in done.stdout


def test_a_folder_without_cards(tmp_path: Path) -> None:
    site = broken(tmp_path, models={"more": "more_module:MODELS"})
    (tmp_path / "more_module.py").write_text(f"MODELS = [{str(tmp_path)!r}]\n")
    done = vidsr(site, "models", "list")
    assert done.returncode == 0
    assert "there is no card (.toml) in what it names" in done.stderr


_BACKEND = """
from vidsr.backends.nearest import NearestBackend

class Wrong(NearestBackend):
    def __init__(self, name):
        self.name = name
    def availability(self):
        if self.name == "asked":
            raise KeyError("driver")
        return None if self.name == "silent" else super().availability()
    def resolve(self, options):
        return {"backend": self.name}
    def open(self, deployed, options):
        if self.name == "opened":
            raise RuntimeError("no device")
        if self.name == "empty":
            return 3
        session = super().open(deployed, options)
        def submit(src, dst):
            raise IndexError("a plane")
        session.submit = submit
        return session

asked, silent, opened, empty, used = map(Wrong, ["asked", "silent", "opened", "empty", "used"])
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("asked", "the backend asked cannot be used here: its plug-in failed: KeyError: 'driver'"),
        ("silent", "its plug-in failed: TypeError: availability() returned NoneType"),
        ("opened", "the backend opened (of broken 1.2) failed: RuntimeError: no device"),
        ("empty", "failed: TypeError: open() returned int, which is no session"),
        ("used", "failed: IndexError: a plane"),
    ],
)
def test_backends_that_fail_are_named(tmp_path: Path, name: str, said: str) -> None:
    site = broken(
        tmp_path, backends={n: f"wrong_module:{n}" for n in "asked silent opened empty used".split()}
    )
    (tmp_path / "wrong_module.py").write_text(_BACKEND)
    words = ["-o", "null:", "-m", "ecbsr", "--frames", "2", "--no-progress", "--backend", name]
    done = vidsr(site, "upscale", CLIP, *words)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "fault in vidsr" not in line
    told = vidsr(site, "doctor")
    assert told.returncode == 0, told.stderr
    assert "absent: its plug-in failed: KeyError: 'driver'" in told.stdout


def test_the_version_of_a_backend_is_part_of_what_decides_the_bytes(tmp_path: Path) -> None:
    site = broken(tmp_path, backends={"opened": "wrong_module:opened"})
    (tmp_path / "wrong_module.py").write_text(_BACKEND)
    code = "from vidsr.backends import *; print(get_backend('opened').resolve(SessionOptions()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{'backend': 'opened', 'plug-in': 'broken 1.2'}\n"


_HOST = """
import typer

def fine(word: str) -> None:
    "Say a word."
    if word == "code":
        raise typer.Exit(3)
    raise KeyError(word)

def wrong(words: "lambda") -> None:
    "Cannot be."

empty = typer.Typer()
several = typer.Typer(help="Two verbs.")
several.command("one")(fine)
several.command("two")(fine)
"""


def test_verbs_that_go_wrong(tmp_path: Path) -> None:
    site = broken(tmp_path, hosts={n: f"host_module:{n}" for n in "fine wrong empty several".split()})
    (tmp_path / "host_module.py").write_text(_HOST)
    helped = vidsr(site, "--help")
    assert helped.returncode == 0
    assert "Say a word." in helped.stdout
    assert "Two verbs." in helped.stdout
    left_out = [line.split("'")[1] for line in helped.stderr.splitlines()]
    assert left_out == ["wrong", "empty"]
    for words in (["fine", "lost"], ["several", "one", "lost"]):
        done = vidsr(site, *words)
        said = f"vidsr: the plug-in '{words[0]}' (of broken 1.2) failed: KeyError: 'lost'"
        assert (done.returncode, done.stderr) == (1, f"{said}; VIDSR_TRACEBACK=1 prints where\n")
    assert vidsr(site, "fine", "code").returncode == 3
    assert "Missing argument" in vidsr(site, "fine").stderr


@pytest.mark.clock
def test_help_does_not_pay_for_plug_ins(tmp_path: Path) -> None:
    """Importing `importlib.metadata` alone takes longer than all the rest of looking for them."""
    code = (
        "import sys; from vidsr.cli import _run; code = _run(['--help']); import time"
        "\nfrom vidsr import plugins\ntimes = []\nfor _ in range(7):\n"
        " plugins.forget(); began = time.perf_counter();"
        " plugins.names('vidsr.hosts'); times.append(time.perf_counter() - began)\n"
        "loaded = 'importlib.metadata' in sys.modules; began = time.perf_counter()\n"
        "import importlib.metadata\n"
        "print(loaded, min(times), time.perf_counter() - began, file=sys.stderr)"
    )
    for site in (tmp_path, broken(tmp_path, models={"more": "more_module:MODELS"})):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": f"{site}:{ROOT}"},
            capture_output=True,
            text=True,
            check=True,
        )
        loaded, seconds, importing = done.stderr.split()
        assert loaded == "False"
        assert float(seconds) < float(importing)
