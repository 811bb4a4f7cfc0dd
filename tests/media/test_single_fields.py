"""HEVC whose pictures are single fields becomes what was filmed, as if its fields had come woven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from describe import decode
from fields import SIZE, job, luma_at, make_fields, read, same, woven

import vidsr
from vidsr.cli import _run
from vidsr.errors import DecodeError
from vidsr.video.cuts import find_cuts
from vidsr.video.deinterlace import Deinterlacing, in_fields
from vidsr.video.reader import Reader, Span

_LONE = "fields without the other one of their frame: each row of them is shown twice"


def _pictures(
    numbers: range,
    order: str,
    keyint: int,
    bframes: int,
    aspect: Fraction | None = None,
    size: tuple[int, int] = SIZE,
) -> Iterator[av.Packet]:
    """Yield lossless HEVC, a picture for each field of `fields.woven`; order p: for each frame."""
    interlace = {"t": "interlace=tff:", "b": "interlace=bff:", "p": ""}[order]
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt = size[0], size[1] // (1 if order == "p" else 2), "yuv420p"
    context.time_base, context.framerate = Fraction(1, 50), Fraction(50)
    params = f"{interlace}lossless=1:keyint={keyint}:min-keyint=1:bframes={bframes}:log-level=none"
    context.options = {"x265-params": params, "preset": "ultrafast"}
    if aspect is not None:
        context.sample_aspect_ratio = aspect
    for number in numbers:
        luma = (
            luma_at(number, size)
            if order == "p"
            else luma_at(number, size)[(number + (order == "b")) % 2 :: 2]
        )
        chroma = [np.full((context.height // 2, size[0] // 2), value, np.uint8) for value in (110, 140)]
        frame = av.VideoFrame(context.width, context.height, "yuv420p")
        for plane, values in zip(frame.planes, (luma, *chroma), strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = values
            plane.update(rows)
        frame.pts, frame.time_base = number, context.time_base
        yield from context.encode(frame)
    yield from context.encode(None)


def make_single_fields(
    path: Path,
    order: str,
    fields: int,
    *,
    lacking: tuple[int, ...] = (),
    damaged: tuple[int, ...] = (),
    keyint: int = 250,
    aspect: Fraction | None = None,
    more: Sequence[av.Packet] = (),
) -> Path:
    """Write fields, 50 a second, and packets of another encoder."""
    # There is no reordering where encoders follow each other.
    packets = [*_pictures(range(fields), order, keyint, 0 if more else 2, aspect), *more]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx265", rate=50)
        stream.width, stream.height, stream.pix_fmt = SIZE[0], SIZE[1] // 2, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.options = {"x265-params": "log-level=none"}
        for packet in packets:
            if packet.pts in lacking:
                continue
            if packet.pts in damaged:
                broken = av.Packet(b"\0\0\0\1\x26\1" + bytes(range(200, 240)))
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                packet = broken
            packet.stream = stream
            out.mux(packet)
    return path


@pytest.mark.parametrize("mode", ["off", "auto", "frame", "field"])
@pytest.mark.parametrize(("order", "kind"), [("t", "mp4"), ("b", "mp4"), ("t", "mkv"), ("b", "ts")])
def test_as_if_they_had_come_woven(tmp_path: Path, order: str, kind: str, mode: str) -> None:
    source = make_single_fields(tmp_path / f"in.{kind}", order, 12)
    found, reader = read(source, mode)
    wanted, other = read(make_fields(tmp_path / f"woven.{kind}", order * 6), mode)
    late = found[0][0] - wanted[0][0]  # MPEG-TS begins where reordering lets it
    assert same([(pts - late, luma) for pts, luma in found], wanted)
    assert reader.deinterlaced == f"fields woven in pairs; {other.deinterlaced}"
    assert reader.warnings == other.warnings
    if mode == "off":
        assert all(np.array_equal(luma, woven(at, order)) for at, (_, luma) in enumerate(found))


def test_what_the_source_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_single_fields(tmp_path / "in.mp4", "b", 12)
    info = vidsr.probe(source)
    assert (info.fields, info.width, info.height) == ("bff", *SIZE)
    assert (info.frame_rate, info.estimated_frames) == (25, 6)
    assert find_cuts(info, 4) == ((), "each of its pictures is one field")
    assert _run(["probe", str(source)]) == 0
    told = capsys.readouterr().out
    for words in (
        "96x64, pixels",
        "20.00 ms a field",
        "25 frames a second",
        "6 (its packets, counted)",
        "each picture is one field, bottom first: two are woven into a frame",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("stated", "meant"),
    [(Fraction(1), 1), (Fraction(12, 11), Fraction(12, 11)), (Fraction(1, 2), 1)],
)
def test_pixels_have_the_shape_of_the_frames(tmp_path: Path, stated: Fraction, meant: Fraction) -> None:
    source = make_single_fields(tmp_path / "in.mp4", "t", 4, aspect=stated)
    assert vidsr.probe(source).sample_aspect_ratio == meant


@pytest.mark.parametrize("mode", ["auto", "field"])
@pytest.mark.parametrize(("keyint", "margin"), [(10, 1), (7, 1), (7, 0)])
def test_reading_from_the_middle(
    tmp_path: Path, keyint: int, margin: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key frames are first fields, or second ones too; a search may land just before what is wanted."""
    monkeypatch.setattr("vidsr.video.reader._SEEK_MARGIN_S", margin)
    source = make_single_fields(tmp_path / "in.mp4", "t", 80, keyint=keyint)
    whole, _ = read(source, mode)
    assert len(whole) == (80 if mode == "field" else 40)
    ticks = vidsr.probe(source).time_base / (2 if mode == "field" else 1)
    # As a job that goes on, or, where the search may land late, as one that begins at a time.
    for number in range(0, len(whole) - 1, 3):
        wanted = whole[number + 1 :]
        begin = Span(start=float(wanted[0][0] * ticks)) if margin == 0 else None
        rest, reader = read(source, mode, begin, after=None if begin else whole[number][0])
        assert same(rest, wanted), number
        assert reader.warnings == []


