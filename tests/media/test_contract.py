"""The colour contract: what is read, what is guessed, what is written, and every tag that found no place."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from describe import decode
from synth import make_clip

import vidsr
from vidsr.cli import _run
from vidsr.frame import ColorRange, PixelFormat
from vidsr.video.formats import new_frame
from vidsr.video.probe import probe
from vidsr.video.reader import Reader

FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12"}
MP4_MKV = (".mp4", ".mkv")
ENCODERS = {
    "libx264": (*MP4_MKV, ".mov"),
    "libx265": MP4_MKV,
    "libsvtav1": MP4_MKV,
    "libvpx-vp9": (*MP4_MKV, ".webm"),
    "ffv1": MP4_MKV,
    "prores_ks": (".mov", ".mkv"),
}
TAGS = [(1, 1, 1, 1), (1, 5, 6, 6), (1, 9, 9, 16), (1, 9, 9, 18), (2, 1, 1, 13)]
TAGS += [(2, 2, 2, 2), (1, 4, 4, 4)]


def run(source: Path, output: Path, codec: str = "auto", **options: object) -> vidsr.JobReport:
    job = vidsr.Job(
        source=source,
        output=output,
        backend="nearest",
        codec=codec,
        preset=FAST.get(codec),
        **options,  # type: ignore[arg-type]
    )
    return vidsr.run(job)


@pytest.mark.parametrize(
    ("codec", "suffix"), [(codec, suffix) for codec, suffixes in ENCODERS.items() for suffix in suffixes]
)
def test_tags_arrive_or_are_missed(tmp_path: Path, codec: str, suffix: str) -> None:
    for number, tags in enumerate(TAGS):
        source = make_clip(
            tmp_path / f"in{number}.mp4", times=1, colors=tags, size=(32, 32), options={"preset": "ultrafast"}
        )
        output = tmp_path / f"out{number}{suffix}"
        report = run(source, output, codec)
        before, after = probe(source).color, probe(output).color
        missed = " ".join(report.warnings)
        matrix = after.matrix_code == before.matrix_code
        assert matrix is not ("cannot be tagged with the matrix" in missed), (tags, missed)
        # A range that is not there is read as limited.
        converted = "range is converted" in missed
        kept = after.range is (ColorRange.LIMITED if converted else before.range)
        assert kept is not ("with full range alone" in missed), (tags, missed)
        assert (after.primaries, after.transfer) == (before.primaries, before.transfer), tags


def test_what_was_untagged_stays_untagged(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", times=1, codec="ffv1", colors=(0, 2, 2, 2))
    report = run(source, tmp_path / "out.mkv", "ffv1")
    assert report.color == (
        "bt601 (guessed) matrix, limited (guessed) range, chroma left (guessed),"
        " primaries and transfer untagged"
    )
    assert report.written == (
        "yuv420p, YUV 4:2:0 of 8 bits, matrix untagged, limited range (untagged), chroma left,"
        " primaries and transfer untagged"
    )
    assert probe(tmp_path / "out.mkv").color.guessed == {"matrix", "range", "chroma_location"}


def flat(
    path: Path, layout: str, codes: tuple[int, ...], tags: tuple[int, int, int, int], codec: str
) -> Path:
    """Write two frames of one colour."""
    pixels = PixelFormat.parse(layout)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"qp": "0"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 32, 32, layout
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = tags
        for number in range(2):
            frame, planes = new_frame(pixels, 32, 32)
            for plane, code in zip(planes, codes, strict=True):
                plane[:] = code
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_prores_gets_limited_range(tmp_path: Path) -> None:
    """Its decoders know no other: codes of full range would be shown with crushed ends."""
    source = flat(tmp_path / "in.mkv", "yuv422p10le", (1023, 512, 512), (2, 1, 1, 1), "ffv1")
    report = run(source, tmp_path / "out.mov", "prores_ks")
    assert "prores_ks gets limited range: the source's full range is converted" in report.warnings
    assert "limited range" in (report.written or "")
    assert abs(int(decode(tmp_path / "out.mov")[0][0].max()) - 940) <= 2


@pytest.mark.parametrize(
    ("layout", "codec", "tagged", "wanted"),
    [
        ("gray", "ffv1", 1, 255),  # white of limited range is white of a picture
        ("gray10le", "ffv1", 1, 65535),
        ("gray", "ffv1", 2, 235),
        ("yuv420p", "ffv1", 1, 255),
    ],
)
def test_pictures_have_full_range(tmp_path: Path, layout: str, codec: str, tagged: int, wanted: int) -> None:
    depth = PixelFormat.parse(layout).bit_depth
    codes = (235 << (depth - 8), 128, 128)[: PixelFormat.parse(layout).plane_count]
    source = flat(tmp_path / "in.mkv", layout, codes, (tagged, 1, 1, 1), codec)
    run(source, tmp_path / "out.png", frames=1)
    with av.open(str(tmp_path / "out.png")) as file:
        frame = next(file.decode(video=0))
    value = int(frame.reformat(format="gray16le" if depth > 8 else "rgb24").to_ndarray()[5, 5].max())
    assert abs(value - wanted) <= 1


def test_gray_for_an_encoder_without_gray_keeps_its_codes(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.mkv", "gray", (235,), (1, 1, 1, 1), "ffv1")
    run(source, tmp_path / "out.mkv", "libsvtav1")
    assert abs(int(decode(tmp_path / "out.mkv")[0][0].mean()) - 235) <= 1


@pytest.mark.parametrize("first", ["limited", "full"])
def test_a_range_that_changes_on_the_way(tmp_path: Path, first: str) -> None:
    """The same white, in one range and then in the other."""
    parts = {
        "limited": flat(tmp_path / "a.mkv", "yuv420p", (235, 128, 128), (1, 1, 1, 1), "libx264"),
        "full": flat(tmp_path / "b.mkv", "yuv420p", (255, 128, 128), (2, 1, 1, 1), "libx264"),
    }
    source = tmp_path / "in.h264"
    with source.open("wb") as out:
        for name in (first, *(parts.keys() - {first})):
            with av.open(str(parts[name])) as file:
                stream = file.streams.video[0]
                bsf = av.BitStreamFilterContext("h264_mp4toannexb", stream)
                for packet in file.demux(stream):
                    out.writelines(bytes(p) for p in bsf.filter(packet if packet.size else None))
    info = probe(source)
    assert info.color.range == first
    with Reader(info) as reader:
        frames = [[int(plane.mean()) for plane in frame.planes] for frame in reader]
    white = 235 if first == "limited" else 255
    assert frames == [[white, 128, 128]] * 4
    other = "full" if first == "limited" else "limited"
    words = f"the colour changes its range to {other} on the way: converted to that of the first frame"
    assert words in reader.warnings


def test_a_matrix_that_changes_on_the_way(tmp_path: Path) -> None:
    red = {1: (63, 102, 240), 6: (81, 90, 240)}  # of BT.709 and BT.601
    source = tmp_path / "in.h264"
    with source.open("wb") as out:
        for code, planes in red.items():
            part = flat(tmp_path / f"{code}.mkv", "yuv420p", planes, (1, code, code, code), "libx264")
            with av.open(str(part)) as file:
                bsf = av.BitStreamFilterContext("h264_mp4toannexb", file.streams.video[0])
                for packet in file.demux(video=0):
                    out.writelines(bytes(p) for p in bsf.filter(packet if packet.size else None))
    with Reader(probe(source)) as reader:
        frames = [[plane.mean() for plane in frame.planes] for frame in reader]
    assert any("the colour changes its matrix to bt601" in text for text in reader.warnings)
    np.testing.assert_allclose(frames, [red[1]] * 4, atol=3)


def test_the_last_words_and_the_plan_say_what_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(tmp_path / "in.mkv", times=3, pixel_format="yuv420p10le", colors=(1, 9, 9, 16))
    words = "written as yuv420p10le, YUV 4:2:0 of 10 bits, matrix bt2020nc, limited range, chroma left,"
    for extra in ([], ["--plan"]):
        output = tmp_path / f"out{len(extra)}.mkv"
        assert _run(["upscale", str(source), "-o", str(output), "--backend", "nearest", *extra]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert "read as bt2020 matrix, limited range, chroma left, primaries bt2020" in text
        assert f"{words} primaries bt2020, transfer smpte2084 (PQ)" in text
