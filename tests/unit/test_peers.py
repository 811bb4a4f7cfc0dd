"""The benchmark against other programs: ratios, tables, the worker, and what it says to wrong arguments."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("peers")


@pytest.fixture
def tables(peers: ModuleType) -> ModuleType:
    return importlib.import_module("peer_tables")


def test_ratios_are_medians_within_rounds(tables: ModuleType) -> None:
    # The medians of both are 20 and 10; within rounds the ratios are 1, 4 and 2.5.
    assert tables.ratio([10, 20, 25], [10, 5, 10]) == 2.5
    assert tables.share_apart(np.array([0, 9, 200, 255]), np.array([1, 9, 202, 0])) == 0.5
    assert tables.share_apart(np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)) == 1
    with pytest.raises(ValueError, match="cannot be compared"):
        tables.share_apart(np.zeros((2, 2)), np.zeros((2, 1)))


def test_tables_say_how_many_times_as_fast(tables: ModuleType) -> None:
    rows = [
        tables.Row("vidsr f32", fps=[10, 12, 11]),
        tables.Row("vidsr int8", refused="not here"),
        tables.Row("vs-mlrt ORT f32", streams=2, fps=[5, 4, 5.5], differs=0.0001),
        tables.Row("vs-mlrt OpenVINO f32", streams=1, pinned=False, fps=[20, 6, 11]),
    ]
    assert tables.table(rows) == [
        "| way | streams | fps | vidsr f32 is | luma off by > 1 |",
        "|---|--:|--:|--:|--:|",
        "| vidsr f32 |  | 11.0 | 1.00x |  |",
        "| vidsr int8 |  | - | - | not here |",
        "| vs-mlrt ORT f32 | 2 | 5.0 | 2.00x | 0.0100% |",
        "| vs-mlrt OpenVINO f32 | 1, free | 11.0 | 1.00x |  |",
    ]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], "make it with --prepare FOLDER"),
        (["--peer-python", "nowhere/python"], "nowhere/python: there is no such file"),
        (["--peer-python", sys.executable, "--rounds", "0"], "must be more than 0"),
        (["--peer-python", sys.executable, "--streams", "0"], "must be more than 0"),
        (["--peer-python", sys.executable], "give --clip CLIP"),
        (["--peer-python", sys.executable, "--clip", __file__, "--cases", "null"], "test_peers.py"),
        (["--peer-python", sys.executable, "--cases", "null,gpu"], "no case gpu; there are null, x264"),
    ],
)
def test_wrong_arguments_are_told(
    peers: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    wanted: str,
) -> None:
    monkeypatch.delenv("VIDSR_TEST_DATA", raising=False)
    with pytest.raises(SystemExit) as ended:
        peers.parse(words)
    assert ended.value.code == 2
    assert wanted in capsys.readouterr().err


def test_a_worker_answers_or_says_why_not(tmp_path: Path) -> None:
    plane = tmp_path / "plane.npy"
    np.save(plane, np.tile(np.arange(0, 240, 10, dtype=np.uint8), (24, 1)))
    model = str(FOLDER.parent / "engines/2x-ecbsr-m4c8.onnx")
    results = []
    for kind in ("net", "torch"):
        task = {"kind": kind, "plane": str(plane), "model": model, "precision": "f32", "backend": "auto"}
        into = str(tmp_path / f"{kind}.npy")
        asked = [{"do": "run", "frames": 10}, {"do": "luma", "number": 8, "into": into}]
        ready, ran, _ = _answers(task, asked)
        assert ready["ready"] > 0
        assert ran["fps"] > 0
        assert ran["others"] >= 0
        results.append(np.load(into).astype(int))
    assert results[0].shape == (48, 48)
    assert np.abs(results[0] - results[1]).max() <= 1
    task = {"kind": "net", "plane": str(plane), "model": model, "precision": "f32", "backend": "warp"}
    (refused,) = _answers(task, [])
    assert "warp" in refused["refused"]


def _answers(task: dict[str, str], asked: list[dict[str, object]]) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "peer_worker.py"), json.dumps(task)],
        input="".join(json.dumps(one) + "\n" for one in asked),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
