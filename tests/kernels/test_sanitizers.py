"""The C sources under AddressSanitizer and UndefinedBehaviorSanitizer: random sizes, strides, weights."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "vidsr" / "kernels" / "src"
FLAGS = (
    "-std=gnu11 -O1 -g -fno-strict-aliasing -fno-omit-frame-pointer -shared -fPIC -DPy_LIMITED_API=0x030B0000"
)
pytestmark = pytest.mark.slow  # compiling takes most of it

SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture(scope="module")
def extension(sanitizers: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension, compiled with both sanitizers."""
    made = tmp_path_factory.mktemp("sanitized") / "_rows.so"
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    include = f"-I{sysconfig.get_paths()['include']}"
    done = subprocess.run(
        [sanitizers, *FLAGS.split(), *SANITIZERS.split(), include, *sources, "-o", str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


def run(extension: Path, seed: int, rounds: int) -> subprocess.CompletedProcess[str]:
    library = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return subprocess.run(
        [sys.executable, str(HERE / "sanitized.py"), str(extension), str(seed), str(rounds)],
        env=os.environ
        | {
            "LD_PRELOAD": library,
            "PYTHONMALLOC": "malloc",
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clean(extension: Path, seed: int) -> None:
    done = run(extension, seed, 1000)
    assert done.stdout == "clean\n", done.stdout + done.stderr[-4000:]
    assert done.returncode == 0
