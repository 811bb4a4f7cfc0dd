"""The cache of engines: nothing that is not what its record says is handed out."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engines import ABOUT, GATE, PLACE, left

from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import EngineKey
from vidsr.backends.engine_states import outdated_kin, prune, stale
from vidsr.backends.tensorrt.gate import GateResult
from vidsr.errors import OutputError

KEY = EngineKey.at(PLACE, model="2x-test", graph="a" * 64, shapes="960x540", precision="fp16")
OTHER = replace(KEY, shapes="640x360")
DATA = bytes(range(256)) * 20
DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    found = EngineCache(tmp_path / "engines")
    keep(found, KEY)
    return found


def keep(cache: EngineCache, key: EngineKey, data: bytes = DATA) -> None:
    with cache.building(key) as there:
        assert there is None
        cache.put(key, data, GATE, ABOUT)


def file(cache: EngineCache, ending: str = ".engine", key: EngineKey = KEY) -> Path:
    return cache.folder / f"{key.name}{ending}"


def test_what_is_kept_is_found(cache: EngineCache) -> None:
    found = EngineCache(cache.folder).get(KEY)
    assert found is not None
    assert (found.data, found.record.key, found.record.gate, found.record.about) == (DATA, KEY, GATE, ABOUT)
    assert found.path.read_bytes() == DATA
    assert cache.get(OTHER) is None
    assert cache.refused == ""
    assert left(cache.folder) == {file(cache).name, file(cache, ".json").name}
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_the_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EngineCache().folder == tmp_path / "vidsr" / "engines"
    assert list(EngineCache().all()) == []
    monkeypatch.setattr("vidsr.backends.engine_cache.cache_file", lambda _: None)
    with pytest.raises(OutputError, match="no home"):
        EngineCache()


def flip(cache: EngineCache) -> None:
    data = bytearray(DATA)
    data[1000] ^= 1
    file(cache).write_bytes(data)


def foreign(cache: EngineCache) -> None:
    keep(cache, OTHER, b"other")
    for ending in (".engine", ".json"):
        file(cache, ending, OTHER).replace(file(cache, ending))


def edit(cache: EngineCache, **what: object) -> None:
    path = file(cache, ".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | what))


DAMAGES: dict[str, tuple[Callable[[EngineCache], object], str]] = {
    "truncated": (lambda c: file(c).write_bytes(DATA[:-1]), "5119 bytes, its record says 5120"),
    "empty": (lambda c: file(c).write_bytes(b""), "0 bytes"),
    "flipped": (flip, "not those of its record"),
    "foreign": (foreign, "shapes was 640x360, is 960x540"),
    "no record": (lambda c: file(c, ".json").unlink(), "record is missing"),
    "no engine": (lambda c: file(c).unlink(), "no engine"),
    "a folder": (lambda c: (file(c).unlink(), file(c).mkdir()), "bytes"),
    "no json": (lambda c: file(c, ".json").write_text("{"), "damaged"),
    "a list": (lambda c: file(c, ".json").write_text("[]"), "not one of vidsr's"),
    "long": (lambda c: file(c, ".json").write_text(" " * 70000), "not one of vidsr's"),
    "deep": (lambda c: file(c, ".json").write_text("[" * 60000), "damaged"),
    "wrong type": (lambda c: edit(c, bytes="many"), "damaged"),
    "another digest": (lambda c: edit(c, sha256="0" * 64), "not those of its record"),
    "a key too many": (lambda c: edit(c, extra=1), "unknown key 'extra'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_refused_and_replaced(cache: EngineCache, damage: str) -> None:
    work, words = DAMAGES[damage]
    work(cache)
    assert cache.get(KEY) is None
    assert words in cache.refused
    problems = [entry.problem for entry in cache.verify()]
    assert len(problems) == 1
    assert problems[0]
    if damage == "a folder":
        file(cache).rmdir()
    with cache.building(KEY) as there:
        assert there is None
        cache.put(KEY, DATA, GATE, ABOUT)
    assert cache.get(KEY) is not None
    assert cache.refused == ""
    assert [entry.problem for entry in cache.verify()] == [""]


def test_one_builds_and_the_other_waits_and_finds(tmp_path: Path) -> None:
    said: list[str] = []
    waits = threading.Event()
    found: list[bool] = []

    def wait() -> None:
        def told(text: str) -> None:
            said.append(text)
            waits.set()

        with EngineCache(tmp_path).building(KEY, told) as there:
            found.append(there is not None)

    thread = threading.Thread(target=wait)
    with EngineCache(tmp_path).building(KEY) as there:
        assert there is None
        thread.start()
        assert waits.wait(60)
        EngineCache(tmp_path).put(KEY, DATA, GATE, ABOUT)
        assert found == []
        with EngineCache(tmp_path).building(OTHER):  # another engine is nobody's business
            pass
    thread.join(60)
    assert found == [True]
    assert said == [f"waiting for process {os.getpid()}, which builds {KEY.name}"]


def test_leftovers_of_the_killed_go_under_the_lock(cache: EngineCache) -> None:
    work = cache.folder / f"{KEY.name}.12.building"
    work.mkdir()
    (work / "engine").write_bytes(b"half")
    partial = cache.folder / f"{KEY.name}.engine.12.partial"
    partial.write_bytes(b"half")
    others = cache.folder / f"{OTHER.name}.12.building"
    others.mkdir()
    with cache.building(KEY):
        assert not work.exists()
        assert not partial.exists()
        assert others.exists()
    assert [entry.name for entry in cache.all() if entry.problem] == [OTHER.name]
    prune(cache, None, {}, remove=True)
    assert not others.exists()


def test_a_full_disk(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with cache.building(OTHER), pytest.raises(OutputError, match=r"No space left.*XDG_CACHE_HOME"):
        cache.put(OTHER, DATA, GATE, ABOUT)
    assert left(cache.folder) == {file(cache).name, file(cache, ".json").name}
    assert cache.get(KEY) is not None


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="cannot be kept here"),
        EngineCache(tmp_path / "file").building(KEY),
    ):
        pass
    assert EngineCache(tmp_path / "file").get(KEY) is None


def test_timings(cache: EngineCache) -> None:
    assert cache.timing(PLACE) is None
    cache.keep_timing(PLACE, b"times")
    cache.keep_timing(PLACE, b"")
    assert cache.timing(PLACE) == b"times"
    assert cache.timing(replace(PLACE, driver="560")) is None
    path = next(cache.folder.glob("timing_*.cache"))
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.timing(PLACE) is None


def entry_of(cache: EngineCache) -> object:
    return next(iter(cache.all()))


INSTALLED = {"2x-test": frozenset({ABOUT.model_sha256})}


@pytest.mark.parametrize(
    ("places", "installed", "days", "words"),
    [
        ([PLACE], INSTALLED, 99, ""),
        (None, INSTALLED, 99, ""),
        ([replace(PLACE, device="another", driver="1")], INSTALLED, 0, ""),
        ([replace(PLACE, driver="560")], INSTALLED, 0, "driver was 550.54, is 560"),
        ([replace(PLACE, runtime_version="11")], INSTALLED, 0, "tensorrt was 10.13.2, is 11"),
        ([replace(PLACE, driver="560"), PLACE], INSTALLED, 0, ""),
        ([PLACE], {"2x-test": frozenset({"1" * 64})}, 0, "2x-test is another by now"),
        ([PLACE], {}, 29, ""),
        ([PLACE], {}, 31, "not installed, and it was not used for 31 days"),
    ],
)
def test_stale(cache: EngineCache, places: object, installed: object, days: int, words: str) -> None:
    found = stale(entry_of(cache), places, installed, now=time.time() + days * DAY + 1)  # type: ignore[arg-type]
    assert words in found
    assert bool(words) == bool(found)


def test_use_is_noted(cache: EngineCache) -> None:
    long_ago = time.time() - 50 * DAY
    os.utime(file(cache, ".json"), (long_ago, long_ago))
    assert stale(entry_of(cache), [PLACE], {})  # type: ignore[arg-type]
    assert cache.get(KEY) is not None
    assert not stale(entry_of(cache), [PLACE], {})  # type: ignore[arg-type]


def test_pruning(cache: EngineCache) -> None:
    keep(cache, OTHER)
    file(cache, key=OTHER).write_bytes(b"damaged")
    assert [p.entry.name for p in prune(cache, [PLACE], INSTALLED, remove=False)] == [OTHER.name]
    assert len(list(cache.all())) == 2
    with cache.building(OTHER):
        assert [p.removed for p in prune(cache, [PLACE], INSTALLED, remove=True)] == [False]
    assert [p.removed for p in prune(cache, [PLACE], INSTALLED, remove=True)] == [True]
    assert [entry.name for entry in cache.all()] == [KEY.name]
    assert prune(cache, [PLACE], INSTALLED, remove=True, older=1) == []
    assert [p.removed for p in prune(cache, [PLACE], INSTALLED, remove=True, older=0)] == [True]
    assert left(cache.folder) == set()


def test_an_engine_for_the_driver_before_is_told(cache: EngineCache) -> None:
    now = replace(KEY, driver="560")
    assert cache.get(now) is None
    assert outdated_kin(cache, now) == "the driver was 550.54, is 560"
    assert outdated_kin(cache, KEY) == ""
    assert outdated_kin(cache, replace(now, graph="b" * 64)) == ""


def test_the_gate_limit() -> None:
    assert GateResult(50.0, 1, 3, "").passes
    assert not GateResult(49.99, 1, 3, "").passes
    assert not GateResult(100.0, 0, 0, "").passes
