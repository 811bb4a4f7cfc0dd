"""How a turned or mirrored picture lies in the page: as FFmpeg, which players follow, shows it."""

from __future__ import annotations

import base64
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from browsing import command, page, until
from required import require
from synth import make_clip

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("turned", [0, 90, 180, 270, "mirrored"])
def test_a_picture_lies_as_players_show_it(
    browser: Any, turned: int | str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if turned == "mirrored":
        data = request.getfixturevalue("data")
        clip = data / "video/androidx-media/mp4/sample_rotate_and_reflect.mp4"
    else:
        clip = make_clip(tmp_path / "clip.mp4", size=(96, 64), times=10, rotation=int(turned))
    ffmpeg = shutil.which("ffmpeg") or require("ffmpeg", "there is no ffmpeg; run: apt-get install ffmpeg")
    words = [str(ffmpeg), "-v", "error", "-i", str(clip), "-frames:v", "1", str(tmp_path / "upright.png")]
    subprocess.run(words, check=True)
    wanted = picture(tmp_path / "upright.png")
    with command(clip, "-m", "2x-ecbsr-m4c8") as address, page(browser, address) as opened:
        until(opened, "vidsr.drawn > 0")
        opened.keyboard.press(" ")
        opened.keyboard.press("Home")
        until(opened, "!vidsr.playing && vidsr.position === 0")
        opened.wait_for_timeout(500)
        shown = opened.evaluate("document.getElementById('canvas').toDataURL('image/png')")
    (tmp_path / "canvas.png").write_bytes(base64.b64decode(shown.partition(",")[2]))
    canvas = picture(tmp_path / "canvas.png")
    (rows, columns), (height, width) = canvas.shape, wanted.shape
    share = min(rows / height, columns / width)
    top, left = round((rows - height * share) / 2), round((columns - width * share) / 2)
    found = small(canvas[top : rows - top, left : columns - left])
    ways = [small(way) for n in range(4) for way in (np.rot90(wanted, n), np.rot90(wanted, n)[:, ::-1])]
    apart = [float(np.abs(found - way).mean()) for way in ways]
    assert np.argmin(apart) == 0, apart
    assert apart[0] < 6, apart


def picture(path: Path) -> np.ndarray:
    """Return a picture's luma [rows, columns]."""
    with av.open(str(path)) as file:
        return next(file.decode(video=0)).to_ndarray(format="gray").astype(np.float64)


def small(luma: np.ndarray) -> np.ndarray:
    """Return it at 24 x 24, by means."""
    rows, columns = ([int(k * side / 24) for k in range(25)] for side in luma.shape)
    return np.array([[luma[a:b, c:d].mean() for c, d in pairwise(columns)] for a, b in pairwise(rows)])
