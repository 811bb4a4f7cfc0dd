"""What stands around the figures: sources, names, verdicts, cards, tables and crops."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from vidsr.choice import FINE_QP, HARD_QP
from vidsr.errors import OptionsError, SourceError, VidsrError
from vidsr.evaluation.cards import check_card, note_quality, point_key
from vidsr.evaluation.crops import busiest, png, to_rgb
from vidsr.evaluation.pictures import PictureScore, Score
from vidsr.evaluation.scores import ClipScores, Coding, Figures, Point
from vidsr.evaluation.sources import name_models, parse_crfs, sort_sources
from vidsr.evaluation.tables import clip_table, gain_table, markdown, mean_clip
from vidsr.evaluation.verdicts import judge, judge_auto
from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat
from vidsr.models.card import load_card
from vidsr.models.lookup import find_model
from vidsr.video.compression import Compression

ENGINES = Path(__file__).parents[2] / "engines"


def point(crf: float | None, bicubic: float, lanczos: float, **models: float) -> Point:
    made = {"bicubic": bicubic, "lanczos": lanczos, **models}
    figures = {name: Figures(value, 0.9, value - 5, value + 40) for name, value in made.items()}
    if crf is None:
        return Point(None, None, None, None, figures)
    return Point(crf, 0.125, 300.0, Compression("h264", crf, 0.125, "decoder"), figures)


def clip(name: str, *points: Point) -> ClipScores:
    return ClipScores(name, (64, 48), 10, 25.0, points)


HARD, SOFT = HARD_QP + 5, FINE_QP - 2
CLIPS = [
    clip("one", point(None, 30, 31, a=33, b=32), point(SOFT, 29, 30, a=30.5, b=30.75)),
    clip("two", point(None, 40, 41, a=44, b=42), point(HARD, 38.5, 38, a=38.25, b=39)),
]


def test_a_verdict_counts_the_better_filter() -> None:
    a, b = judge(CLIPS, ["a", "b"])
    assert (a.points, a.behind, a.smallest_gain, a.smallest_at) == (4, 1, -0.25, ("two", HARD))
    assert "a: BEHIND a filter at 1 of 4 points" in str(a)
    assert (b.behind, b.smallest_gain, b.smallest_at) == (0, 0.5, ("two", HARD))
    assert "b: ahead of both filters at all 4 points" in str(b)
    assert a.mean_over_lanczos["uncompressed"] == 2.5
    assert [row[1:] for row in gain_table(CLIPS, "a")[1:]] == [
        ["+2.000", "+0.500"],
        ["+3.000", "-0.250"],
        ["+2.500", "+0.125"],
    ]
    assert judge([], ["a"]) == []


def test_auto_is_held_against_the_better_of_its_models() -> None:
    auto = judge_auto(CLIPS, {"clean": "a", "video": "b"})
    assert auto is not None
    assert list(auto.takes["one"].values()) == ["a", "a"]
    assert list(auto.takes["two"].values()) == ["a", "b"]
    assert (auto.largest_loss, auto.largest_at, auto.points) == (0.25, ("one", SOFT), 4)
    assert judge_auto(CLIPS, {}) is None
    assert "a is all there is" in str(judge_auto(CLIPS, {"clean": "a", "video": "a"}))


def test_tables_line_up_and_means_are_means() -> None:
    both = [clip("one", point(23, 30, 31, a=33)), clip("two", point(23, 32, 32, a=35))]
    mean = mean_clip(both)
    assert mean.points[0].figures["a"].psnr_y == 34
    lines = markdown(clip_table(mean)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({line.count("|") for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[1:-1] == ["crf 23", "0.1250", "300", "", "PSNR-Y", "31.000", "31.500", "34.000 +2.500"]


def test_cards_take_figures_and_load_again(tmp_path: Path) -> None:
    for name in ("2x-ecbsr-m4c16.onnx", "2x-ecbsr-m4c16.toml"):
        shutil.copy(ENGINES / name, tmp_path)
    model = find_model(str(tmp_path / "2x-ecbsr-m4c16.onnx"), 2)
    score = PictureScore(
        "mean", {"bicubic": Score(30, 0.8), "a": Score(33.12345, 0.91234)}, {"a": Score(33, 0.9)}
    )
    card = note_quality("a", model, {"Set99": score}, CLIPS, Coding())
    found, old = load_card(card), model.spec
    assert replace(found, quality={}) == replace(old, quality={})
    assert all(found.quality[name] == values for name, values in old.quality.items())
    assert found.quality["set99"] == {
        "psnr_y_bicubic": 30,
        "ssim_y_bicubic": 0.8,
        "psnr_y_float": 33.123,
        "ssim_y_float": 0.9123,
        "psnr_y_planes": 33,
        "ssim_y_planes": 0.9,
    }
    hard = found.quality[f"video/two/crf{HARD:g}"]
    assert (hard["psnr_y"], hard["psnr_y_over_lanczos"], hard["psnr_y_over_bicubic"]) == (38.25, 0.25, -0.25)
    assert (hard["vmaf"], hard["vmaf_over_lanczos"], hard["bits_per_pixel"]) == (78.25, 0.25, 0.125)
    assert "video/one/uncompressed" in found.quality
    assert find_model(str(model.path), 2).spec == found
    at_target = replace(model, spec=replace(model.spec, id="2x-any", network="any", input="target"))
    there = load_card(note_quality("a", at_target, {}, CLIPS, Coding(scale=3))).quality
    assert f"video/two@3x/crf{HARD:g}" in there


def test_names_in_cards_tell_codings_apart() -> None:
    codings = [Coding(), Coding(preset="veryfast"), Coding(codec="libx265"), Coding(codec="libvpx-vp9")]
    keys = [point_key("a", 23, coding) for coding in codings]
    assert keys == ["video/a/crf23", "video/a/veryfast-crf23", "video/a/x265-crf23", "video/a/vpx-vp9-crf23"]


def test_a_file_without_a_card_gets_no_figures(tmp_path: Path) -> None:
    shutil.copy(ENGINES / "2x-ecbsr-m4c16.onnx", tmp_path / "mine.onnx")
    with pytest.raises(OptionsError, match=r"no card 2x-mine\.toml beside it"):
        check_card(find_model(str(tmp_path / "mine.onnx"), 2))


def test_models_are_told_apart(tmp_path: Path) -> None:
    shutil.copy(ENGINES / "2x-ecbsr-m4c16.onnx", tmp_path)
    shutil.copy(ENGINES / "2x-ecbsr-m4c16.toml", tmp_path)
    copy = str(tmp_path / "2x-ecbsr-m4c16.onnx")
    found, automatic = name_models(["2x-ecbsr-m4c16", "ecbsr-m4c16", copy], 2)
    assert list(found) == ["2x-ecbsr-m4c16", f"2x-ecbsr-m4c16@{tmp_path.name}"]
    assert automatic == {}
    found, automatic = name_models(["auto", copy], 2)
    assert set(automatic) == {"clean", "video"}
    assert set(automatic.values()) <= set(found)
    card = tmp_path / "2x-ecbsr-m4c16.toml"
    card.write_text(card.read_text().replace('input = "low"', 'input = "target"'))
    assert name_models([copy], 3)[0]["2x-ecbsr-m4c16"].path == Path(copy)  # takes any scale


def test_sources_are_sorted(tmp_path: Path) -> None:
    for name in ("Set5/HR/a.png", "clips/b.mp4", "clips/deep/C.mkv", "nothing/a.txt", "d.webm", "e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders, clips = sort_sources([tmp_path / "Set5/HR", tmp_path / "clips", tmp_path / "d.webm"])
    assert folders == {"Set5": tmp_path / "Set5/HR"}
    assert [path.name for path in clips] == ["b.mp4", "C.mkv", "d.webm"]
    wrong: list[tuple[list[str], type[VidsrError], str]] = [
        (["nothing"], SourceError, "no pictures and no clips"),
        (["missing"], SourceError, "no such folder or clip"),
        (["e.png"], OptionsError, "a single picture says little"),
        (["clips", "clips/b.mp4"], OptionsError, "two clips are called 'b'"),
        (["Set5", "Set5/HR"], OptionsError, "two folders are called 'Set5'"),
    ]
    for names, error, words in wrong:
        with pytest.raises(error, match=words):
            sort_sources([tmp_path / name for name in names])


def test_qualities() -> None:
    assert parse_crfs("none, 18,23.5,18") == (None, 18, 23.5)
    for text in ("", "18,", "good", "-1", "64", "nan"):
        with pytest.raises(OptionsError, match="--crf takes numbers"):
            parse_crfs(text)


def test_the_busiest_spot_is_where_methods_differ_most() -> None:
    one, other = np.full((80, 120), 50, np.uint8), np.full((80, 120), 50, np.uint8)
    one[40:72, 64:96] -= 20
    other[40:72, 64:96] += 30
    other[0:3, 0:3] = 255
    assert busiest([one, other], (32, 32)) == (50, 64, 40)
    assert busiest([one, other], (640, 480))[1:] == (0, 0)  # smaller than the window: all of it


def test_crops_survive_as_png() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    with av.open(io.BytesIO(png(picture, 2)), format="png_pipe") as file:
        (frame,) = file.decode(video=0)
    np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), picture.repeat(2, 0).repeat(2, 1))


def test_crops_have_the_colours_of_the_screen() -> None:
    layout = PixelFormat.parse("yuv420p10le")
    color = ColorInfo(matrix=Matrix.BT709, range=ColorRange.LIMITED)
    # White, black, and BT.709's red (Y 63 Cb 102 Cr 240 in 8 bits).
    for codes, wanted in (
        ((940, 512, 512), [255, 255, 255]),
        ((64, 512, 512), [0, 0, 0]),
        ((252, 408, 960), [255, 0, 0]),
    ):
        shapes = layout.plane_shapes(6, 4)
        planes = tuple(np.full(s, c, np.uint16) for s, c in zip(shapes, codes, strict=True))
        assert np.abs(to_rgb(planes, layout, color).astype(int) - wanted).max() <= 2


def test_numbers_of_a_coding_are_checked() -> None:
    for wrong in ({"frames": 0}, {"every": 0}):
        with pytest.raises(OptionsError, match="must be 1 or more, not 0"):
            Coding(**wrong)  # type: ignore[arg-type]