@pytest.mark.parametrize(
    ("fields", "lacking", "frames"),
    [
        (11, (), ["01", "23", "45", "67", "89", "aa"]),
        (12, (5,), ["01", "23", "44", "67", "89", "ab"]),
        (12, (4,), ["01", "23", "55", "67", "89", "ab"]),
        (12, (5, 6), ["01", "23", "44", "77", "89", "ab"]),
    ],
)
def test_fields_that_are_alone(
    tmp_path: Path, fields: int, lacking: tuple[int, ...], frames: list[str]
) -> None:
    source = make_single_fields(tmp_path / "in.mp4", "t", fields, lacking=lacking, keyint=1)
    found, reader = read(source, "off")
    _check(found, frames)
    assert _LONE in reader.warnings


def _check(found: list[tuple[int, np.ndarray]], frames: list[str]) -> None:
    """Compare frames with the numbers of the fields that they are woven of, top and bottom."""
    first, ticks = found[0][0], 256
    assert [(pts - first) // ticks for pts, _ in found] == [int(frame[0], 16) for frame in frames]
    for (_, luma), frame in zip(found, frames, strict=True):
        for place, number in enumerate(int(digit, 16) for digit in frame):
            seen = luma_at(number)[number % 2 :: 2]
            assert np.array_equal(luma[place::2], seen), frame


@pytest.mark.parametrize(
    ("on_error", "frames", "said"),
    [
        ("skip", ["01", "23", "44", "67", "89", "ab"], "1 damaged place was left out"),
        ("conceal", ["01", "23", "43", "67", "89", "ab"], "1 damaged place was concealed"),
    ],
)
def test_damage(tmp_path: Path, on_error: str, frames: list[str], said: str) -> None:
    """What replaces a field is the last one of its kind."""
    source = make_single_fields(tmp_path / "in.mp4", "t", 12, damaged=(5,), keyint=1)
    info = vidsr.probe(source)
    with Reader(info, on_error=on_error) as reader:  # type: ignore[arg-type]
        found = [(frame.pts, frame.planes[0].copy()) for frame in reader]
    _check(found, frames)
    assert any(warning.startswith(said) for warning in reader.warnings)
    with pytest.raises(DecodeError, match=r"damaged at 0\.100 s"), Reader(info) as reader:
        list(reader)


@pytest.mark.parametrize("mode", ["auto", "field"])
def test_frames_behind_fields(tmp_path: Path, mode: str) -> None:
    more = list(_pictures(range(12, 20, 2), "p", 250, 0))
    source = make_single_fields(tmp_path / "in.ts", "t", 12, more=more)
    info = vidsr.probe(source)
    info = in_fields(info) if mode == "field" else info
    with Reader(info, deinterlace=Deinterlacing(mode)) as reader:  # type: ignore[arg-type]
        frames = [frame.planes[0].copy() for frame in reader]
    if mode == "auto":
        assert len(frames) == 10
        assert all(np.array_equal(frames[6 + at], luma_at(12 + 2 * at)) for at in range(4))
    else:
        assert len(frames) == 20
    assert all(frame.shape == SIZE[::-1] for frame in frames)
    assert reader.warnings == []


def test_fields_of_another_size(tmp_path: Path) -> None:
    """They change within a frame, of which each field is alone."""
    more = list(_pictures(range(5, 10), "b", 250, 0, size=(96, 96)))
    found, reader = read(make_single_fields(tmp_path / "in.ts", "t", 5, more=more), "auto")
    assert [(pts - found[0][0]) // 1800 for pts, _ in found] == [0, 2, 4, 5, 6, 8]
    assert all(luma.shape == SIZE[::-1] for _, luma in found)
    assert _LONE in reader.warnings
    assert any("changes its size to 96x96" in warning for warning in reader.warnings)


def test_a_job_and_going_on_with_it(tmp_path: Path) -> None:
    source = make_single_fields(tmp_path / "in.mp4", "t", 24, keyint=6)
    lossless = {"codec": "ffv1", "preset": None, "crf": None, "deinterlace": "field"}
    report = vidsr.run(job(source, tmp_path / "out.mkv", **lossless))
    assert (report.frames, report.size_out, report.warnings) == (24, (192, 128), ())
    assert report.deinterlace.startswith("fields woven in pairs; field, bwdif, one frame a field, 25 to 50")
    frames = decode(tmp_path / "out.mkv")
    wanted, _ = read(source, "field")
    assert len(frames) == 24
    assert all(np.array_equal(a[0][::2, ::2], b) for a, (_, b) in zip(frames, wanted, strict=True))

    class StopError(Exception):
        pass

    def stop(progress: vidsr.Progress) -> None:
        if progress.frames == 13:
            raise StopError

    with pytest.raises(StopError):
        vidsr.run(job(source, tmp_path / "again.mkv", **lossless), progress=stop)
    report = vidsr.run(job(source, tmp_path / "again.mkv", **lossless))
    assert report.frames_resumed > 0
    again = decode(tmp_path / "again.mkv")
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(again, frames, strict=True))
