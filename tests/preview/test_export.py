"""Export by `vidsr upscale` itself, and one moment as a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from previewing import TOKEN
from synth import make_clip
from test_access import get
from waiting import until

from vidsr.cli import _run
from vidsr.errors import OptionsError
from vidsr.job import Job
from vidsr.preview import font
from vidsr.preview.clip import Clip
from vidsr.preview.export import Exports, ExportWish, command_of
from vidsr.preview.server import Preview
from vidsr.preview.still import write_still


def ended(exports: Exports) -> dict:
    until(lambda: exports.told()["state"] != "running")
    return exports.told()


def test_an_export_is_what_upscale_writes_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    clip = Clip(Job(source=make_clip(tmp_path / "clip.mp4", times=20)))
    exports = Exports(clip)
    wish = ExportWish(model="2x-ecbsr-m4c8", scale=Fraction(2), start=0.2)
    assert exports.start(wish)["state"] == "running"
    how = ended(exports)
    assert (how["state"], how["output"]) == ("done", "clip_2x.mp4")
    assert how["frames"] > 0
    with av.open(str(tmp_path / "clip_2x.mp4")) as made:
        assert len(list(made.decode(video=0))) == 15
    before = (tmp_path / "clip_2x.mp4").read_bytes()
    assert exports.start(wish) == {"state": "exists", "output": "clip_2x.mp4"}
    assert (tmp_path / "clip_2x.mp4").read_bytes() == before


def test_a_failure_is_told_in_its_own_words_and_a_running_one_can_be_cancelled(tmp_path: Path) -> None:
    exports = Exports(Clip(Job(source=make_clip(tmp_path / "clip.mp4"))))
    wish = ExportWish(model="auto", scale=Fraction(2))
    said = "import sys; sys.stderr.write('vidsr: no room\\n'); sys.exit(1)"
    exports.start(wish, command=lambda *_: [sys.executable, "-c", said])
    assert ended(exports) == {
        "state": "failed",
        "output": "clip_2x.mp4",
        "frames": 0,
        "total": None,
        "text": "vidsr: no room",
    }
    exports.start(wish, command=lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(OptionsError, match="running"):
        exports.start(wish)
    assert exports.cancel()["state"] == "cancelled"


def test_names_cannot_become_options(tmp_path: Path) -> None:
    clip = Clip(Job(source=make_clip(tmp_path / "--help.mp4")))
    command = command_of(clip, ExportWish(model="auto", scale=Fraction(3, 2)), tmp_path / "-o.mp4")
    assert command[-2:] == ["--", str(tmp_path / "--help.mp4")]
    assert f"-o{tmp_path / '-o.mp4'}" in command
    assert "--scale=3/2" in command


def test_an_export_over_http(preview: Preview, server: Callable) -> None:
    with server(preview) as port:
        own = {"Origin": f"http://127.0.0.1:{port}"}

        def post(body: bytes) -> tuple[int, bytes]:
            return get(port, f"/{TOKEN}/export", method="POST", body=body, **own)

        for wrong in (
            b"",
            b"[]",
            b'{"model": "/etc/passwd"}',
            b'{"scale": 9}',
            b'{"start": "x"}',
            b"x" * 5000,
        ):
            assert post(wrong)[0] == 409
        assert post(b'{"model": "2x-ecbsr-m4c8", "scale": "2", "output": "/tmp/x.mp4"}')[0] == 200
        how = ended(preview.exports)
        assert (how["state"], how["output"]) == ("done", "clip_2x.mp4")
        assert b"exists" in post(b'{"model": "2x-ecbsr-m4c8", "scale": "2"}')[1]


def test_a_moment_by_several_models_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = make_clip(tmp_path / "clip.mp4", size=(160, 96)), tmp_path / "compare.png"
    arguments = [
        "preview",
        str(source),
        "--still",
        "0.2",
        "-o",
        str(output),
        "-m",
        "2x-ecbsr-m4c8",
        "-m",
        "auto",
    ]
    assert _run(arguments) == 0
    with av.open(str(output)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="gray")
    assert picture.shape == (192 + font.HEIGHT + 6, 3 * (320 + 4) - 4)
    parts = [picture[22:, k * 324 : k * 324 + 320].astype(float) for k in range(3)]
    assert 0 < np.abs(parts[0] - parts[1]).mean() < 20
    assert 0 < np.abs(parts[1] - parts[2]).mean() < 20
    label = font.written("bicubic 2x")
    assert (picture[3 : 3 + font.HEIGHT, 6 : 6 + label.shape[1]] > 128).tolist() == label.tolist()
    assert _run(arguments) == 2
    assert "-y" in capsys.readouterr().err
    assert _run([*arguments, "-y"]) == 0


def test_a_turned_clip_is_turned_in_the_picture(tmp_path: Path) -> None:
    plain = write_still(Clip(Job(source=make_clip(tmp_path / "a.mp4"))), ["auto"], 0, tmp_path / "a.png")
    turned = make_clip(tmp_path / "b.mp4", rotation=90)
    written = write_still(Clip(Job(source=turned)), ["auto"], 0, tmp_path / "b.png")
    pictures = []
    for path in (plain, written):
        with av.open(str(path)) as container:
            pictures.append(next(container.decode(video=0)).to_ndarray(format="gray").astype(float))
    upright, rotated = pictures[0][22:, :128], pictures[1][22:, :96]
    quarter = Clip(Job(source=turned)).info.rotation // 90
    assert np.abs(np.rot90(upright, quarter) - rotated).mean() < 2


def test_options_that_belong_to_a_still_are_refused_without(tmp_path: Path) -> None:
    source = str(make_clip(tmp_path / "clip.mp4"))
    for more in (["-o", "x.png"], ["-m", "auto", "-m", "ecbsr"], ["-y"]):
        assert _run(["preview", source, *more]) == 2
    assert _run(["preview", source, "--still", "99", "-o", str(tmp_path / "x.png")]) == 2
    assert _run(["preview", source, "--still", "0", "-o", str(tmp_path / "x.mp4")]) == 2
