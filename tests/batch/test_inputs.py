"""From words to sources."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from vidsr.batch.inputs import BatchSource, gather
from vidsr.errors import OptionsError


@pytest.fixture
def season(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("season/e10.mkv", "season/e2.mkv", "season/extras/x.mkv", "season/note.txt", "one.avi"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(sources: tuple[BatchSource, ...], root: Path) -> list[str]:
    return [str(Path(one.source).relative_to(root)) for one in sources]


def test_files_folders_and_globs(season: Path) -> None:
    found = gather(["one.avi", "season", "season/*.txt", "**/x.mkv"]).sources
    assert paths(found, season) == [
        "one.avi",
        "season/e2.mkv",
        "season/e10.mkv",
        "season/note.txt",
        "season/extras/x.mkv",
    ]
    assert [str(one.root.relative_to(season)) for one in found] == [".", "season", "season", "season", "."]
    assert [one.named for one in found] == [True, False, False, False, False]
    assert [str(one.subfolder) for one in found] == [".", ".", ".", ".", "season/extras"]
    deep = gather(["season"], recursive=True).sources
    assert paths(deep, season)[-1] == "season/extras/x.mkv"
    assert deep[-1].subfolder == Path("extras")


def test_each_file_once(season: Path) -> None:
    (season / "link").symlink_to("season")
    words = ["season", "season/e2.mkv", "./season/../season/e2.mkv", "link", "season/*.mkv"]
    found = gather(words).sources
    assert paths(found, season) == ["season/e2.mkv", "season/e10.mkv"]
    assert [one.named for one in found] == [True, False]


def test_a_file_of_a_globs_name_is_a_file(season: Path) -> None:
    for name in ("clip[1].mkv", "*.mkv", "%d.png", "-"):
        (season / name).write_bytes(b"x")
    assert paths(gather(["clip[1].mkv", "*.mkv", "%d.png", "./-"]).sources, season) == [
        "clip[1].mkv",
        "*.mkv",
        "%d.png",
        "-",
    ]


def test_sequences_and_addresses(season: Path) -> None:
    for number in (1, 2):
        (season / f"shot_{number:04d}.png").write_bytes(b"x")
    pattern, address = gather(["shot_%04d.png", "https://host/clip.mp4"]).sources
    assert pattern.source == season / "shot_%04d.png"
    assert (address.source, address.root, address.subfolder) == ("https://host/clip.mp4", season, Path())


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\0"])
def test_a_list_on_stdin(season: Path, ending: bytes) -> None:
    wild = os.fsencode(season) + b"/\xff\xfe*.mkv"
    Path(os.fsdecode(wild)).write_bytes(b"x")
    names = [b"one.avi", wild, b"", b"season"]
    if ending == b"\0":
        (season / "new\nline.mkv").write_bytes(b"x")
        names.append(b"new\nline.mkv")
    found = gather(["-"], stdin=io.BytesIO(ending.join(names) + ending)).sources
    expected = ["one.avi", os.fsdecode(b"\xff\xfe*.mkv"), "season/e2.mkv", "season/e10.mkv"]
    assert paths(found, season) == expected + (["new\nline.mkv"] if ending == b"\0" else [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.mkv"], "gone.mkv: there is no such file"),
        (["gone*.mkv"], r"gone\*.mkv: no file is meant by this"),
        (["gone/*.mkv"], r"gone/\*.mkv: no file is meant by this"),
        (["gone_%d.png"], "gone_%d.png: there is no such file"),
        (["empty"], "empty: there are no videos or pictures in this folder; check the paths"),
        (["dead.mkv"], "dead.mkv: this link leads nowhere"),
        ([""], "an empty name means nothing"),
        (["a", "b"], "a: there is no such file; b: there is no such file"),
        (["gone.toml"], "cannot read this TOML file"),
        (["-"], r"line 2 of stdin: \*.avi: there is no such file"),
        ([f"x{i}" for i in range(12)], "x9: there is no such file; and 2 more"),
    ],
)
def test_words_that_mean_nothing(season: Path, words: list[str], message: str) -> None:
    (season / "empty").mkdir()
    (season / "dead.mkv").symlink_to("nowhere")
    with pytest.raises(OptionsError, match=message):
        gather(words, stdin=io.BytesIO(b"one.avi\n*.avi\n"))


def test_no_stdin() -> None:
    with pytest.raises(OptionsError, match="no stdin"):
        gather(["-"])


def test_a_manifest_among_words(season: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names are relative to itself; an entry that names a file counts, not the folder's."""
    manifest = season / "jobs.toml"
    manifest.write_text(
        """
        max_tries = 4
        [defaults]
        crf = 20
        output = "2x/{stem}{suffix}"
        [[files]]
        source = "season"
        recursive = true
        [[files]]
        source = "season/e2.mkv"
        crf = 16
        [[files]]
        source = "season/e2.mkv"
        scale = 4
        output = "4x/{stem}{suffix}"
        """
    )
    monkeypatch.chdir("/")
    inputs = gather([str(manifest), str(season / "one.avi")])
    assert (inputs.max_tries, inputs.workers) == (4, None)
    told = [
        (p, s.options, s.output) for p, s in zip(paths(inputs.sources, season), inputs.sources, strict=True)
    ]
    assert told == [
        ("season/e2.mkv", {"crf": 16.0}, "2x/{stem}{suffix}"),
        ("season/e2.mkv", {"crf": 20.0, "scale": 4}, "4x/{stem}{suffix}"),
        ("season/e10.mkv", {"crf": 20.0}, "2x/{stem}{suffix}"),
        ("season/extras/x.mkv", {"crf": 20.0}, "2x/{stem}{suffix}"),
        ("one.avi", {}, None),
    ]
    assert inputs.sources[0].base == season
    assert inputs.sources[-1].base is None
    manifest.write_text("[[files]]\nsource = 'gone.mkv'")
    with pytest.raises(OptionsError, match=r"jobs\.toml: files\[0\]: .*gone\.mkv: there is no such file"):
        gather([str(manifest)])
