"""The autouse fixture of conftest.py sees what a test leaves behind, and lets clean tests pass."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_TESTS_FOLDER = Path(__file__).parents[1]
_CONFTEST = (_TESTS_FOLDER / "conftest.py").read_text()
_ON_A_GPU = (_TESTS_FOLDER / "gpu" / "conftest.py").read_text()
_REQUIRED = (_TESTS_FOLDER / "required.py").read_text()
_LEFTOVERS = (_TESTS_FOLDER / "leftovers.py").read_text()
_TESTS = """
import os, tempfile, threading

def test_clean(tmp_path):
    with open(tmp_path / "a", "w"), tempfile.TemporaryFile():
        thread = threading.Thread(target=lambda: None)
        thread.start()
    thread.join()

def test_thread():
    threading.Thread(target=threading.Event().wait, name="vidsr-left", daemon=True).start()

def test_file(tmp_path):
    os.open(tmp_path / "a", os.O_CREAT)

def test_pipe():
    os.pipe()

def test_temporary_file():
    os.close(tempfile.mkstemp(suffix=".left")[0])
"""


def _impatient(pytester: pytest.Pytester) -> None:
    assert "_GRACE_S = 10.0" in _LEFTOVERS
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile(required=_REQUIRED, leftovers=_LEFTOVERS.replace("_GRACE_S = 10.0", "_GRACE_S = 0.1"))


def test_leftovers_fail_their_test(pytester: pytest.Pytester) -> None:
    _impatient(pytester)
    pytester.makepyfile(_TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=5, errors=4)
    for text in ("thread vidsr-left", "open file", "pipe:", ".left"):
        result.stdout.fnmatch_lines(f"*left behind: *{text}*")


def test_on_a_gpu_pipes_may_stay_open(pytester: pytest.Pytester) -> None:
    """CUDA's driver has some of its own."""
    _impatient(pytester)
    folder = pytester.mkpydir("gpu")
    (folder / "conftest.py").write_text(_ON_A_GPU)
    (folder / "test_on_a_gpu.py").write_text(_TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=5, errors=3)
    result.stdout.no_fnmatch_line("*pipe:*")


@pytest.mark.parametrize(("wanted", "outcome"), [("gpu, data", "failed"), ("gpu", "skipped")])
def test_required_data_must_be_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, wanted: str, outcome: str
) -> None:
    monkeypatch.setenv("VIDSR_REQUIRE", wanted)
    monkeypatch.setenv("VIDSR_TEST_DATA", str(pytester.path))
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile("def test_it(data): pass")
    pytester.makepyfile(required=_REQUIRED, leftovers=_LEFTOVERS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(**{"errors" if outcome == "failed" else outcome: 1})
    result.stdout.fnmatch_lines(
        "*set VIDSR_TEST_DATA to the folder*" if outcome == "failed" else "*1 skipped*"
    )
