"""The autouse fixture of conftest.py sees what a test leaves behind, and lets clean tests pass."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_CONFTEST = (Path(__file__).parents[1] / "conftest.py").read_text()
_REQUIRED = (Path(__file__).parents[1] / "required.py").read_text()
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


def test_leftovers_fail_their_test(pytester: pytest.Pytester) -> None:
    assert "_GRACE_S = 2.0" in _CONFTEST
    pytester.makeconftest(_CONFTEST.replace("_GRACE_S = 2.0", "_GRACE_S = 0.1"))
    pytester.makepyfile(_TESTS)
    pytester.makepyfile(required=_REQUIRED)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=5, errors=4)
    for text in ("thread vidsr-left", "open file", "pipe:", ".left"):
        result.stdout.fnmatch_lines(f"*left behind: *{text}*")


@pytest.mark.parametrize(("wanted", "outcome"), [("gpu, data", "failed"), ("gpu", "skipped")])
def test_required_data_must_be_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, wanted: str, outcome: str
) -> None:
    monkeypatch.setenv("VIDSR_REQUIRE", wanted)
    monkeypatch.setenv("VIDSR_TEST_DATA", str(pytester.path))
    pytester.makeconftest(_CONFTEST)
    pytester.makepyfile("def test_it(data): pass")
    pytester.makepyfile(required=_REQUIRED)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(**{"errors" if outcome == "failed" else outcome: 1})
    result.stdout.fnmatch_lines(
        "*set VIDSR_TEST_DATA to the folder*" if outcome == "failed" else "*1 skipped*"
    )
