"""Makes the media tests' helper modules importable here too, and gives every fault test its clip."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "media"))
sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from command import Command, Whole
from synth import make_clip


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The clip, and the bytes of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    make_clip(folder / "in.mp4", times=Whole.FRAMES, sound=True, options={"g": "10"})
    done = Command(folder).run()
    assert done.code == 0, done.lines
    return Whole(folder / "in.mp4", (folder / "out.mp4").read_bytes())


@pytest.fixture
def command(whole: Whole, tmp_path: Path) -> Command:
    """``vidsr upscale in.mp4 -o out.mp4`` in a folder of its own, with a clip of its own."""
    (tmp_path / "in.mp4").write_bytes(whole.source.read_bytes())
    return Command(tmp_path)
