"""Makes the media tests' helper modules importable here too; a clip and its preview."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("media", "fakes")]

from browsing import started  # noqa: E402 - found there
from previewing import TOKEN, flash_and_beep, served  # noqa: E402 - found there
from synth import make_clip  # noqa: E402 - found there

from vidsr.job import Job  # noqa: E402 - found there
from vidsr.preview.access import Access  # noqa: E402 - found there
from vidsr.preview.clip import Clip  # noqa: E402 - found there
from vidsr.preview.server import Preview  # noqa: E402 - found there


@pytest.fixture
def preview(tmp_path: Path) -> Iterator[Preview]:
    made = Preview(Clip(Job(source=make_clip(tmp_path / "clip.mp4", sound=True))), Access(token=TOKEN))
    yield made
    made.close()


@pytest.fixture
def server() -> Callable[[Preview], object]:
    return served


@pytest.fixture
def flashing(tmp_path: Path) -> Path:
    return flash_and_beep(tmp_path / "flash.mp4", seconds=3)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both browsers, one after the other."""
    with started(request.param, request.getfixturevalue(f"{request.param}_path")) as found:
        yield found
