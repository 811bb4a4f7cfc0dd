"""Sources that change while they are read, and what cannot be a source or an output at all."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from command import Command, Whole, finished


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _replace(path: Path) -> None:
    other = path.with_name("other.mp4")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(1000))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_truncate, "changed"),
        (Path.unlink, "vanished"),
        pytest.param(_replace, "changed", marks=pytest.mark.slow),
        pytest.param(_overwrite, "changed", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("hold", [35, pytest.param(5, marks=pytest.mark.slow)])
def test_a_source_that_changes(command: Command, whole: Whole, change: object, word: str, hold: int) -> None:
    source = command.folder / "in.mp4"
    status = source.stat()
    process = command.held(hold=hold)
    change(source)  # type: ignore[operator]
    command.go_on()
    line = command.failed(finished(process), f"in.mp4: the source was {word}" if word == "changed" else word)
    assert "put the source back" in line
    source.write_bytes(whole.source.read_bytes())
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    command.finishes(whole)


# Every frame is read and encoded; sound is still to be copied from the source.
_AFTER_JOINING = """
from pathlib import Path
import vidsr.video.video_sink as sinks
verify = sinks.verify_video
def change(*arguments, **more):
    verify(*arguments, **more)
    with open("in.mp4", "r+b") as file:
        file.truncate(1000)
sinks.verify_video = change
"""


def test_a_source_that_changes_while_joining(command: Command, whole: Whole) -> None:
    command.failed(command.run(before=_AFTER_JOINING), "the source was changed while it was read")
    assert whole


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path is short
    os.close(folder)
    return path


@pytest.mark.parametrize(
    "kind",
    ["fifo", "/dev/zero", "-"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in ("socket", "/dev/null", "folder")],
)
def test_what_cannot_be_a_source(command: Command, kind: str) -> None:
    made = {"fifo": _fifo, "socket": _socket, "folder": lambda p: p.mkdir() or p}
    path = command.folder / "x.mp4"
    command.source = str(made[kind](path)) if kind in made else kind
    line = command.failed(command.run())
    if kind == "folder":
        assert "this is a folder" in line
    else:
        assert line.endswith("vidsr reads its source several times: save it to a file first")


@pytest.mark.parametrize(
    "kind",
    ["fifo", "/dev/null"]
    + [pytest.param(kind, marks=pytest.mark.slow) for kind in ("socket", "link to /dev/null")],
)
def test_what_cannot_be_an_output(command: Command, kind: str) -> None:
    path = command.folder / "x.mp4"
    if kind == "/dev/null":
        command.target = kind
    elif kind == "link to /dev/null":
        path.symlink_to("/dev/null")
        command.target = "x.mp4"
    else:
        {"fifo": _fifo, "socket": _socket}[kind](path)
        command.target = "x.mp4"
    done = command.run("-y")
    assert (done.code, len(done.lines)) == (2, 1), done
    assert done.lines[0].endswith("name a file, or null: to write nothing")


@pytest.mark.slow
def test_a_linked_output(command: Command, whole: Whole) -> None:
    """The link itself is replaced, never what it points to, and only with -y, be it dangling."""
    target = command.folder / "precious.mp4"
    target.write_text("precious")
    for place in (target, command.folder / "nowhere.mp4"):
        command.output.unlink(missing_ok=True)
        command.output.symlink_to(place)
        done = command.run()
        assert done.code == 2, done
        assert "this file exists; add --overwrite" in done.lines[0]
        assert command.run("-y").code == 0
        assert not command.output.is_symlink()
        assert command.output.read_bytes() == whole.result
    assert target.read_text() == "precious"
    assert not (command.folder / "nowhere.mp4").exists()


def test_the_source_is_never_the_output(command: Command, whole: Whole) -> None:
    """By a link of either kind."""
    for link in (Path.symlink_to, Path.hardlink_to):
        command.output.unlink(missing_ok=True)
        link(command.output, command.folder / "in.mp4")
        done = command.run("-y")
        assert done.code == 2, done
        assert "would replace the source" in done.lines[0]
    assert (command.folder / "in.mp4").read_bytes() == whole.source.read_bytes()
