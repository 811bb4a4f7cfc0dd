"""Entries of a batch: what is left out of a second run, and which results are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidsr.batch import results
from vidsr.batch.entries import BatchEntry, plan_batch
from vidsr.batch.inputs import gather
from vidsr.batch.results import ignores_case
from vidsr.errors import OptionsError
from vidsr.job import NULL_OUTPUT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def plan(*words: str, recursive: bool = False, **more: object) -> tuple[BatchEntry, ...]:
    return plan_batch(gather(list(words), recursive=recursive).sources, **more)  # type: ignore[arg-type]


def names(entries: tuple[BatchEntry, ...]) -> list[str]:
    return [entry.name for entry in entries]


def test_entries(folder: Path) -> None:
    touch("in/a.mkv", "in/s/b\n.avi")
    first, second = plan("in", recursive=True, options={"crf": 20.0}, output="out/{stem}.mov")
    assert (first.name, second.name) == ("a.mkv", "s/b\\n.avi")
    assert (first.job.source, first.job.output) == (folder / "in/a.mkv", folder / "out/a.mov")
    assert (first.pending, first.result, first.job.crf) == (None, folder / "out/a.mov", 20.0)
    (pending,) = plan("in/a.mkv", options={"size": "x64"})
    assert pending.job.output is None
    assert pending.pending is not None
    assert pending.pending.with_suffix(".mp4", "96x64") == folder / "in/a_96x64.mp4"
    assert pending.result == folder / "in/a_x64"
    below = plan("in", recursive=True, output_dir=Path("out"))
    assert [entry.result for entry in below] == [folder / "out/a_2x", folder / "out/s/b\n_2x"]


def test_keys_stay(folder: Path) -> None:
    touch("a.mkv", "b.mkv", os.fsdecode(b"\xff.mkv"))
    (folder / "link").symlink_to(".")
    keys = [entry.key for entry in plan(".", options={"crf": 20.0})]
    assert len(set(keys)) == 3
    assert keys == [entry.key for entry in plan("link", "a.mkv")]
    assert not set(keys) & {entry.key for entry in plan(".", options={"scale": 3})}
    assert all(len(key) == 16 and key.isascii() for key in keys)
    nothing = plan(".", output="null:")
    assert len({entry.key for entry in nothing}) == 3
    assert {(entry.job.output, entry.result) for entry in nothing} == {(NULL_OUTPUT, None)}


def test_the_command_line_wins_over_the_manifest(folder: Path) -> None:
    touch("m/a.mkv", "m/b.mkv")
    Path("m/jobs.toml").write_text(
        "[defaults]\ncrf = 20\nscale = 3\noutput = 'd/{name}'\nencoder_options = { a = '1', b = '1' }\n"
        "[[files]]\nsource = 'a.mkv'\ncrf = 10\noutput = 'own.mov'\n[[files]]\nsource = 'b.mkv'\n"
    )
    one, other = plan("m/jobs.toml", options={"encoder_options": {"b": "2"}})
    assert (one.job.crf, one.job.scale, one.job.output) == (10.0, 3, folder / "m/own.mov")
    assert (other.job.crf, other.job.output) == (20.0, folder / "m/d/b.mkv")
    assert one.job.encoder_options == {"a": "1", "b": "2"}
    one, other = plan("m/jobs.toml", options={"crf": 5.0, "size": "8x8"}, output="{stem}.mp4")
    assert (one.job.crf, one.job.scale, one.job.size, one.job.output) == (5.0, None, "8x8", folder / "a.mp4")


def test_a_second_run_takes_the_same_files(folder: Path) -> None:
    touch("clip.mp4", "clip_2x.mp4", "other.mkv", "other_2x.mkv", "clip_2x_2x.mp4", "clip_3x.mp4", "x_2x.mp4")
    touch("clip_2x.avi", "photo.jpg", "photo_2x.jpg", "photo_2x.mp4", "sub/clip_2x.mp4")
    taken = ["clip.mp4", "clip_2x.avi", "clip_3x.mp4", "other.mkv", "photo.jpg", "photo_2x.mp4", "x_2x.mp4"]
    assert names(plan(".")) == taken
    assert names(plan("*.mp4")) == ["clip.mp4", "clip_3x.mp4", "photo_2x.mp4", "x_2x.mp4"]
    assert names(plan("clip_2x.mp4")) == ["clip_2x.mp4"]


def test_a_second_run_into_a_folder_below(folder: Path) -> None:
    touch("clip.mp4", "sub/clip_2x.mp4", "out/clip_2x.mp4", "out/sub/clip_2x_2x.mp4")
    taken = names(plan(".", recursive=True, output_dir=Path("out")))
    assert taken == ["clip.mp4", "sub/clip_2x.mp4"]


def test_a_second_run_of_unknown_sizes(folder: Path) -> None:
    touch("clip.mp4", "clip_1920x1080.mp4", "clip_1920x720.mp4", "clip_x1080.avi")
    taken = names(plan(".", options={"size": "x1080"}))
    assert taken == ["clip.mp4", "clip_1920x720.mp4", "clip_x1080.avi"]


def test_results_at_one_place_are_refused(folder: Path) -> None:
    touch("a.mkv", "a.mp4", "a.jpg", "b.mkv")
    with pytest.raises(OptionsError) as caught:
        plan(".")
    assert str(caught.value) == (
        f"'a.mkv' and 'a.mp4' would both become {folder}/a_2x; tell them apart in the output template,"
        " by {name} or {subfolder}, or name other outputs"
    )
    assert len(plan(".", output="{name}_2x{suffix}")) == 4
    with pytest.raises(OptionsError, match=r"'a.jpg' and 'b.mkv' would both become .*/x.mkv"):
        plan("a.jpg", "b.mkv", output="x.mkv")
    with pytest.raises(OptionsError, match="would both become"):
        plan("a.mkv", "b.mkv", output="{stem}/../x{suffix}")
    Path("jobs.toml").write_text(
        "[[files]]\nsource = 'a.mkv'\n[[files]]\nsource = 'b.mkv'\noutput = 'sub/../a_2x.mov'\n"
        "[[files]]\nsource = 'a.jpg'\noutput = 'a_2x.avi'\n"
    )
    with pytest.raises(OptionsError, match=r"'a.mkv' and 'b.mkv' would both become"):
        plan("jobs.toml")
    with pytest.raises(OptionsError, match="both name the results"):
        plan("a.mkv", output="x.mkv", output_dir=folder)


def test_results_behind_links(folder: Path) -> None:
    touch("real/a.mkv", "b.mkv")
    (folder / "link").symlink_to("real")
    Path("jobs.toml").write_text(
        "[[files]]\nsource = 'b.mkv'\noutput = 'link/x.mkv'\n"
        "[[files]]\nsource = 'real/a.mkv'\noutput = 'real/x.mkv'\n"
    )
    with pytest.raises(OptionsError, match="would both become"):
        plan("jobs.toml")


def test_at_most_ten_are_told(folder: Path) -> None:
    touch(*(f"{i}.{suffix}" for i in range(13) for suffix in ("mkv", "avi")))
    with pytest.raises(OptionsError, match="; and 3 more; tell") as caught:
        plan(".")
    assert caught.value.message.count("would both become") == 10


def test_results_that_are_sources_are_refused(folder: Path) -> None:
    touch("a.mkv", "b.mkv", "a_2x.mp4", "dir/c.mkv")
    with pytest.raises(OptionsError, match=r"the result of 'a.mkv' could replace its own source"):
        plan("a.mkv", output="{folder}/{stem}{suffix}")
    with pytest.raises(OptionsError, match=r"the result of 'a.mkv' could replace the source 'a_2x.mp4'"):
        plan("a.mkv", "a_2x.mp4")
    (folder / "linked.mkv").symlink_to("b.mkv")
    with pytest.raises(OptionsError, match=r"the result of 'linked.mkv' could replace its own source"):
        plan("linked.mkv", output="b.mkv")
    Path("jobs.toml").write_text(
        "[[files]]\nsource = '[a]*.mkv'\noutput = 'b.mkv'\n[[files]]\nsource = '[b]*.mkv'\noutput = 'a.mkv'\n"
    )
    with pytest.raises(OptionsError, match="every one of these files is a result of this batch"):
        plan("jobs.toml")


def test_entries_that_are_there_already(folder: Path) -> None:
    """As when a folder is watched: files come one at a time."""
    touch("a.mkv", "a_2x.mkv", "a.avi", "b.mkv")
    first = plan("a.mkv")
    new = gather(["*_2x.mkv", "b.mkv"]).sources
    assert names(plan_batch(new, beside=first)) == ["b.mkv"]
    with pytest.raises(OptionsError, match=r"'a.mkv' and 'a.avi' would both become"):
        plan("a.avi", beside=first)
    clashing = [*first, *plan("a.avi")]
    assert names(plan("b.mkv", beside=clashing)) == ["b.mkv"]


def test_file_systems_without_cases(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("A.mkv", "b.mkv")
    files = (
        "[[files]]\nsource = 'A.mkv'\noutput = 'out/X.mkv'\n[[files]]\nsource = 'b.mkv'\noutput = 'out/x.mkv'"
    )
    Path("jobs.toml").write_text(files)
    assert len(plan("jobs.toml")) == 2
    monkeypatch.setattr(results, "ignores_case", lambda folder: True)
    with pytest.raises(OptionsError, match="would both become"):
        plan("jobs.toml")


def test_whether_cases_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without cases is one on which the swapped name is the same file: here by a stand-in."""
    touch("dir/a.mkv", "empty.d/.keep")
    Path("empty.d/.keep").unlink()
    assert not ignores_case(folder / "dir")
    assert not ignores_case(folder / "empty.d")
    (folder / "dir" / "A.MKV").symlink_to("a.mkv")
    assert not ignores_case(folder / "dir")
    (folder / "dir" / "A.MKV").unlink()
    lstat, lexists = os.lstat, os.path.lexists

    def real(path: Path) -> Path:
        return Path(path).with_name(Path(path).name.lower())

    monkeypatch.setattr(os, "lstat", lambda path: lstat(real(path)))
    monkeypatch.setattr(os.path, "lexists", lambda path: lexists(real(path)))
    assert ignores_case(folder / "dir")
    assert ignores_case(folder / "dir" / "not" / "there")
    assert ignores_case(folder / "empty.d")


