"""Disks that are full, read-only or gone, and limits on the size of files. Mounts need root."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command, Whole, finished


def mounted(folder: Path, *arguments: str) -> None:
    subprocess.run(["mount", *arguments, str(folder)], check=True)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of a size at `folder`, with what lies there copied onto it."""
    kept = shutil.copytree(folder, folder.with_name(f"{folder.name}-kept"))
    mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grown(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("room", [24, *(pytest.param(kb, marks=pytest.mark.slow) for kb in (8, 60, 100))])
def test_a_full_disk(command: Command, whole: Whole, room: int) -> None:
    """The disk has `room` kB beside the source: too few for the plan, for a segment, for joining."""
    need = len(whole.source.read_bytes()) // 1024 + room
    with small_disk(command.folder, f"{need}k"):
        line = command.failed(command.run())
        assert "No space left" in line or "frames could be written" in line
        assert not list(command.folder.rglob("joined*"))
        grown(command.folder, "100m")
        command.finishes(whole)


@pytest.mark.parametrize(
    "share", [0.9, *(pytest.param(part, marks=pytest.mark.slow) for part in (0.02, 0.2))]
)
def test_a_limit_on_files(command: Command, whole: Whole, share: float) -> None:
    """RLIMIT_FSIZE; its signal SIGXFSZ is ignored by Python, so writing fails with EFBIG."""
    line = command.failed(command.run(limits={resource.RLIMIT_FSIZE: int(len(whole.result) * share)}))
    assert line.endswith("run the same command: it continues")
    command.finishes(whole)


@pytest.mark.usefixtures("mounts")
def test_a_read_only_disk(command: Command, whole: Whole) -> None:
    """Root writes whatever the permissions say, but not where the mount says no."""
    mounted(command.folder, "--bind", str(command.folder))
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(command.folder)], check=True)
        process = command.start()
        command.failed(finished(process), "cannot write here (Read-only file system)")
    finally:
        subprocess.run(["umount", "-l", str(command.folder)], check=True)
    command.finishes(whole)


# Not from the start: Python's own files may lie where only root can read.
_NOBODY = """
import os
import vidsr.cli.endings
import vidsr.planning as planning
check = planning.check_writable
def checked(*arguments):
    os.setuid(65534)
    check(*arguments)
planning.check_writable = checked
"""


@pytest.mark.usefixtures("root")
def test_a_folder_of_somebody_else(command: Command, whole: Whole) -> None:
    """As another user, whom permissions do hold."""
    folder = command.folder / "theirs"
    folder.mkdir(mode=0o755)
    for parent in command.folder.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    command.folder.chmod(0o755)
    command.target = "theirs/out.mp4"
    line = command.failed(command.run(before=_NOBODY), "(Permission denied)")
    assert "theirs: cannot write here" in line
    command.finishes(whole)


@pytest.mark.parametrize("what", ["folder", pytest.param("work", marks=pytest.mark.slow)])
def test_the_output_s_folder_vanishes(command: Command, whole: Whole, what: str) -> None:
    folder = command.folder / "results"
    folder.mkdir()
    command.target = "results/out.mp4"
    process = command.held()
    shutil.rmtree(command.work if what == "work" else folder)
    command.go_on()
    command.failed(finished(process), "No such file or directory")
    folder.mkdir(exist_ok=True)
    command.finishes(whole)
