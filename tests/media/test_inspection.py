"""What `inspect_source` and `examine` see of files whose contents are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from time import perf_counter

import av
import numpy as np
import pytest
from synth import make_clip

from vidsr.errors import VidsrError
from vidsr.forecast import examine
from vidsr.frame import ColorRange, Matrix
from vidsr.video import timing
from vidsr.video.inspection import inspect_source

SMALL = (32, 24)


def test_constant_times(tmp_path: Path) -> None:
    seen = inspect_source(make_clip(tmp_path / "a.mp4", times=30, size=SMALL, options={"bf": "2"}))
    found = seen.timing
    assert (found.kind, found.packets, found.whole) == ("constant", 30, True)
    assert (found.missing, found.duplicated, found.backwards, seen.untimed) == (0, 0, 0, 0)
    assert (found.first, found.shortest, found.longest) == (0.0, 0.04, 0.04)
    assert (seen.frames.count, seen.frames.source, seen.frames_stated) == (30, "counted", 30)


def test_times_that_matroska_rounded_are_constant(tmp_path: Path) -> None:
    base = Fraction(1001, 30000)
    path = make_clip(tmp_path / "a.mkv", times=range(60), time_base=base, size=SMALL)
    found = inspect_source(path).timing
    assert found.kind == "constant"
    assert (found.shortest, found.longest) == (0.033, 0.034)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_times_and_their_beginning(tmp_path: Path, name: str) -> None:
    times = [50, 51, 52, 55, 56, 60, 61, 62]
    found = inspect_source(make_clip(tmp_path / name, times=times, size=SMALL)).timing
    assert found.kind == "variable"
    assert (found.first, found.shortest, found.longest, found.seconds) == (2.0, 0.04, 0.16, 0.48)


def test_one_missing_frame_is_variable(tmp_path: Path) -> None:
    times = [t for t in range(40) if t != 20]
    assert inspect_source(make_clip(tmp_path / "a.mp4", times=times, size=SMALL)).timing.kind == "variable"


def test_raw_h264_has_no_times(tmp_path: Path) -> None:
    seen = inspect_source(make_clip(tmp_path / "a.h264", times=12, size=SMALL))
    assert seen.info.container == "h264"
    assert (seen.timing.missing, seen.timing.packets) == (12, 12)
    assert (seen.frames.count, seen.frames.source) == (12, "counted")


def test_avi_with_reordered_frames_has_decoding_times_only(tmp_path: Path) -> None:
    report = examine(make_clip(tmp_path / "a.avi", times=24, size=SMALL, options={"bf": "2"}))
    assert report.seen.timing.missing + report.seen.disordered + report.seen.untimed > 0
    assert any("time stamp" in text for text in report.changes)


def test_repeated_and_backward_times() -> None:
    """Written by hand: no muxer takes such."""
    base = Fraction(1, 25)
    for stamps, duplicated, backwards in (
        ([0, 1, 1, 2, 3], 1, 0),
        ([0, 1, 2, 0, 1], 0, 1),
        ([0, 2, 1, 3], 0, 1),
    ):
        shown = list(timing._presented(stamps, 0, whole=True))
        found = timing._told(shown, base, len(stamps), True, 0, False)
        assert (found.kind, found.duplicated, found.backwards) == ("variable", duplicated, backwards)
    dropped = [0, 1, 2, 4, 5, 6]  # a step of 1.2 ticks, rounded, would look the same
    assert timing._told(dropped, base, 6, True, 0, False).kind == "variable"
    rounded = [round(index * 4.17) for index in range(200)]
    assert timing._told(rounded, Fraction(1, 1000), 200, True, 0, False).kind == "constant"
    # What a decoder reorders is not backward; and the last ones are only known when all are there.
    assert list(timing._presented([0, 4, 2, 1, 3], 3, whole=True)) == [0, 1, 2, 3, 4]
    assert list(timing._presented([0, 4, 2, 1, 3], 3, whole=False)) == [0, 1]


def test_the_look_at_packets_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "a.mkv", times=100, size=SMALL)
    monkeypatch.setattr(timing, "MAX_PACKETS", 40)
    seen = inspect_source(path)
    assert (seen.timing.packets, seen.timing.whole, seen.timing.kind) == (40, False, "constant")
    assert seen.frames.source == "estimated"
    assert seen.frames.count == pytest.approx(100, abs=2)
    monkeypatch.setattr(timing, "MAX_BYTES", 10)
    assert inspect_source(path).timing.packets <= 1
    monkeypatch.setattr(timing, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(timing, "MAX_BYTES", 1 << 20)
    assert inspect_source(path).timing.packets <= 1


def test_streams(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    source = make_clip(
        tmp_path / "in.mkv", times=25, size=SMALL, sound=True, subtitles="ass", chapters=True, title="name"
    )
    with av.open(str(source)) as given, av.open(str(path), "w") as out:
        video, sound, text = given.streams
        made = {0: out.add_stream_from_template(video), 1: out.add_stream_from_template(sound)}
        made[2] = out.add_stream_from_template(sound)
        made[2].metadata.update(language="deu", title="commentary")
        made[2].disposition = av.stream.Disposition.comment
        made[3] = out.add_stream_from_template(text)
        out.add_attachment("font.ttf", "application/x-truetype-font", b"no font")
        out.set_chapters(given.chapters())
        for packet in given.demux():
            if not packet.size:
                continue
            data, index = bytes(packet), packet.stream.index
            for target in {0: [0], 1: [1, 2], 2: [3]}[index]:
                copy = av.Packet(data)
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.duration, copy.is_keyframe, copy.stream = (
                    packet.duration,
                    packet.is_keyframe,
                    made[target],
                )
                out.mux(copy)
    report = examine(path)
    seen = report.seen.streams
    assert [s.kind for s in seen] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert [s.main for s in seen] == [True, False, False, False, False]
    assert (seen[2].language, seen[2].title, seen[2].sample_rate) == ("deu", "commentary", 48000)
    assert (seen[2].layout, "comment" in seen[2].dispositions) == ("stereo", True)
    assert (seen[4].file_name, seen[4].media_type) == ("font.ttf", "application/x-truetype-font")
    assert [(c.title, c.start, c.end) for c in report.seen.chapters] == [("one", 0.0, 0.2), ("two", 0.2, 0.4)]
    assert report.output == "a_2x.mkv"
    assert report.container_reason == ".mp4 would not hold stream 3 (subtitle, ass) as it is"
    assert [s.fate for s in report.streams] == ["enlarged", "copied", "copied", "copied", "copied"]
    assert report.changes == ()


def test_cover_art(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mkv", times=5, size=SMALL)
    picture = av.CodecContext.create("mjpeg", "w")
    picture.width, picture.height, picture.pix_fmt, picture.time_base = 16, 16, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8)).reformat(format="yuvj420p")
    coded = b"".join(bytes(p) for p in [*picture.encode(frame), *picture.encode(None)])
    with av.open(str(path)) as given, av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream_from_template(given.streams[0])
        out.add_attachment("cover.jpg", "image/jpeg", coded)
        for packet in given.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    seen = inspect_source(tmp_path / "a.mkv")
    assert [(s.kind, s.cover, s.main) for s in seen.streams] == [
        ("video", False, True),
        ("video", True, False),
    ]
    assert seen.streams[1].size == (16, 16)


def test_rotation_aspect_and_depth(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.mp4",
        times=5,
        rotation=90,
        aspect=Fraction(4, 3),
        pixel_format="yuv422p10le",
        size=SMALL,
    )
    info = inspect_source(path).info
    assert (abs(info.rotation), info.sample_aspect_ratio) == (90, Fraction(4, 3))
    assert info.display_matrix is not None
    assert (info.source_format, info.pixel_format.bit_depth) == ("yuv422p10le", 10)


def test_colour_that_is_tagged_and_colour_that_is_guessed(tmp_path: Path) -> None:
    tagged = inspect_source(
        make_clip(tmp_path / "a.mp4", times=3, size=SMALL, colors=(2, 9, 9, 16))
    ).info.color
    assert (tagged.matrix, tagged.range, tagged.transfer) == (Matrix.BT2020, ColorRange.FULL, 16)
    assert tagged.guessed == frozenset()  # H.264 says where chroma lies, tagged or not
    plain = inspect_source(
        make_clip(tmp_path / "b.mkv", times=3, size=SMALL, codec="ffv1", colors=(0, 2, 2, 2))
    )
    assert plain.info.color.guessed == {"matrix", "range", "chroma_location"}
    assert (plain.compression is not None and plain.compression.source) == "lossless"


def test_gray_and_alpha(tmp_path: Path) -> None:
    gray = examine(make_clip(tmp_path / "a.mkv", times=3, size=SMALL, codec="ffv1", pixel_format="gray10le"))
    assert gray.seen.info.pixel_format.family == "gray"
    alpha = examine(make_clip(tmp_path / "b.mkv", times=3, size=SMALL, codec="ffv1", pixel_format="yuva420p"))
    assert alpha.seen.info.pixel_format.alpha
    assert any("libx264 has no transparency" in text for text in alpha.changes)


def test_interlaced(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.mkv", times=10, size=(64, 64), options={"x264-params": "interlaced=1:threads=1"}
    )
    report = examine(path)
    assert (report.seen.interlaced, report.seen.first_frames) == (8, 8)
    assert not any("woven" in text for text in report.changes)  # by default they are made whole


def test_what_the_defaults_refuse_is_still_told(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", times=3, size=(40000, 2), codec="ffv1", pixel_format="gray")
    report = examine(path)
    assert report.seen.info.width == 40000
    assert report.refusal is not None
    assert "a result of 80000x4 is too large" in report.refusal


def _patched(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


@pytest.mark.parametrize("hostile", ["length", "size", "rate", "garbage"])
def test_hostile_headers_take_no_time(tmp_path: Path, hostile: str) -> None:
    if hostile == "length":  # AVI: 4 billion frames, and a list of as many bytes
        path = make_clip(tmp_path / "a.avi", times=20, size=SMALL, codec="mpeg4")
        data = bytearray(path.read_bytes())
        at = data.index(b"avih") + 8
        data[at + 16 : at + 20] = b"\xff\xff\xff\xff"
        at = data.index(b"strh") + 8
        data[at + 32 : at + 36] = b"\xff\xff\xff\xff"
        at = data.index(b"movi") - 4
        data[at : at + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(data)
    elif hostile == "size":  # a PNG of 65535 x 65535
        path = make_clip(tmp_path / "a.png", times=1, size=SMALL, codec="png", pixel_format="gray")
        data = bytearray(path.read_bytes())
        data[16:24] = b"\x00\x00\xff\xff\x00\x00\xff\xff"
        path.write_bytes(data)
    elif hostile == "rate":
        path = tmp_path / "a.y4m"
        path.write_bytes(b"YUV4MPEG2 W32 H24 F1000000:1 Ip A1:1 C420\n" + (b"FRAME\n" + bytes(1152)) * 50)
    else:
        path = make_clip(tmp_path / "a.mkv", times=50, size=SMALL)
        with path.open("ab") as file:
            file.truncate(8 << 30)  # sparse: 8 GB that say nothing
    began = perf_counter()
    try:
        seen = examine(path).seen
        assert seen.timing.packets <= 50
    except VidsrError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ways are right
    assert perf_counter() - began < 10
