"""How large a result becomes, and what is refused."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.errors import OptionsError
from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat, VideoInfo
from vidsr.job import Job, parse_scale, parse_size
from vidsr.target import Target, resolve_target, scale_label

CLIP = VideoInfo(
    path="a.mp4",
    container="mp4",
    codec="h264",
    stream_index=0,
    width=640,
    height=480,
    pixel_format=PixelFormat.parse("yuv420p"),
    source_format="yuv420p",
    color=ColorInfo(Matrix.BT709, ColorRange.LIMITED),
    frame_rate=Fraction(25),
    time_base=Fraction(1, 25),
    start_pts=0,
    start_time=Fraction(0),
    sample_aspect_ratio=Fraction(0),
    rotation=0,
    display_matrix=None,
    interlaced=False,
    duration=1.0,
    estimated_frames=25,
    still=False,
)


def sized(width: int, height: int, **changes: object) -> VideoInfo:
    return replace(CLIP, width=width, height=height, **changes)  # type: ignore[arg-type]


def resolve(info: VideoInfo, asked: str, step: int = 2) -> Target:
    steps = (step, step)
    if "x" in asked.lower():
        return resolve_target(info, None, asked, rounding=steps, coded=steps)
    return resolve_target(info, parse_scale(asked), None, rounding=steps, coded=steps)


@pytest.mark.parametrize(
    ("source", "asked", "step", "size", "label"),
    [
        ((640, 480), "1.5", 2, (960, 720), "1.5x"),
        ((640, 480), "4/3", 2, (854, 640), "1.333x"),
        ((641, 479), "3", 2, (1923, 1437), "3x"),
        ((35, 35), "1.5", 1, (53, 53), "1.5x"),
        ((35, 35), "1.5", 2, (52, 52), "1.5x"),
        ((3, 3), "1.1", 2, (4, 4), "1.1x"),
        ((640, 480), "1920x1080", 2, (1920, 1080), "1920x1080"),
        ((1366, 768), "1920x", 2, (1920, 1080), "1920x1080"),
        ((640, 480), "x1080", 2, (1440, 1080), "1440x1080"),
        ((641, 480), "X961", 1, (1283, 961), "1283x961"),
        ((640, 480), "1280x960", 2, (1280, 960), "1280x960"),
    ],
)
def test_sizes(source: tuple[int, int], asked: str, step: int, size: tuple[int, int], label: str) -> None:
    target = resolve(sized(*source), asked, step)
    assert (target.size, target.label) == (size, label)


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    scale=st.fractions(Fraction(101, 100), 16, max_denominator=100).filter(lambda s: s.denominator > 1),
    step=st.sampled_from([1, 2, 4]),
)
def test_sides_are_the_nearest_that_chroma_allows(
    width: int, height: int, scale: Fraction, step: int
) -> None:
    target = resolve_target(sized(width, height), scale, None, rounding=(step, 1))
    assert target.width % step == 0
    for side, source, unit in ((target.width, width, step), (target.height, height, 1)):
        assert side >= source
        off = abs(side - source * scale)
        assert off <= Fraction(unit, 2) or source * scale < side < source + unit


@pytest.mark.parametrize("aspect", [Fraction(0), Fraction(1), Fraction(16, 11), Fraction(64, 45)])
@given(
    width=st.integers(16, 2000),
    height=st.integers(16, 2000),
    wider=st.fractions(1, 4),
    higher=st.fractions(1, 4),
)
def test_another_shape_is_shown_as_before(
    aspect: Fraction, width: int, height: int, wider: Fraction, higher: Fraction
) -> None:
    info = sized(width, height, sample_aspect_ratio=aspect)
    size = (int(width * wider) + 1, int(height * higher) + 1)
    target = resolve_target(info, None, f"{size[0]}x{size[1]}")
    assert target.size == size
    shown = Fraction(width, height) * (aspect or 1)
    kept = Fraction(*target.size) * (target.sample_aspect_ratio or 1)
    if target.notes:
        assert float(kept) == pytest.approx(float(shown), rel=1e-4)
        assert target.sample_aspect_ratio.numerator < 1 << 16
        assert target.sample_aspect_ratio.denominator < 1 << 16
    else:
        assert target.sample_aspect_ratio == aspect
        assert float(kept) == pytest.approx(float(shown), rel=1 / 99 + 1e-9)


def test_what_is_said_of_another_shape() -> None:
    target = resolve(CLIP, "1920x1080")
    assert target.sample_aspect_ratio == Fraction(3, 4)
    (note,) = target.notes
    assert "1920x1080 is not the shape of 640x480: its pixels are marked as 3:4" in note
    assert resolve(sized(1366, 768), "1920x1080").notes == ()


@pytest.mark.parametrize("rotation", [90, -90, 270])
def test_a_size_is_that_of_the_picture_as_it_is_shown(rotation: int) -> None:
    phone = sized(1920, 1080, rotation=rotation)
    for asked in ("1620x2880", "1620x", "x2880"):
        target = resolve(phone, asked)
        assert (target.size, target.label, target.notes) == ((2880, 1620), "1620x2880", ())
    assert resolve(phone, "1.5").size == (2880, 1620)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("320x", "would be 320x240, smaller than the source's 640x480; ask for a larger --size"),
        ("1920x400", "would be 1920x400, smaller than the source's 640x480"),
        (
            "1921x1080",
            r"--size 1921x1080: the encoder takes multiples of 2 here, not 1921; ask for 1920 or 1922",
        ),
        ("11000x", "11000x8250 is more than 16 times the source's 640x480; ask for less"),
    ],
)
def test_sizes_that_cannot_be(asked: str, words: str) -> None:
    with pytest.raises(OptionsError, match=words):
        resolve(CLIP, asked)


def test_the_largest_side() -> None:
    with pytest.raises(OptionsError, match="a side has at most 65536 pixels"):
        resolve(sized(16384, 16), "4.5")


@pytest.mark.parametrize("text", ["two", "", "1,5", "-2", "1e3", "3/0", "2/3/4", " 2", "nan", "1.5x", "٢"])
def test_scales_that_are_none(text: str) -> None:
    with pytest.raises(OptionsError, match=r"is not a scale; write 2, 1\.5 or 3/2"):
        parse_scale(text)


@pytest.mark.parametrize(
    "text", ["x", "", "1920", "1920*1080", "-2x3", "1920x1080x2", "0x", "x0", "9999999x2"]
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(OptionsError, match="write 1920x1080, 1920x or x1080"):
        parse_size(text)


@pytest.mark.parametrize(
    ("given", "scale", "written"),
    [
        (2, Fraction(2), "2"),
        (None, Fraction(2), "2"),
        (Fraction(3, 2), Fraction(3, 2), '"3/2"'),
        (1.1, Fraction(11, 10), '"11/10"'),
    ],
)
def test_jobs_carry_their_scale(
    tmp_path: Path, given: Fraction | None, scale: Fraction, written: str
) -> None:
    job = Job(source=Path("a.mp4"), scale=given)
    assert job.scale == scale
    assert f"scale = {written}\n" in job.to_toml()
    path = tmp_path / "job.toml"
    path.write_text(job.to_toml())
    assert Job.load(path) == job


@pytest.mark.parametrize(("line", "scale"), [("1.5", "3/2"), ('"1.5"', "3/2"), ('"7/3"', "7/3"), ("3", "3")])
def test_jobs_are_written_by_hand(tmp_path: Path, line: str, scale: str) -> None:
    path = tmp_path / "job.toml"
    path.write_text(f'source = "a.mp4"\nscale = {line}\n')
    assert Job.load(path).scale == Fraction(scale)


def test_jobs_carry_their_size(tmp_path: Path) -> None:
    job = Job(source=Path("a.mp4"), size="1920x")
    assert tomllib.loads(job.to_toml())["size"] == "1920x"
    assert "scale" not in job.to_toml()
    path = tmp_path / "job.toml"
    path.write_text(job.to_toml())
    assert Job.load(path) == job
    with pytest.raises(OptionsError, match="--scale and --size both say how large; give one of them"):
        Job(source=Path("a.mp4"), scale=2, size="1920x")
    for scale in (Fraction(1, 2), 17, 0):
        with pytest.raises(OptionsError, match="must be from 1 to 16"):
            Job(source=Path("a.mp4"), scale=scale)


def test_labels() -> None:
    assert [scale_label(Fraction(s)) for s in ("2", "3/2", "7/3", "9/4", "16")] == [
        "2x",
        "1.5x",
        "2.333x",
        "2.25x",
        "16x",
    ]
