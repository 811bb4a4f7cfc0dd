"""Which files are media, natural order, folders with links in a circle, globs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.batch.finding import (
    PICTURE_SUFFIXES,
    Walk,
    absolute,
    has_magic,
    is_media,
    natural_key,
)
from vidsr.errors import SourceError
from vidsr.video.encoders import PICTURE_CODECS


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(paths: list[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_pictures_are_those_that_vidsr_writes() -> None:
    assert frozenset(PICTURE_CODECS) == PICTURE_SUFFIXES


def test_numbers_count_as_numbers() -> None:
    ordered = ["E1", "e2", "e02b", "e10", "e10a", "f", "f" + "9" * 5000]
    ordered.reverse()
    ordered.sort(key=natural_key)
    assert ordered == ["E1", "e2", "e02b", "e10", "e10a", "f", "f" + "9" * 5000]


@given(st.lists(st.text(alphabet="aAb019²é_-.\n", max_size=6), max_size=8))
def test_the_order_is_one_order(texts: list[str]) -> None:
    in_order = sorted(texts, key=natural_key)
    texts.reverse()
    texts.sort(key=natural_key)
    assert texts == in_order
    assert len({natural_key(text) for text in texts}) == len(set(texts))


@given(st.text("ab", max_size=3), st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_decide(head: str, one: int, other: int) -> None:
    if one != other:
        assert (natural_key(f"{head}{one}.mkv") < natural_key(f"{head}{other}.mkv")) == (one < other)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.MKV", True),
        ("a.b.mp4", True),
        ("-a.png", True),
        ("a.txt", False),
        ("mkv", False),
        (".a.mkv", False),
        (".mkv", False),
        ("a.partial.mp4", False),
        ("a.mkv.part", False),
        ("a.mkv.!qB", False),
    ],
)
def test_what_is_taken(name: str, taken: bool) -> None:
    assert is_media(name) is taken


def test_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "e10.mkv", "e2.mkv", "x.txt", ".h.mkv", "sub/e1.mkv", ".git/a.png", "e2.mkv.vidsr/0.mp4")
    (tmp_path / "folder.mkv").mkdir()
    assert names(Walk().folder(tmp_path, recursive=False), tmp_path) == ["e2.mkv", "e10.mkv"]
    deep = names(Walk().folder(tmp_path, recursive=True), tmp_path)
    assert deep == ["e2.mkv", "e10.mkv", "sub/e1.mkv"]


@pytest.mark.timeout(20)
def test_links_in_circles_end(tmp_path: Path) -> None:
    """Each real folder once, by its own name where it has one below the root."""
    real = tmp_path / "root"
    for i in range(12):
        touch(real, f"z{i}/e.mkv")
        for j in range(12):
            (real / f"z{i}" / f"to{j}").symlink_to(real / f"z{j}")
    touch(tmp_path, "elsewhere/f.mkv")
    (real / "a").symlink_to(tmp_path / "elsewhere")
    (real / "up").symlink_to(real)
    (real / "self.mkv").symlink_to("self.mkv")
    (real / "nowhere.mkv").symlink_to("gone.mkv")
    expected = ["a/f.mkv", *(f"z{i}/e.mkv" for i in range(12))]
    assert names(Walk().folder(real, recursive=True), real) == expected
    assert names(Walk().glob(real / "**" / "*.mkv"), real) == expected
    assert names(Walk().glob(real / "**"), real) == expected


def test_globs(tmp_path: Path) -> None:
    touch(tmp_path, "s1/e1.mkv", "s1/e1.srt", "s2/e2.mkv", "s2/x/e3.mp4", "s2/x.vidsr/0.mkv", ".s/e.mkv")
    touch(tmp_path, "s1/.h.mkv", "s1/e.partial.mkv")
    found = {
        "*/*.mkv": ["s1/e1.mkv", "s2/e2.mkv"],
        "s?/*": ["s1/e1.mkv", "s2/e2.mkv"],
        "s1/*.srt": ["s1/e1.srt"],
        "s1/*.s*": [],
        "s1/.*": ["s1/.h.mkv"],
        "**/e[23].m*": ["s2/e2.mkv", "s2/x/e3.mp4"],
        "**/**/*.mp4": ["s2/x/e3.mp4"],
        "*/x/*": ["s2/x/e3.mp4"],
        "S1/*.mkv": [],
        "*": [],
    }
    assert {glob: names(Walk().glob(tmp_path / glob), tmp_path) for glob in found} == found
    assert [word for word in ("a[1].mkv", "a*", "a?", "a]") if has_magic(word)] == ["a[1].mkv", "a*", "a?"]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    hostile = ["\n.mkv", "-y.mkv", "{stem}.mkv", "%d.mkv", os.fsdecode(b"\xff\xfe.mkv"), "x" * 251 + ".mkv"]
    touch(tmp_path, *hostile)
    assert sorted(names(Walk().folder(tmp_path, recursive=True), tmp_path)) == sorted(hostile)
    assert sorted(names(Walk().glob(tmp_path / "*.mkv"), tmp_path)) == sorted(hostile)


def test_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/e.mkv", "closed/e.mkv")
    scandir = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    walk = Walk()
    assert names(walk.folder(tmp_path, recursive=True), tmp_path) == ["a/e.mkv"]
    assert walk.notes == [f"{tmp_path}/closed: cannot read this folder (Permission denied); it is left out"]
    with pytest.raises(SourceError, match="cannot read this folder"):
        Walk().folder(tmp_path / "closed", recursive=True)
    with pytest.raises(SourceError, match="cannot read this folder"):
        Walk().glob(tmp_path / "closed" / "*.mkv")


def test_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "real/sub/e.mkv")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "sub")
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("e.mkv")) == tmp_path / "e.mkv"
    assert absolute(Path("link/../e.mkv")) == tmp_path / "real" / "e.mkv"
    assert absolute(Path("link/..")) == tmp_path / "real"
    assert absolute(Path("link/e.mkv")) == tmp_path / "link" / "e.mkv"
