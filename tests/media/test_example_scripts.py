"""The examples run as a reader would run them."""

import subprocess
import sys
from pathlib import Path

from describe import describe

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_upscale_in_python(tmp_path: Path) -> None:
    said = run(EXAMPLES / "upscale_in_python.py", EXAMPLES / "clip.mp4", tmp_path / "out.mp4")
    assert "144 frames" in said
    after, before = describe(tmp_path / "out.mp4"), describe(EXAMPLES / "clip.mp4")
    assert after.size == (640, 360)
    assert after.sound == before.sound
    assert after.subtitles[0][0][0] == before.subtitles[0][0][0]
    assert [c[2] for c in after.chapters] == ["Mountains", "The sign"]


def test_before_after(tmp_path: Path) -> None:
    run(EXAMPLES / "before_after.py", EXAMPLES / "clip.mp4", 2.9, tmp_path / "picture.png")
    assert describe(tmp_path / "picture.png").size == (1284, 360)
