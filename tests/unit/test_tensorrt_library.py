"""Finding TensorRT: what is absent, too old or broken, in one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidsr.backends.tensorrt import library
from vidsr.errors import BackendUnavailableError, EngineBuildError


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    library._imported.cache_clear()
    yield
    library._imported.cache_clear()
    for name in ("tensorrt", "tensorrt_rtx"):
        if getattr(sys.modules.get(name), "FAKE", False):
            del sys.modules[name]


FAKE = """
FAKE = True
__version__ = "{version}"
class ILogger:
    class Severity:
        INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)
class Builder:
    def __init__(self, log):
        log.log(1, "CUDA initialization failure with error: 100")
        log.log(3, "nothing")
        raise TypeError("factory function returned nullptr")
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = library.importlib.util.find_spec
    monkeypatch.setattr(
        library.importlib.util, "find_spec", lambda n, *a: None if n in names else found(n, *a)
    )


def test_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "tensorrt", "tensorrt_rtx")
    with pytest.raises(BackendUnavailableError) as caught:
        library.find_library()
    assert str(caught.value) == "TensorRT is not installed; run: pip install 'vidsr[tensorrt]'"
    with pytest.raises(BackendUnavailableError, match=r"RTX is not installed; run: .*\[tensorrt-rtx\]"):
        library.find_library("tensorrt-rtx")


@pytest.mark.parametrize(
    ("version", "usable"), [("10.11.0.33", False), ("10.12.0.36", True), ("11.4.1", True)]
)
def test_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, usable: bool) -> None:
    install(tmp_path, monkeypatch, "tensorrt", FAKE.format(version=version))
    if usable:
        found = library.find_library()
        assert (found.kind, found.version, found.times) == ("tensorrt", version, True)
        assert found.capabilities() == ()
        assert library.find_library() is found
    else:
        with pytest.raises(
            BackendUnavailableError, match=r"10\.11\.0\.33 is too old: typed networks need 10\.12"
        ):
            library.find_library()


def test_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "tensorrt", "raise OSError('libnvinfer.so.10: cannot open')")
    with pytest.raises(
        BackendUnavailableError, match=r"cannot be imported \(libnvinfer.so.10: cannot open\)"
    ):
        library.find_library()


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "tensorrt", FAKE.format(version="10.13.0"))
    with pytest.raises(EngineBuildError) as caught:
        library.find_library("tensorrt").builder()
    assert str(caught.value) == (
        "TensorRT 10.13.0 cannot begin to build (CUDA initialization failure with error: 100); "
        "TensorRT needs the GPU and its driver to build; TensorRT for RTX does not"
    )


@pytest.mark.parametrize(
    ("flags", "wanted"), [(SimpleNamespace(STRONGLY_TYPED=1), 2), (SimpleNamespace(), 0)]
)
def test_typed_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: SimpleNamespace, wanted: int
) -> None:
    """10.12 has a flag for them; a version without it has no others."""
    install(tmp_path, monkeypatch, "tensorrt", FAKE.format(version="10.13.0"))
    found = library.find_library("tensorrt")
    monkeypatch.setattr(found.module, "NetworkDefinitionCreationFlag", flags, raising=False)
    assert found.network(SimpleNamespace(create_network=lambda f: f)) == wanted
