"""Fixtures for all tests: what must be there, and what no test may leave behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from leftovers import SHARED, watched
from required import require

if TYPE_CHECKING:
    from vidsr.backends.tensorrt.library import Library

# How long an example takes says more of the machine than of the code.
settings.register_profile("vidsr", deadline=None)
settings.load_profile("vidsr")


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a temporary folder of its own, so that whatever lies there is the tests'."""
    # Whatever a script starts in its background ignores Ctrl-C, and so would all that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Small tensors are slower on several threads than on one; torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = tempfile.TemporaryDirectory(prefix="vidsr-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", SHARED)  # tmp_path stays where pytest puts it
    os.environ["TMPDIR"] = tempfile.tempdir = folder.name
    cache = Path(folder.name) / "cache"  # what is measured in tests is nothing for the user's own jobs
    cache.mkdir()
    os.environ["XDG_CACHE_HOME"] = str(cache)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what compares with the clock up to three times: a defect fails each, a late wake-up hardly."""
    for item in items:
        if item.get_closest_marker("clock"):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of reference pictures, checkpoints and clips."""
    folder = os.environ.get("VIDSR_TEST_DATA", "")
    if not folder or not (Path(folder) / "eval").is_dir():
        require("data", f"set VIDSR_TEST_DATA to the folder of reference data (it is {folder!r})")
    return Path(folder)


@pytest.fixture(scope="session")
def vmaf() -> None:
    """The extra `vmaf`."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        require("vmaf", "VMAF is not installed; run: pip install 'vidsr[vmaf]'")


@pytest.fixture(scope="session")
def vapoursynth_python() -> Path:
    """An interpreter with VapourSynth and what vidsr needs."""
    named = os.environ.get("VIDSR_VAPOURSYNTH_PYTHON", "")
    python = Path(named or Path(__file__).parents[1] / ".vapoursynth/bin/python").absolute()
    if not python.is_file():
        require(
            "vapoursynth",
            f"{python}: there is no such interpreter; run python tests/hosts/make_vapoursynth.py FOLDER"
            " and set VIDSR_VAPOURSYNTH_PYTHON to FOLDER/bin/python",
        )
    return python


@pytest.fixture(scope="session")
def kernel() -> None:
    """The compiled kernels."""
    from vidsr import kernels

    if why := kernels.missing():
        require("kernel", f"{why}; install gcc and run: pip install -e .")


@pytest.fixture(scope="session")
def tensorrt_rtx() -> Library:
    """TensorRT for RTX, which parses and builds without a GPU."""
    from vidsr.backends.tensorrt.library import find_library, missing

    if why := missing("tensorrt-rtx"):
        require("tensorrt", why)
    return find_library("tensorrt-rtx")


@pytest.fixture(scope="session")
def sanitizers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """GCC, with its sanitizers."""
    gcc = shutil.which("gcc")
    if gcc is None:
        require("compiler", "there is no gcc; run: apt-get install gcc")
    made = tmp_path_factory.mktemp("gcc") / "nothing.so"
    command = [str(gcc), "-fsanitize=address,undefined", "-shared", "-xc", "/dev/null", "-o", str(made)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        require("compiler", "gcc has no sanitizers here; run: apt-get install libasan8 libubsan1")
    return str(gcc)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Chromium, and Playwright to drive it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        require("browser", "there is no Chromium; run: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        require("browser", "Playwright is not installed; run: pip install playwright")
    return str(found)


@pytest.fixture(scope="session")
def firefox_path() -> str:
    """Firefox, what speaks WebDriver BiDi with it, and what it needs to make a sound."""
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    if found is None:
        require("browser", "there is no Firefox; run: apt-get install firefox-esr")
    if shutil.which("pulseaudio") is None:
        require("browser", "Firefox makes no sound without PulseAudio; run: apt-get install pulseaudio")
    if importlib.util.find_spec("websockets") is None:
        require("browser", "websockets is not installed; run: pip install websockets")
    return str(found)


@pytest.fixture(scope="session")
def ray_installed() -> None:
    """The extra `ray`."""
    if importlib.util.find_spec("ray") is None:
        require("ray", "Ray is not installed; run: pip install 'vidsr[ray]'")


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The right to mount a file system, as root has it outside of most containers."""
    folder = tmp_path_factory.mktemp("mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        require("mount", f"mounting is not permitted here ({done.stderr.strip()}): run as root")
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def root() -> None:
    """Being root, who alone can become another user."""
    if os.geteuid():
        require("root", "becoming another user is not permitted here: run as root")


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, an open file or a temporary file behind."""
    # Fixtures of a wider scope are set up first, so what they hold open is not the test's.
    with watched(request.node.name):
        yield
