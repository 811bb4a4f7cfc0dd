"""Packages that add to vidsr: the worked example, and packages that are broken in every way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    # Built where nothing is left in the tree.
    subprocess.run(["cp", "-r", str(ROOT / "examples" / "plugin"), str(source)], check=True)
    words = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    subprocess.run([sys.executable, *words, str(folder), str(source)], check=True)
    return folder


def broken(folder: Path, **groups: dict[str, str]) -> Path:
    """Write a package "broken" whose entry points are these; its module is `broken_module`."""
    (folder / "broken_module.py").write_text(
        "NUMBER = 3\nclass Half:\n    name = 'half'\ndef fails():\n    raise ValueError('no such thing')\n"
    )
    (folder / "ends_module.py").write_text("raise SystemExit('bye')\n")
    info = folder / "broken-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.2\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[vidsr.{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def vidsr(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "vidsr", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False
    )


def test_the_example_adds_a_model(installed: Path) -> None:
    done = vidsr(installed, "models", "list")
    assert done.returncode == 0, done.stderr
    assert "2x-example-m4c8" in done.stdout
    assert "2x-ecbsr-m4c16" in done.stdout
    assert done.stderr == ""


def test_the_example_adds_a_backend(installed: Path, tmp_path: Path) -> None:
    clip, output = ROOT / "examples" / "clip.mp4", tmp_path / "out.mp4"
    words = ["upscale", clip, "-o", output, "-m", "example", "--backend", "lanczos", "--frames", "2"]
    done = vidsr(installed, *words)
    assert done.returncode == 0, done.stderr
    assert "backend   lanczos" in done.stdout
    assert "2x-example-m4c8" in done.stdout
    assert output.stat().st_size > 1000
    refused = vidsr(installed, "upscale", clip, "-o", tmp_path / "b.mp4", "--backend", "lanzcos")
    assert (refused.returncode, refused.stderr) == (2, "vidsr: no backend 'lanzcos'; did you mean lanczos?\n")


def test_the_example_adds_a_verb(installed: Path) -> None:
    assert "palette" in vidsr(installed, "--help").stdout
    done = vidsr(installed, "palette", ROOT / "examples" / "clip.mp4", "--moments", "2")
    assert done.returncode == 0, done.stderr
    colours = done.stdout.split()
    assert len(colours) == 2
    assert all(len(one) == 7 and one.startswith("#") for one in colours)


def test_doctor_names_what_was_added(installed: Path) -> None:
    text = vidsr(installed, "doctor").stdout
    assert "backends lanczos vidsr-example 0.1.0" in text
    assert "Lanczos in numpy" in text
    assert str(installed / "vidsr_example" / "models") in text


def test_what_is_broken_is_named_and_left_out(tmp_path: Path) -> None:
    backends = {
        "absent": "no_such_module:X",
        "half": "broken_module:Half",
        "ends": "ends_module:X",
        "kernel": "broken_module:NUMBER",
    }
    site = broken(
        tmp_path,
        models={"fails": "broken_module:fails"},
        backends=backends,
        hosts={"number": "broken_module:NUMBER", "upscale": "broken_module:fails"},
    )
    told = vidsr(site, "doctor")
    assert told.returncode == 0, told.stderr
    for name, reason in {
        "backends absent": "left out: ModuleNotFoundError: No module named 'no_such_module' (broken 1.2)",
        "backends half": "left out: it has no streams_rows, tiles_exact, lacks, availability, open, resolve",
        "backends ends": "left out: it ends the program (bye)",
        "backends kernel": "left out: its name is one of vidsr's own",
        "models fails": "left out: ValueError: no such thing",
    }.items():
        line = next(line for line in told.stdout.splitlines() if line.strip().startswith(name))
        assert reason in line
    assert "Traceback" not in told.stderr
    warning = "the plug-in 'absent' (vidsr.backends, of broken 1.2) is left out"
    assert told.stderr.count(warning) == 1
    assert "compiled kernels" in told.stdout or "absent: vidsr was installed without" in told.stdout
    helped = vidsr(site, "--help")
    assert helped.returncode == 0
    assert "number" not in helped.stdout
    assert "it is neither a function nor a typer.Typer" in helped.stderr
    assert "the plug-in 'upscale' (vidsr.hosts, of broken 1.2) is left out: its name" in helped.stderr
    clip = ROOT / "examples" / "clip.mp4"
    refused = vidsr(site, "upscale", clip, "-o", tmp_path / "o.mp4", "--backend", "half")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("vidsr: no backend 'half'; there are: auto, fused")


def test_of_two_packages_with_one_name_the_first_is_taken(installed: Path, tmp_path: Path) -> None:
    site = broken(tmp_path, backends={"lanczos": "broken_module:Half"})
    both = f"{installed}{os.pathsep}{site}"
    done = vidsr(Path(both), "doctor")
    assert "Lanczos in numpy" in done.stdout
    assert "vidsr-example 0.1.0 has a plug-in of the same name" in done.stderr
