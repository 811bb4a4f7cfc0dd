"""A folder that is watched: real files, real events."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vidsr.batch import watching
from vidsr.batch.watching import watch_folders
from vidsr.errors import BackendUnavailableError, SourceError

SETTLE_S = 0.2
LOOK_S = watching._LOOK_S


class Watch:
    """A watch that is asked for files; stops itself."""

    def __init__(
        self, *folders: Path, recursive: bool = False, poll: bool = False, settle_s: float = SETTLE_S
    ) -> None:
        self.stop = threading.Event()
        self.files = watch_folders(folders, recursive=recursive, stop=self.stop, settle_s=settle_s, poll=poll)

    def next(self, *, within: float = 30.0) -> Path:
        """Return the next file."""
        end = time.monotonic() + within
        for path in self.files:
            if path is not None:
                return path
            assert time.monotonic() < end, "no file came"
        raise AssertionError("the watch ended")

    def nothing(self) -> None:
        """Check that for a second no file comes: watchdog keeps a rename for half a second."""
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert next(self.files) is None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        assert list(self.files) == []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less waiting. A scan happens once: whatever is found later is found by events."""
    monkeypatch.setattr(watching, "_POLL_S", 0.2)
    monkeypatch.setattr(watching, "_LOOK_S", 0.2)
    assert watching._RESCAN_S == 60.0


def test_what_is_there_and_what_comes(tmp_path: Path) -> None:
    hostile = ["e10.mkv", "e2.mkv", "\n{%d.mkv", "-y.mkv", os.fsdecode(b"\xff.mkv"), "x" * 251 + ".mkv"]
    for name in hostile[:3]:
        (tmp_path / name).write_bytes(b"x")
    for name in ("empty.mkv", ".h.mkv", "a.mkv.part", "a.txt", "a.partial.mkv", "sub/a.mkv", "w.vidsr/a.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty.mkv" else b"x")
    with Watch(tmp_path) as watch:
        assert [watch.next().name for _ in range(3)] == ["\n{%d.mkv", "e2.mkv", "e10.mkv"]
        watch.nothing()
        for name in hostile[3:]:
            (tmp_path / name).write_bytes(b"x")
        assert sorted(watch.next().name for _ in range(3)) == sorted(hostile[3:])
        watch.nothing()
        (tmp_path / "empty.mkv").write_bytes(b"x")
        assert watch.next() == tmp_path / "empty.mkv"


@pytest.mark.clock
def test_a_growing_file(tmp_path: Path) -> None:
    """It is closed after each piece: only its size and time tell that it grows."""
    path, written = tmp_path / "a.mkv", []
    with Watch(tmp_path, settle_s=1.0) as watch:
        assert next(watch.files) is None

        def grow() -> None:
            for _ in range(15):
                written.append(time.monotonic())
                with path.open("ab") as file:
                    file.write(b"x")
                time.sleep(0.1)

        thread = threading.Thread(target=grow)
        thread.start()
        assert watch.next() == path
        took = time.monotonic() - written[-1]
        thread.join()
        assert len(written) == path.stat().st_size == 15
        assert took >= 1.0


@pytest.mark.clock
def test_none_comes_each_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK_S", LOOK_S)
    (tmp_path / "a.mkv").write_bytes(b"x")
    with Watch(tmp_path) as watch:
        assert watch.next() == tmp_path / "a.mkv"
        began = time.monotonic()
        assert next(watch.files) is None
        assert 0.9 < time.monotonic() - began < 5


def test_a_file_that_somebody_writes(tmp_path: Path) -> None:
    """It does not grow, but its writer has it open, here in another process."""
    path = tmp_path / "a.mkv"
    code = "import sys; f = open(sys.argv[1], 'wb'); f.write(b'x'); f.flush(); print(flush=True); input()"
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as writer,
        Watch(tmp_path) as watch,
    ):
        assert writer.stdout is not None
        writer.stdout.readline()
        watch.nothing()
        with path.open("rb"):  # readers do not count
            writer.communicate(b"\n")
            assert watch.next() == path


