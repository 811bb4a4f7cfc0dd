"""Names of files that hold anything a file system takes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from command import Command, Whole

from vidsr.cli import _run

NAMES = [
    "with space.mp4",
    "quote'\"`$(x).mp4",
    "new\nline.mp4",
    "-x.mp4",
    "--json.mp4",
    "a:b.mp4",
    "http:x.mp4",
    "file:x.mp4",
    "concat:a|b.mp4",
    "100%.mp4",
    "50%d.mp4",
    "%n.mp4",
    "%s%s.mp4",
    "br[ack]et{1,2}*?.mp4",
    "\x1b[31mred.mp4",
    "bytes\udcff\udc80.mp4",
    "ünï\u2028code\u202e.mp4",
    "dot..mp4",
    " .mp4",
    "n" * 251 + ".mp4",
    "ä" * 125 + "n.mp4",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_are_names_for_the_real_command(command: Command, whole: Whole) -> None:
    """All that is odd at once, printed to a strict stream."""
    name = "-b:\udcff\udc80 \n\x1b[31m'\"%n50%d[x]*.mp4"
    (command.folder / "in.mp4").rename(command.folder / name)
    (command.folder / "out").mkdir()
    command.source, command.target = f"./{name}", f"out/{name}"
    done = command.run()
    assert done.code == 0, done
    assert r"-b:\udcff\udc80 \n\x1b[31m" in done.out.splitlines()[0]
    assert command.output.read_bytes() == whole.result
    assert [p.name for p in (command.folder / "out").iterdir()] == [name]
    done = command.run()
    assert (done.code, len(done.lines)) == (2, 1), done
    done = command.run("-y", "--json")
    assert json.loads(done.out)["output"] == f"out/{name}"


_OFTEN = frozenset({"-x.mp4", "http:x.mp4", "50%d.mp4", "new\nline.mp4", "n" * 251 + ".mp4"})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in _OFTEN else [pytest.mark.slow], id=str(i))
        for i, n in enumerate(NAMES)
    ],
)
def test_names_are_names(here: Path, whole: Whole, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """As a source and as an output in the current folder."""
    usual = ["--frames", "3", "--backend", "nearest", "--no-progress", "--json"]
    (here / name).write_bytes(whole.source.read_bytes())
    assert _run(["upscale", *usual, "-o", "out.mp4", "--", name]) == 0
    (here / name).unlink()
    (here / "in.mp4").write_bytes(whole.source.read_bytes())
    assert _run(["upscale", *usual, "-o", name, "in.mp4"]) == 0
    assert (here / name).read_bytes() == (here / "out.mp4").read_bytes()
    assert {p.name for p in here.iterdir()} == {name, "in.mp4", "out.mp4"}
    capsys.readouterr()
    assert _run(["upscale", *usual, "-o", name, "in.mp4"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "this file exists" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("name", ["n" * 256 + ".mp4", "n" * 252 + ".mp4"])
def test_names_that_are_too_long(
    here: Path, whole: Whole, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (here / "in.mp4").write_bytes(whole.source.read_bytes())
    for source, target in (("in.mp4", name), (name, "out.mp4")):
        assert _run(["upscale", source, "-o", target, "--backend", "nearest"]) == 1
        err = capsys.readouterr().err
        assert "File name too long" in err
        assert len(err.splitlines()) == 1
    assert [p.name for p in here.iterdir()] == ["in.mp4"]


def test_a_default_name_that_is_too_long(
    here: Path, whole: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "n" * 251 + ".mp4"
    (here / name).write_bytes(whole.source.read_bytes())
    assert _run(["upscale", name, "--backend", "nearest"]) == 1
    assert capsys.readouterr().err.endswith("cannot write this (File name too long); name another output\n")


@pytest.mark.parametrize("name", ["%n.png", "%s.png", "%.png", "%100000d.png", "%d%d.png", "%999999999d.png"])
def test_patterns_that_are_none(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert _run(["upscale", name, "-o", "out.mp4", "--backend", "nearest"]) == 1
    assert capsys.readouterr().err == f"vidsr: {name}: no such file\n"
    assert list(here.iterdir()) == []


def test_pictures_with_odd_names(here: Path) -> None:
    folder = here / "100% [x]*"
    folder.mkdir()
    pixels = np.full((16, 16, 3), 90, np.uint8)
    names = ["50%d.png", "shot[1]_1.png", "shot[1]_2.png", "5%_01.png", "5%_02.png", "a*b.png"]
    for number, name in enumerate(names):
        frame = av.VideoFrame.from_ndarray(pixels + number, format="rgb24")
        context = av.CodecContext.create("png", "w")
        context.width = context.height = 16
        context.pix_fmt, context.time_base = "rgb24", 1
        frame.pts = 0
        (folder / name).write_bytes(b"".join(map(bytes, [*context.encode(frame), *context.encode(None)])))
    usual = ["--backend", "nearest", "--no-progress"]
    for source, target, made in (
        ("50%d.png", "one.png", ["one.png"]),
        ("a*b.png", "two.png", ["two.png"]),
        ("shot[1]_%d.png", "out[1]_%d.png", ["out[1]_1.png", "out[1]_2.png"]),
        ("5%%_%02d.png", "7%%_%03d.png", ["7%_001.png", "7%_002.png"]),
    ):
        before = {p.name for p in folder.iterdir()}
        arguments = ["upscale", f"{folder.name}/{source}", "-o", f"{folder.name}/{target}", *usual]
        assert _run(arguments) == 0
        assert sorted({p.name for p in folder.iterdir()} - before) == made
        assert _run(arguments) == 2
