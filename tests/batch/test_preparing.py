"""Entries against the plan: new, done, changed, lost, begun anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plans import opened, parts

from vidsr.batch.entries import BatchEntry, plan_batch
from vidsr.batch.inputs import gather
from vidsr.batch.preparing import Prepared, prepare, state_folder
from vidsr.batch.store import Store
from vidsr.errors import OptionsError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.mp4", "deep/b.mp4"):
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def entries_of(folder: Path, **options: Any) -> tuple[BatchEntry, ...]:
    return plan_batch(gather([str(folder)], recursive=True).sources, options=options)


def numbers(found: Prepared) -> tuple[int, ...]:
    return found.new, found.going_on, found.done, found.retried, len(found.changed), len(found.lost)


def finish(store: Store, *, output: Path | None = None) -> None:
    """Do everything, with results at `output` and beside it."""
    while (task := store.claim("w", host="h", seconds=10, room=None, max_tries=3)) is not None:
        if task.kind == "plan":
            made = Path(str(task.job["source"]) + ".done") if output is None else output
            made.touch()
            store.planned(task.id, "w", (), frames=1, output=str(made), memory=0)
        else:
            store.joined(task.id, "w", {})


def test_new_then_going_on_then_done(tmp_path: Path, clips: Path) -> None:
    with opened(tmp_path / "state") as store:
        assert numbers(prepare(store, entries_of(clips))) == (2, 0, 0, 0, 0, 0)
        assert numbers(prepare(store, entries_of(clips))) == (0, 2, 0, 0, 0, 0)
        finish(store)
        assert numbers(prepare(store, entries_of(clips))) == (0, 0, 2, 0, 0, 0)
        assert [job.state for job in store.jobs()] == ["done", "done"]


@pytest.mark.parametrize("done", [False, True])
def test_what_has_changed_begins_anew_and_says_why(tmp_path: Path, clips: Path, done: bool) -> None:
    with opened(tmp_path / "state") as store:
        prepare(store, entries_of(clips, crf=20.0))
        if done:
            finish(store)
        found = prepare(store, entries_of(clips, crf=21.0))
        assert numbers(found) == (0, 0, 0, 0, 2, 0)
        assert "crf was 20, is 21" in found.changed[0]
        assert [job.state for job in store.jobs()] == ["waiting", "waiting"]
        assert all(job.job["discard"] for job in store.jobs())
        (clips / "a.mp4").write_bytes(b"other")
        assert "the source changed" in prepare(store, entries_of(clips, crf=21.0)).changed[0]


@pytest.mark.parametrize("done", [False, True])
def test_other_versions_spoil_only_what_is_unfinished(
    tmp_path: Path, clips: Path, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "state") as store:
        prepare(store, entries_of(clips))
        if done:
            finish(store)
        monkeypatch.setattr("vidsr.batch.preparing.version", lambda package: "99")
        found = prepare(store, entries_of(clips))
        assert (found.done, len(found.changed)) == ((2, 0) if done else (0, 2))


def test_a_result_that_vanished_is_made_again(tmp_path: Path, clips: Path) -> None:
    with opened(tmp_path / "state") as store:
        prepare(store, entries_of(clips))
        finish(store)
        (clips / "a.mp4.done").unlink()
        found = prepare(store, entries_of(clips))
        assert numbers(found) == (0, 0, 1, 0, 0, 1)
        assert sorted(job.state for job in store.jobs()) == ["done", "waiting"]


@pytest.mark.parametrize("there", [False, True])
def test_segments_that_were_cleaned_away_are_made_again(tmp_path: Path, clips: Path, there: bool) -> None:
    entries = entries_of(clips)[:1]
    output = tmp_path / "result.mp4"
    if there:
        (tmp_path / "result.mp4.vidsr").mkdir()
    with opened(tmp_path / "state") as store:
        prepare(store, entries)
        task = store.claim("w", host="h", seconds=10, room=None, max_tries=3)
        assert task is not None
        store.planned(task.id, "w", parts(2, done=1), frames=20, output=str(output), memory=0)
        found = prepare(store, entries)
        assert (found.going_on, len(found.lost)) == ((1, 0) if there else (0, 1))
        assert store.jobs()[0].state == ("running" if there else "waiting")


def test_failed_and_cancelled_ones_wait_again(tmp_path: Path, clips: Path) -> None:
    with opened(tmp_path / "state") as store:
        prepare(store, entries_of(clips))
        task = store.claim("w", host="h", seconds=10, room=None, max_tries=3)
        assert task is not None
        store.failed(task.id, "w", "no", final=True, max_tries=3)
        store.cancel([store.jobs()[1].key])
        assert numbers(prepare(store, entries_of(clips))) == (0, 0, 0, 2, 0, 0)
        assert [job.state for job in store.jobs()] == ["waiting", "waiting"]


def test_discard_begins_anew_but_for_what_is_done(tmp_path: Path, clips: Path) -> None:
    with opened(tmp_path / "state") as store:
        prepare(store, entries_of(clips)[:1])
        finish(store)
        prepare(store, entries_of(clips))
        task = store.claim("w", host="h", seconds=10, room=None, max_tries=3)
        assert task is not None
        store.planned(task.id, "w", (), frames=1, output="x", memory=0)
        prepare(store, entries_of(clips, discard=True))
        assert [job.state for job in store.jobs()] == ["done", "waiting"]
        assert store.jobs()[1].job["discard"]


def test_encoder_threads_are_those_of_the_first_run(
    tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "state") as store:
        monkeypatch.setattr("vidsr.batch.preparing.usable_cores", lambda: 7)
        prepare(store, entries_of(clips))
        monkeypatch.setattr("vidsr.batch.preparing.usable_cores", lambda: 3)
        assert prepare(store, entries_of(clips)).going_on == 2
        assert {job.job["encoder_threads"] for job in store.jobs()} == {7}


def test_a_source_that_cannot_be_read_holds_up_nothing(tmp_path: Path, clips: Path) -> None:
    entries = entries_of(clips)
    (clips / "a.mp4").unlink()
    with opened(tmp_path / "state") as store:
        assert prepare(store, entries).new == 2


def test_what_is_done_stays_done_without_its_source(tmp_path: Path, clips: Path) -> None:
    entries = entries_of(clips)
    with opened(tmp_path / "state") as store:
        prepare(store, entries)
        finish(store)
        (clips / "a.mp4").unlink()
        assert numbers(prepare(store, entries)) == (0, 0, 2, 0, 0, 0)


def test_state_is_where_all_results_are(tmp_path: Path, clips: Path) -> None:
    assert state_folder(entries_of(clips)) == clips / ".vidsr-batch"
    template = str(tmp_path / "out" / "{subfolder}" / "{stem}.mkv")
    entries = plan_batch(gather([str(clips)], recursive=True).sources, output=template)
    assert state_folder(entries) == tmp_path / "out" / ".vidsr-batch"
    far = plan_batch(gather([str(clips / "a.mp4")]).sources, output="/far/{stem}.mkv")
    with pytest.raises(OptionsError, match="--state"):
        state_folder([*entries, *far])