@pytest.mark.parametrize("poll", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_renames_and_replacements(tmp_path: Path, poll: bool) -> None:
    folder, outside = tmp_path / "in", tmp_path / "out.mkv"
    folder.mkdir()
    with Watch(folder, poll=poll) as watch:
        assert next(watch.files) is None
        outside.write_bytes(b"x")
        os.utime(outside, ns=(7, 7))
        outside.rename(folder / "moved.mkv")
        assert watch.next() == folder / "moved.mkv"
        part = folder / "b.mkv.crdownload"
        part.write_bytes(b"x")
        watch.nothing()
        part.rename(folder / "b.mkv")
        assert watch.next() == folder / "b.mkv"
        (folder / "moved.mkv").touch()
        outside.write_bytes(b"xy")
        os.utime(outside, ns=(7, 7))
        outside.replace(folder / "moved.mkv")
        assert watch.next() == folder / "moved.mkv"
        (folder / "b.mkv").unlink()
        watch.nothing()


def test_folders_within(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    made = tmp_path / "made"
    for name in ("s/a.mkv", ".h/b.mkv", "s/x.vidsr/0.mkv"):
        (made / name).parent.mkdir(parents=True)
        (made / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to("in")
    with Watch(tmp_path / "link", recursive=True) as watch:
        assert next(watch.files) is None
        made.rename(folder / "made")
        assert watch.next() == tmp_path / "link" / "made" / "s" / "a.mkv"
        (folder / "new" / "deep").mkdir(parents=True)
        (folder / "new" / "deep" / "c.mkv").write_bytes(b"x")
        assert watch.next() == tmp_path / "link" / "new" / "deep" / "c.mkv"
        (folder / "made" / "s" / "x.vidsr" / "1.mkv").write_bytes(b"x")
        watch.nothing()
    with Watch(folder, recursive=False) as watch:
        assert next(watch.files) is None
        (folder / "new" / "d.mkv").write_bytes(b"x")
        watch.nothing()


def test_a_lost_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_RESCAN_S", 0.5)
    monkeypatch.setattr(watching._Watcher, "_take_events", lambda self: None)
    with Watch(tmp_path) as watch:
        assert next(watch.files) is None
        (tmp_path / "a.mkv").write_bytes(b"x")
        assert watch.next() == tmp_path / "a.mkv"


@pytest.mark.clock
def test_it_stops_soon(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.mkv").write_bytes(b"x")
    watch = Watch(tmp_path)
    assert watch.next().name == "0.mkv"
    watch.stop.set()
    began = time.monotonic()
    assert list(watch.files) == []
    assert time.monotonic() - began < 3
    assert not [t.name for t in threading.enumerate() if "watchdog" in type(t).__module__ and t.is_alive()]


def replace(folder: Path) -> None:
    folder.rename(folder.with_name("other"))
    folder.mkdir()


@pytest.mark.parametrize("how", [Path.rmdir, replace])
def test_a_folder_that_vanishes(tmp_path: Path, how: Callable[[Path], None]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    watch = Watch(folder, tmp_path)
    assert next(watch.files) is None
    how(folder)
    with pytest.raises(SourceError, match="in: the folder that is watched went away"):
        watch.next()


def test_folders_that_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mkv").write_bytes(b"x")
    for name, words in (("gone", "No such file"), ("a.mkv", "this is no folder")):
        with pytest.raises(SourceError, match=f"{name}: this folder cannot be watched .{words}"):
            Watch(tmp_path / name)
    from watchdog.observers import Observer

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Observer, "schedule", full)
    with pytest.raises(SourceError, match=r"limit reached\); poll instead, or raise"):
        next(Watch(tmp_path).files)


def test_without_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchdog.observers", None)
    with pytest.raises(BackendUnavailableError, match=r"not installed; run: pip install 'vidsr\[watch\]'"):
        Watch(tmp_path)
