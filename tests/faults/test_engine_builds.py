"""Building engines while processes are killed, stopped and many: one build, no half engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_engines
import pytest
from fake_engines import GATE, PLACE, builds, left, made, name
from waiting import until

from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.tensorrt.gate import GateResult
from vidsr.errors import EngineBuildError

ROOT = Path(__file__).parents[2]
KEY = fake_engines.key_for(fake_engines.DEPLOYED, fake_engines.Typed(), PLACE)
WHOLE = {f"{name()}.engine", f"{name()}.json"}


def start(folder: Path, how: str = "well", seconds: float = 0.0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(fake_engines.__file__)), str(folder), how, str(seconds)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"  # nobody waits for it in a container without an init


def works(folder: Path) -> None:
    """The next job builds, and nothing of the one before is left."""
    before = len(builds(folder))
    engine = made(folder)
    assert engine.data == b"engine of graph"
    assert len(builds(folder)) == before + 1
    assert left(folder) == WHOLE


def test_ten_processes_build_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, seconds=2.0) for _ in range(10)]
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        answers.append(json.loads(out))
    assert len(builds(tmp_path)) == 1
    assert len({answer["sha256"] for answer in answers}) == 1
    waited = [line for answer in answers for line in answer["said"]]
    assert len(waited) >= 5
    assert all(line.endswith(f"which builds {name()}") for line in waited)
    assert left(tmp_path) == WHOLE


@pytest.mark.parametrize("how", ["well", "holds the lock", pytest.param("stubborn", marks=pytest.mark.slow)])
def test_a_killed_job_takes_its_builder_along(tmp_path: Path, how: str) -> None:
    with start(tmp_path, how, seconds=60.0) as process:
        until(lambda: builds(tmp_path), process)
        time.sleep(0.2)
        process.kill()
        process.wait()
    (builder,) = builds(tmp_path)
    until(lambda: gone(builder))
    assert all(one.endswith(".building") for one in left(tmp_path))
    assert EngineCache(tmp_path).get(KEY) is None
    works(tmp_path)


@pytest.mark.parametrize("how", ["well", "holds the lock", pytest.param("stubborn", marks=pytest.mark.slow)])
def test_ctrl_c(tmp_path: Path, how: str) -> None:
    with start(tmp_path, how, seconds=60.0) as process:
        until(lambda: builds(tmp_path), process)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to both
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.strip().endswith("KeyboardInterrupt")
    assert gone(builds(tmp_path)[0])
    assert left(tmp_path) == set()
    works(tmp_path)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", ["was killed by SIGSEGV", "the library's last words", "another version"]),
        ("killed", ["was killed by SIGKILL", "the library's last words", "out of memory"]),
        ("refuses", ["layer conv is not supported; leave it out"]),
        ("fails", ["ended with code 1", "RuntimeError: something unforeseen", "--backend openvino"]),
    ],
)
def test_a_builder_that_dies_or_refuses(tmp_path: Path, how: str, words: list[str]) -> None:
    with pytest.raises(EngineBuildError) as caught:
        made(tmp_path, how)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == set()
    works(tmp_path)


def test_progress_comes_and_stops_the_build(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def told(phase: str, step: int, steps: int) -> bool:
        seen.append((phase, step, steps))
        return phase != "tactics" or step < 3

    before = threading.active_count()
    with pytest.raises(EngineBuildError, match="stopped; run the same command again"):
        made(tmp_path, seconds=2.0, progress=told)
    assert [one for one in seen if one[0] == "tactics"][-1] == ("tactics", 3, 10)
    assert left(tmp_path) == set()
    assert threading.active_count() == before
    assert gone(builds(tmp_path)[0])


@pytest.mark.clock
def test_progress_is_asked_even_where_nothing_is_told(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EngineBuildError, match="stopped"):
        made(tmp_path, "holds the lock", progress=lambda *_: time.monotonic() < began + 1.5)
    assert time.monotonic() < began + 10
    assert left(tmp_path) == set()


def flip(folder: Path) -> None:
    path = folder / f"{name()}.engine"
    path.write_bytes(b"E" + path.read_bytes()[1:])


def foreign(folder: Path) -> None:
    moved = replace(PLACE, driver="1.0")
    made(folder, place=moved)
    for ending in (".engine", ".json"):
        (folder / f"{name(moved)}{ending}").replace(folder / f"{name()}{ending}")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda f: os.truncate(f / f"{name()}.engine", 5), "5 bytes, its record says 15"),
    "flipped": (flip, "its bytes are not those of its record"),
    "foreign": (foreign, "driver was 1.0, is 550.54"),
    "without a record": (lambda f: (f / f"{name()}.json").unlink(), "its record is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_engines_are_refused_and_rebuilt(tmp_path: Path, damage: str) -> None:
    made(tmp_path)
    work, words = DAMAGES[damage]
    work(tmp_path)
    said: list[str] = []
    before = len(builds(tmp_path))
    assert made(tmp_path, said=said.append).data == b"engine of graph"
    assert len(builds(tmp_path)) == before + 1
    assert [words in line for line in said] == [True]
    assert made(tmp_path, said=said.append).data == b"engine of graph"
    assert len(builds(tmp_path)) == before + 1
    assert len(said) == 1


def test_a_new_driver_builds_anew_and_says_so(tmp_path: Path) -> None:
    made(tmp_path)
    said: list[str] = []
    moved = replace(PLACE, driver="560.1")
    made(tmp_path, place=moved, said=said.append)
    assert said == [f"{name(moved)} is built anew: the driver was 550.54, is 560.1"]


def test_measurements_are_handed_on(tmp_path: Path) -> None:
    made(tmp_path)
    assert EngineCache(tmp_path).timing(PLACE) == b"t"
    made(tmp_path, again=True)
    assert EngineCache(tmp_path).timing(PLACE) == b"tt"
    assert len(builds(tmp_path)) == 2


def test_an_inaccurate_engine_is_not_kept(tmp_path: Path) -> None:
    gated: list[bytes] = []

    def gate(data: bytes) -> GateResult:
        gated.append(data)
        return replace(GATE, psnr_db=49.9)

    with pytest.raises(EngineBuildError, match=r"49\.90 dB .* at least 50 .*--backend openvino"):
        made(tmp_path, gate=gate)
    assert gated == [b"engine of graph"]
    assert left(tmp_path) == set()
    works(tmp_path)