@pytest.mark.parametrize(
    ("options", "output", "left_out"),
    [
        ({}, None, False),
        ({"scale": 3}, None, False),
        ({"codec": "libx265"}, None, True),
        ({"codec": "png"}, None, False),
        ({"crf": 20.0}, None, True),
        ({"preset": "slow"}, None, True),
        ({}, "{stem}_2x.mkv", True),
        ({}, "{stem}_2x.png", False),
    ],
)
def test_a_poster_is_no_episode(
    tmp_path: Path, options: dict[str, object], output: str | None, left_out: bool
) -> None:
    for name in ("e1.mkv", "poster.jpg", "fanart.png"):
        (tmp_path / name).write_bytes(b"")
    notes: list[str] = []
    found = plan_batch(gather([str(tmp_path)]).sources, options=options, output=output, notes=notes)
    assert len(found) == (1 if left_out else 3)
    said = "fanart.png and 1 more pictures are left out: what is asked for is video"
    assert notes == ([said] if left_out else [])
    named = gather([str(tmp_path / "poster.jpg")]).sources
    assert len(plan_batch(named, options=options, output=output)) == 1, "who names it means it"


def test_pictures_alone_and_options_for_video(tmp_path: Path) -> None:
    (tmp_path / "poster.jpg").write_bytes(b"")
    with pytest.raises(OptionsError, match="only pictures"):
        plan_batch(gather([str(tmp_path)]).sources, options={"crf": 20.0})
