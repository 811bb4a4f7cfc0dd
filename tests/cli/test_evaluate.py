"""``vidsr evaluate`` from end to end: what it prints, the report that it writes, the figures in the card."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synth import make_clip, planes_at

from vidsr.cli import _run
from vidsr.evaluation.crops import png
from vidsr.frame import PixelFormat
from vidsr.models.card import load_card

ENGINES = Path(__file__).parents[2] / "engines"
ID = "2x-ecbsr-m4c16"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips in `clips`, pictures in `Some/HR` and a model in `models`."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("clips", "models", "Some/HR"):
        (folder / name).mkdir(parents=True)
    for name, codec in (("one", "ffv1"), ("two", "libx264")):
        make_clip(folder / f"clips/{name}.mkv", codec=codec, times=5, size=(160, 120))
    for index in range(2):
        picture = np.stack(planes_at(PixelFormat.parse("gbrp"), (64, 48), index), axis=-1)
        (folder / f"Some/HR/{index}.png").write_bytes(png(picture, 1))
    for suffix in ("onnx", "toml"):
        shutil.copy(ENGINES / f"{ID}.{suffix}", folder / "models")
    return folder


class Page(HTMLParser):
    """Checks that tags are closed in turn, and that nothing is fetched from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[bytes] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)
        for name, value in attributes:
            assert name not in ("href", "background", "onload")
            if name in ("src", "srcset"):
                kind, _, data = (value or "").partition(",")
                assert kind == "data:image/png;base64"
                self.pictures.append(base64.b64decode(data, validate=True))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def evaluated(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert _run(["evaluate", *map(str, arguments), "--no-progress", "--preset", "ultrafast"]) == 0
    out, err = capfd.readouterr()
    assert err == "" or "--json" in arguments
    return out


def test_clips_and_pictures(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, page = folder / f"models/{ID}.onnx", tmp_path / "report.html"
    arguments = [folder / "clips", folder / "Some/HR", "-m", model, "--crf", "none,30", "--report", page]
    found = json.loads(evaluated(capfd, *arguments, "--json", "--write-card"))
    card = load_card(model.with_suffix(".toml"))
    points = {(c["name"], p["crf"]): p["figures"] for c in found["clips"] for p in c["points"]}
    assert set(points) == {(name, crf) for name in ("one", "two") for crf in (None, 30)}
    noted = card.quality["video/two/ultrafast-crf30"]
    figures = points["two", 30]
    assert noted["psnr_y"] == round(figures[ID]["psnr_y"], 3)
    assert noted["xpsnr_y"] == round(figures[ID]["xpsnr_y"], 3)
    over = figures[ID]["psnr_y"] - figures["lanczos"]["psnr_y"]
    assert noted["psnr_y_over_lanczos"] == round(over, 3)
    mean = found["pictures"]["Some"][-1]
    assert card.quality["some"]["psnr_y_float"] == round(mean["float"][ID]["psnr_y"], 3)
    assert "set5" in card.quality

    parsed = Page()
    parsed.feed(page.read_text("utf-8"))
    parsed.close()
    assert parsed.open == []
    # curves for light and dark pages of the mean and each clip; four crops a point, three a picture
    assert len(parsed.pictures) == 2 * 3 + 4 * 4 + 3 * 2
    assert {picture[:4] for picture in parsed.pictures} == {b"\x89PNG"}
    for word in (ID, "one", "Pictures: Some", "crf 30", f"{figures[ID]['psnr_y']:.3f}"):
        assert word in parsed.words
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]

    text = evaluated(capfd, *arguments[:-2], "-m", "auto")
    assert f"{figures['lanczos']['psnr_y']:.3f}" in text
    assert re.search(rf"\| mean +\|.* {mean['float'][ID]['psnr_y']:.3f} / ", text)
    for line in ("## Clips", "### one, 160x120, 5 frames", "### mean of 2 clips", "### What auto takes"):
        assert line in text.splitlines()


WRONG = [
    (["--crf", "good"], "--crf takes numbers from 0 to 63 and none, not 'good'"),
    (["--codec", "h266"], "no encoder 'h266'"),
    (["--codec", "ffv1"], "does not know the option 'crf'"),
    (["--frames", "0"], "--frames must be 1 or more"),
    (["--precision", "f8"], "--precision takes"),
    (["--tile", "big"], "--tile takes"),
    (["--scale", "5"], "no model 'ecbsr' at scale 5"),
    (["--report", "missing/report.html"], "there is no such folder"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_what_cannot_be_measured(
    folder: Path, arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["evaluate", str(folder / "clips"), "--no-progress", *arguments]) != 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("vidsr: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vmaf"], "imageio-ffmpeg, which is not installed; run: pip install 'vidsr[vmaf]'"),
        (["--report", "a.html"], "matplotlib, which is not installed; run: pip install 'vidsr[report]'"),
    ],
)
def test_extras_that_are_not_installed(
    folder: Path,
    arguments: list[str],
    words: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = importlib.util.find_spec
    extras = ("imageio_ffmpeg", "matplotlib")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in extras else there(name))
    assert _run(["evaluate", str(folder / "clips"), *arguments]) != 0
    assert words in capfd.readouterr().err


def test_the_shipped_card_says_what_is_measured(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(evaluated(capfd, data / "eval/Set5/HR", "-m", ID, "--json"))["pictures"]["Set5"][-1]
    noted = load_card(ENGINES / f"{ID}.toml").quality["set5"]
    assert found["float"]["bicubic"]["psnr_y"] == pytest.approx(33.683, abs=0.001)
    assert found["float"][ID]["psnr_y"] == pytest.approx(noted["psnr_y_float"], abs=0.005)
    assert found["planes"][ID]["psnr_y"] == pytest.approx(noted["psnr_y_planes"], abs=0.005)
