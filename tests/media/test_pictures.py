"""Still pictures and numbered sequences, in and out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from describe import decode
from numpy.typing import NDArray
from synth import make_clip

import vidsr
from vidsr.errors import OptionsError

LAYOUTS = {"gray": ("gray", 1), "gray16": ("gray16be", 1), "rgb24": ("rgb24", 3), "rgb48": ("rgb48be", 3)}
LAYOUTS |= {"rgba": ("rgba", 4), "rgba64": ("rgba64be", 4)}
Picture = NDArray[np.uint8] | NDArray[np.uint16]


def write_png(path: Path, layout: str, size: tuple[int, int], seed: int = 0) -> Picture:
    """Write a picture of noise and return its samples, [rows, columns, channels]."""
    name, channels = LAYOUTS[layout]
    wide = name.endswith("be")
    rng = np.random.default_rng(seed)
    shape = (size[1], size[0], channels)
    values: Picture = rng.integers(0, 1 << (16 if wide else 8), shape).astype(np.uint16 if wide else np.uint8)
    frame = av.VideoFrame(*size, name)
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    data = np.ascontiguousarray(values.astype(">u2") if wide else values).view(np.uint8)
    rows[:, : data[0].size] = data.reshape(size[1], -1)
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = *size, name
    context.time_base = Fraction(1, 25)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))
    return values


def read_png(path: Path, layout: str) -> Picture:
    name, channels = LAYOUTS[layout]
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
    assert frame.format.name == name
    plane = frame.planes[0]
    wide = 2 if name.endswith("be") else 1
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : frame.width * channels * wide]
    data = np.ascontiguousarray(rows)
    values = data.view(">u2") if wide == 2 else data
    return values.reshape(frame.height, frame.width, channels)


def upscale(source: Path, output: Path, **options: object) -> vidsr.JobReport:
    return vidsr.run(
        vidsr.Job(source=source, output=output, backend="nearest", chroma="nearest", **options)  # type: ignore[arg-type]
    )


def repeated(values: Picture) -> Picture:
    return values.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("tile", ["0", "16"])
@pytest.mark.parametrize("size", [(1, 1), (37, 23)])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_png_is_repeated_exactly(tmp_path: Path, layout: str, size: tuple[int, int], tile: str) -> None:
    source, output = tmp_path / "in.png", tmp_path / "out.png"
    values = write_png(source, layout, size)
    report = upscale(source, output, tile=tile)
    assert (report.frames, report.warnings) == (1, ())
    np.testing.assert_array_equal(read_png(output, layout), repeated(values))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_the_default_name_is_beside_the_source(tmp_path: Path) -> None:
    write_png(tmp_path / "in.png", "rgb24", (8, 6))
    report = vidsr.run(vidsr.Job(source=tmp_path / "in.png", backend="nearest"))
    assert report.output == str(tmp_path / "in_2x.png")
    assert read_png(tmp_path / "in_2x.png", "rgb24").shape == (12, 16, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".bmp"])
def test_other_kinds_have_the_right_size_and_look_right(tmp_path: Path, suffix: str) -> None:
    make_clip(tmp_path / "clip.mkv", pixel_format="yuv444p", codec="ffv1", times=1, size=(53, 37))
    upscale(tmp_path / "clip.mkv", tmp_path / "in.png", frames=1)
    output = tmp_path / f"out{suffix}"
    upscale(tmp_path / "in.png", output)
    with av.open(str(output)) as file:
        made = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert made.shape == (148, 212, 3)
    wanted = repeated(read_png(tmp_path / "in.png", "rgb24")).astype(int)
    difference = np.abs(made - wanted)
    if suffix in (".tif", ".bmp"):
        assert difference.max() == 0
    assert difference.mean() < 8


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le", "yuva420p"])
def test_a_picture_of_a_video_has_its_colour(tmp_path: Path, pixel_format: str) -> None:
    source = make_clip(tmp_path / "in.mkv", pixel_format=pixel_format, codec="ffv1", times=1)
    upscale(source, tmp_path / "out.png", frames=1)
    with av.open(str(tmp_path / "out.png")) as file:
        frame = next(file.decode(video=0))
    depth = "48be" if "10" in pixel_format else "24"
    assert frame.format.name == ("rgba" if "a" in pixel_format else f"rgb{depth}")
    with av.open(str(source)) as file:
        wanted = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    made = frame.to_ndarray(format="rgb24").astype(int)[::2, ::2]
    assert np.ptp(made, axis=2).max() > 30, "it is not gray"
    assert np.abs(made - wanted).mean() < 8


def test_jpeg_in_and_out(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mkv", times=1, size=(40, 30))
    upscale(tmp_path / "clip.mkv", tmp_path / "in.jpg", frames=1)
    report = upscale(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert report.size_out == (160, 120)
    with av.open(str(tmp_path / "out.jpg")) as file:
        frame = next(file.decode(video=0))
    assert (frame.width, frame.height) == (160, 120)


def test_a_sequence_becomes_a_sequence(tmp_path: Path) -> None:
    pictures = [write_png(tmp_path / f"in_{n:03d}.png", "rgb24", (24, 16), n) for n in range(7, 12)]
    report = upscale(tmp_path / "in_%03d.png", tmp_path / "out_%03d.png")
    assert (report.frames, report.warnings) == (5, ())
    made = sorted(tmp_path.glob("out_*"))
    assert [p.name for p in made] == [f"out_{n:03d}.png" for n in range(1, 6)]
    for path, values in zip(made, pictures, strict=True):
        np.testing.assert_array_equal(read_png(path, "rgb24"), repeated(values))
    assert not list(tmp_path.glob("*.vidsr"))


def test_a_sequence_becomes_a_video(tmp_path: Path) -> None:
    pictures = [write_png(tmp_path / f"in_{n:03d}.png", "rgb24", (24, 16), n) for n in range(3)]
    upscale(tmp_path / "in_%03d.png", tmp_path / "out.mkv", codec="ffv1")
    with av.open(str(tmp_path / "out.mkv")) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    for made, values in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(made, repeated(values))


def test_a_video_becomes_a_sequence_and_a_video_again(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "in.mkv", pixel_format="gray", codec="ffv1", times=6, size=(22, 14), colors=(2, 2, 2, 2)
    )
    assert upscale(source, tmp_path / "f_%04d.png").frames == 6
    assert len(list(tmp_path.glob("f_*.png"))) == 6
    upscale(tmp_path / "f_%04d.png", tmp_path / "out.mkv", codec="ffv1")
    before, after = decode(source), decode(tmp_path / "out.mkv")
    for small, large in zip(before, after, strict=True):
        np.testing.assert_array_equal(large[0], repeated(repeated(small[0])))


def test_a_video_into_one_picture_is_refused(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", times=5)
    with pytest.raises(OptionsError, match=r"more than one frame.*--frames 1"):
        upscale(source, tmp_path / "out.png")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]
    assert upscale(source, tmp_path / "out.png", frames=1).frames == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.png"]


@pytest.mark.parametrize("name", ["out.png", "out_%02d.png"])
def test_what_exists_is_not_replaced(tmp_path: Path, name: str) -> None:
    write_png(tmp_path / "in_1.png", "gray", (8, 8))
    first = tmp_path / (name % 1 if "%" in name else name)
    first.write_bytes(b"dear to somebody")
    with pytest.raises(OptionsError, match="this file exists"):
        upscale(tmp_path / "in_%d.png", tmp_path / name)
    assert first.read_bytes() == b"dear to somebody"
    assert not list(tmp_path.glob("*.vidsr"))
    upscale(tmp_path / "in_%d.png", tmp_path / name, overwrite=True)
    assert read_png(first, "gray").shape == (16, 16, 1)


def test_later_pictures_of_a_sequence_are_not_replaced(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        write_png(tmp_path / f"in_{n}.png", "gray", (8, 8), n)
    (tmp_path / "out_3.png").write_bytes(b"dear to somebody")
    with pytest.raises(OptionsError, match="this file exists"):
        upscale(tmp_path / "in_%d.png", tmp_path / "out_%d.png")
    assert (tmp_path / "out_3.png").read_bytes() == b"dear to somebody"


def test_a_sequence_over_itself_is_refused(tmp_path: Path) -> None:
    values = write_png(tmp_path / "in_1.png", "gray", (8, 8))
    with pytest.raises(OptionsError, match="would replace the source"):
        upscale(tmp_path / "in_%d.png", tmp_path / "in_%d.png", overwrite=True)
    np.testing.assert_array_equal(read_png(tmp_path / "in_1.png", "gray"), values)
