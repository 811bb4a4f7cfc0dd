"""Help, lists and reports: fast, complete, and readable by programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pytest
import typer.main
from synth import make_clip

from vidsr.cli import _run
from vidsr.cli.app import app

HEAVY = {"av", "numpy", "onnx", "openvino", "torch"}
_MAIN = "import sys; from vidsr.cli import _run; code = _run(sys.argv[1:])"
_TOLD = "print('LOADED', *sorted(n for n in sys.modules if '.' not in n), file=sys.stderr); sys.exit(code)"


def run(code: str, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def loaded(code: str, arguments: Sequence[str] = ()) -> set[str]:
    done = run(f"{code}\n{_TOLD}", arguments)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split()[1:])


def test_the_package_alone_loads_nothing_heavy() -> None:
    names = loaded("import sys, vidsr; dir(vidsr); code = 0")
    assert "vidsr" in names
    assert names & (HEAVY | {"typer", "click", "rich", "tqdm"}) == set()


@pytest.mark.parametrize(
    "arguments",
    ["--help", "-h", "upscale --help", "probe --help", "models --help", "bench --help", "--version"],
)
def test_help_loads_nothing_heavy(arguments: str) -> None:
    names = loaded(_MAIN, arguments.split())
    assert "typer" in names
    assert names & HEAVY == set()


_TWO_COMMANDS = """
import typer
upscale = typer.Typer()
for name in ("upscale", "probe"):
    upscale.command(name)(lambda: None)
upscale()
"""


def test_help_is_fast() -> None:
    """1.6 times as long as any program of two commands takes; seconds would tell more of the machine."""
    times: dict[str, list[float]] = {"from vidsr.cli import main; main()": [], _TWO_COMMANDS: []}
    for _ in range(7):
        for code, took in times.items():
            began = perf_counter()
            done = run(code, ["--help"])
            took.append(perf_counter() - began)
            assert done.returncode == 0
            assert "upscale" in done.stdout
    own, least = (min(took) for took in times.values())
    assert own < 2.2 * least


def commands() -> list[tuple[str, object]]:
    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(f"{name} {n}", c) for n, c in inner.items()] if inner else [(name, command)]
    return found


def test_everything_has_its_help() -> None:
    found = commands()
    assert {
        "upscale",
        "probe",
        "models list",
        "models show",
        "models import",
        "clean",
        "evaluate",
        "bench",
        "train",
        "export",
        "doctor",
    } <= {name for name, _ in found}
    for name, command in found:
        assert command.help, name  # type: ignore[attr-defined]
        for parameter in command.params:  # type: ignore[attr-defined]
            if parameter.name != "help":
                assert parameter.help, f"{name}: {parameter.name}"
                assert parameter.help.endswith((".", "]")), f"{name}: {parameter.name}"


def test_every_field_of_a_job_can_be_asked_for() -> None:
    import dataclasses

    from vidsr.job import Job

    upscale = dict(commands())["upscale"]
    known = {p.name for p in upscale.params}  # type: ignore[attr-defined]
    wanted = {f.name for f in dataclasses.fields(Job)} - {"encoder_options"} | {"encoder_option"}
    assert wanted <= known


def answer(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _run(list(arguments)) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_models(capfd: pytest.CaptureFixture[str]) -> None:
    assert "2x-ecbsr-m4c16" in answer(capfd, "models", "list")
    cards = json.loads(answer(capfd, "models", "list", "--json"))
    assert "2x-ecbsr-m4c16" in [card["id"] for card in cards]
    assert 'id = "2x-ecbsr-m4c16"' in answer(capfd, "models", "show", "ecbsr")
    for name in ("ecbsr", "ecbsr-m4c16", "2x-ecbsr-m4c16"):
        assert json.loads(answer(capfd, "models", "show", name, "--json"))["id"] == "2x-ecbsr-m4c16"
    file = str(Path(__file__).parents[2] / "engines" / "2x-ecbsr-m4c16.onnx")
    assert json.loads(answer(capfd, "models", "show", file, "--json"))["scale"] == 2


def test_models_show_what_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["models", "show", "esrgan"]) == 2
    assert capfd.readouterr().err.startswith("vidsr: no model 'esrgan' at scale 2; there are")


def test_doctor(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capfd, "doctor", "--json"))
    assert {"machine", "packages", "backends", "ffmpeg", "models"} <= set(found)
    assert found["ffmpeg"]["libx264"].startswith("ready")
    assert {"openvino", "nearest"} <= set(found["backends"])
    text = answer(capfd, "doctor")
    for heading, entries in found.items():
        assert heading in text
        for name in entries:
            assert name in text


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert answer(capfd, "--version") == f"vidsr {version('vidsr')}\n"


def test_a_report_for_programs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.mp4", times=4, size=(32, 24))
    arguments = ["upscale", str(source), "--backend", "nearest", "--no-progress", "--json"]
    report = json.loads(answer(capfd, *arguments))
    assert report["output"] == str(tmp_path / "in_2x.mp4")
    assert (report["target"], report["way"], report["tiles"]) == ("2x", "2x network", "whole frames")
    assert (report["frames"], report["frames_resumed"]) == (4, 0)
    assert (report["size_in"], report["size_out"]) == ([32, 24], [64, 48])
    assert [stage["name"] for stage in report["stages"]] == ["decode", "inference", "encode", "finish"]


def test_measuring_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.mp4", times=4, size=(32, 24))
    text = answer(capfd, "upscale", str(source), "-o", "null:", "--backend", "nearest", "--no-progress")
    assert text.startswith("nothing written: 32x24 to 64x48, 4 frames")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
