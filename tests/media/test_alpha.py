"""Transparency: read where it is hidden, kept where the codec can, named where it is lost. And GIF."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from synth import make_clip

import vidsr
from vidsr.frame import PixelFormat
from vidsr.video.clock import Clock
from vidsr.video.convert import to_planar
from vidsr.video.decoding import Picture, decode
from vidsr.video.formats import planes_of
from vidsr.video.probe import open_source, probe, video_stream
from vidsr.video.reader import Reader, Span

TIMES = [0, 40, 73, 110, 180, 200, 233]
LOSSLESS = {"lossless": "1", "cpu-used": "8"}


def transparent_clip(path: Path) -> Path:
    """Write lossless VP9 with alpha, at uneven times."""
    options = LOSSLESS | {"auto-alt-ref": "0"}
    return make_clip(
        path,
        pixel_format="yuva420p",
        times=TIMES,
        time_base=Fraction(1, 1000),
        codec="libvpx-vp9",
        options=options,
    )


def planes_in(path: Path, layout: PixelFormat) -> list[tuple[np.ndarray, ...]]:
    with open_source(path) as file:
        stream = video_stream(file, path)
        items = decode(file, stream, Clock(file.format.name, stream.time_base, None), careful=True)
        pictures = [item.frame for item in items if isinstance(item, Picture)]
        frames = [to_planar(f, layout, f.width, f.height) for f in pictures]
    return [tuple(plane.copy() for plane in planes_of(frame)) for frame in frames]


def assert_repeated(source: Path, output: Path) -> None:
    layout = probe(source).pixel_format
    before, after = planes_in(source, layout), planes_in(output, layout)
    assert len(before) == len(after)
    for small, large in zip(before, after, strict=True):
        for one, many in zip(small, large, strict=True):
            np.testing.assert_array_equal(many, one.repeat(2, axis=0).repeat(2, axis=1))


def run(source: Path, output: Path, **options: object) -> vidsr.JobReport:
    job = vidsr.Job(source=source, output=output, backend="nearest", chroma="nearest", **options)  # type: ignore[arg-type]
    return vidsr.run(job)


def alpha_mode(path: Path) -> bool:
    with av.open(str(path)) as file:
        return any(key.lower() == "alpha_mode" for key in file.streams.video[0].metadata)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("auto", ".webm"), ("vp9", ".mkv"), ("ffv1", ".mkv"), ("ffv1", ".mp4")]
)
def test_vp9_keeps_its_alpha(tmp_path: Path, codec: str, suffix: str) -> None:
    source = transparent_clip(tmp_path / "in.webm")
    assert probe(source).source_format == "yuva420p"
    options = {} if codec == "ffv1" else LOSSLESS
    report = run(
        source,
        tmp_path / f"out{suffix}",
        codec=codec,
        segment_frames=3,
        verify="full",
        encoder_options=options,
    )
    assert report.warnings == ()
    assert "YUV 4:2:0 with alpha of 8 bits" in (report.written or "")
    assert_repeated(source, tmp_path / f"out{suffix}")
    assert alpha_mode(tmp_path / f"out{suffix}") is (codec != "ffv1")
    with Reader(probe(tmp_path / f"out{suffix}")) as frames:
        assert [round(frame.pts * frame.time_base * 1000) for frame in frames] == TIMES


@pytest.mark.parametrize(("codec", "suffix"), [("auto", ".mp4"), ("auto", ".mkv"), ("vp9", ".mp4")])
def test_what_loses_it_says_so(tmp_path: Path, codec: str, suffix: str) -> None:
    report = run(transparent_clip(tmp_path / "in.webm"), tmp_path / f"out{suffix}", codec=codec)
    assert any("has no transparency here: alpha is lost; .webm" in text for text in report.warnings)
    assert not probe(tmp_path / f"out{suffix}").pixel_format.alpha
    assert not alpha_mode(tmp_path / f"out{suffix}")


def test_reading_may_begin_in_the_middle(tmp_path: Path) -> None:
    source = transparent_clip(tmp_path / "in.webm")
    with Reader(probe(source), Span(start=0.1)) as frames:
        made = [(frame.pts, frame.planes[3].copy()) for frame in frames]
    assert [pts for pts, _ in made] == [110, 180, 200, 233]
    wanted = planes_in(source, PixelFormat.parse("yuva420p"))[3:]
    for (_, alpha), planes in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(alpha, planes[3])


@pytest.mark.parametrize("name", ["moviepy/transparent.webm", "fate/vp8/vp8_video_with_alpha.mp4"])
def test_real_transparent_video(data: Path, tmp_path: Path, name: str) -> None:
    source = data / "video" / name
    assert probe(source).source_format == "yuva420p"
    run(source, tmp_path / "out.mkv", codec="ffv1", frames=5)
    with Reader(probe(source), Span(frames=5)) as small, Reader(probe(tmp_path / "out.mkv")) as large:
        for one, many in zip(small, large, strict=True):
            np.testing.assert_array_equal(many.planes[3], one.planes[3].repeat(2, axis=0).repeat(2, axis=1))
            assert one.planes[3].min() < 10 < 245 < one.planes[3].max()


def test_prores_keeps_it_in_mov(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", pixel_format="yuva444p10le", times=3, codec="ffv1")
    report = run(source, tmp_path / "out.mov")
    assert (report.encoder, report.warnings) == ("prores_ks", ())
    (before, *_), (after, *_) = (
        planes_in(path, PixelFormat.parse("yuva444p10le")) for path in (source, tmp_path / "out.mov")
    )
    np.testing.assert_array_equal(after[3], before[3].repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_pictures_keep_it(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mkv", pixel_format="yuva420p", times=1, codec="ffv1")
    report = run(source, tmp_path / f"out{suffix}", frames=1)
    assert not any("alpha" in text for text in report.warnings)
    alpha = planes_in(tmp_path / f"out{suffix}", probe(tmp_path / f"out{suffix}").pixel_format)[0][3]
    wanted = planes_in(source, PixelFormat.parse("yuva420p"))[0][3]
    np.testing.assert_array_equal(alpha, wanted.repeat(2, axis=0).repeat(2, axis=1))


def gif_clip(path: Path) -> Path:
    """Write a GIF whose later frames are a small part of the screen, as FFmpeg's encoder cuts them."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 40, 30, "bgr8"
        for number in range(4):
            frame = av.VideoFrame(40, 30, "bgr8")
            rows = np.frombuffer(frame.planes[0], np.uint8).reshape(30, -1)  # type: ignore[arg-type]
            rows[:] = np.arange(rows.shape[1]) % 40
            rows[5 + number : 12, 9 : 20 + number] = 200 + number
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["", "torchcodec/animated.gif", "torchcodec/frame_exceeds_screen.gif"])
def test_gif(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    source = gif_clip(tmp_path / "in.gif")
    if name:
        source = request.getfixturevalue("data") / "video" / name
    report = run(source, tmp_path / "out.mkv", codec="ffv1")
    assert (report.warnings, report.pixel_format) == ((), "bgra")
    assert_repeated(source, tmp_path / "out.mkv")
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mkv")) as after:
        times = [[f.pts * f.time_base for f in file.decode(video=0)] for file in (before, after)]
    assert times[0] == times[1]
    if not name:
        assert len({planes[0].tobytes() for planes in planes_in(source, PixelFormat.parse("gbrap"))}) == 4
