"""A process with VapourSynth, as fixtures."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def child_environment() -> dict[str, str]:
    """The environment of a process that imports this tree's vidsr."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}


@pytest.fixture(scope="module")
def inside(
    vapoursynth_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """Calls a function of vapoursynth_child.py in a process with VapourSynth; its failure is the test's."""
    child = Path(__file__).with_name("vapoursynth_child.py")
    log = tmp_path_factory.mktemp("child") / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [str(vapoursynth_python), str(child)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=child_environment(),
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None

        def call(called: str, /, **arguments: Any) -> Any:
            process.stdin.write(json.dumps([called, arguments]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                pytest.fail(f"the process with VapourSynth has ended: {log.read_text()}")
            answer = json.loads(line)
            if "failed" in answer:
                pytest.fail(answer["failed"])
            return answer["returned"]

        yield call
        process.stdin.close()
        code = process.wait(timeout=60)
    if code:
        pytest.fail(f"the process with VapourSynth has ended with {code}: {log.read_text()}")
