"""The examples run, and the clip in git is what its script makes."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from synth import make_clip

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_clip_has_what_the_readme_promises() -> None:
    with av.open(str(EXAMPLES / "clip.mp4")) as clip:
        video, audio, subtitle = clip.streams.video[0], clip.streams.audio[0], clip.streams.subtitles[0]
        context = video.codec_context
        assert (context.width, context.height, video.frames) == (320, 180, 144)
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)  # BT.709
        assert context.color_range == 1  # limited
        assert audio.layout.name == "stereo"
        assert clip.metadata["title"] == "Mill Meadow"
        assert [c["metadata"]["title"] for c in clip.chapters()] == ["Mountains", "The sign"]
        cues = [bytes(p)[2:] for p in clip.demux(subtitle) if p.size > 2]
        assert cues == [b"A meadow below the mountains", b"The mill turns,", b"the lamp ticks."]
    assert (EXAMPLES / "clip.mp4").stat().st_size < 1_000_000


@pytest.mark.slow
def test_make_clip_makes_the_same_file_whatever_lies_in_memory(tmp_path: Path) -> None:
    """Make it twice, with fresh memory filled differently: what is read before it is written shows.

    MALLOC_PERTURB_ is glibc's.
    """
    digests = set()
    for garbage in ("85", "170"):
        made = tmp_path / f"{garbage}.mp4"
        environment = os.environ | {"MALLOC_PERTURB_": garbage, "PYTHONPATH": str(EXAMPLES.parent)}
        subprocess.run([sys.executable, EXAMPLES / "make_clip.py", made], check=True, env=environment)
        digests.add(hashlib.sha256(made.read_bytes()).hexdigest())
    assert len(digests) == 1
    with av.open(str(made)) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 144


def test_debian_pictures_get_white_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    pictures = importlib.import_module("debian_pictures")
    folders = [line.split(" ", 1)[0] for line in pictures.NAMES.read_text().splitlines()]
    assert (folders.count("openclipart"), folders.count("paintings"), len(folders)) == (45, 499, 544)
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, :2, 3], rgba[:, 2:4, 3] = 255, 128  # whole, half and not there
    with av.open(str(tmp_path / "one.png"), "w", format="image2", options={"update": "1"}) as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 6, 4, "rgba"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        file.mux(stream.encode(None))
    (tmp_path / "names.txt").write_text("openclipart one.png\npaintings one.png\n")
    monkeypatch.setattr(pictures, "NAMES", tmp_path / "names.txt")
    pictures.main(tmp_path, tmp_path / "made")
    seen = [[200, 0, 0]] * 2 + [[227, 127, 127]] * 2
    for folder, row in {"openclipart": [*seen, *[[255, 255, 255]] * 2], "paintings": seen}.items():
        [path] = (tmp_path / "made" / folder).iterdir()
        with av.open(str(path)) as file:
            assert next(file.decode(video=0)).to_ndarray(format="rgb24")[0].tolist() == row
    (tmp_path / "names.txt").write_text("paintings one.png\npaintings ./one.png\n")
    with pytest.raises(SystemExit, match="two pictures would be"):
        pictures.main(tmp_path, tmp_path / "made")


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("upscale_in_python.py", ["clip.mp4", "larger.mp4"], "larger.mp4: 6 frames"),
        ("upscale_arrays.py", [], "(180, 320) (180, 320, 3) [(180, 320), (90, 160), (90, 160)] 24"),
        ("upscale_frames.py", ["clip.mp4"], "0.200 s: 640x480 yuv420p"),
    ],
)
def test_python_examples(name: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", times=6)
    source = EXAMPLES / name
    assert len(source.read_text().splitlines()) < 20
    done = subprocess.run(
        [sys.executable, "-W", "error", source, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
