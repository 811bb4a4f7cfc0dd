"""How a picture lies and what is cut off: rotation, flips, pixel shape and cropping, through containers."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from describe import decode, describe
from synth import make_clip

import vidsr
from vidsr.video.probe import probe

ONE = 1 << 16
ORIENTATIONS = {
    "as it is": (1, 0, 0, 1),
    "turned 90": (0, 1, -1, 0),
    "turned 180": (-1, 0, 0, -1),
    "turned 270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transversed": (0, -1, -1, 0),
}


def oriented(path: Path, turn: tuple[int, int, int, int]) -> Path:
    """Write a clip that players turn and mirror."""
    make_clip(path.with_name("plain.mp4"), times=3, options={"preset": "ultrafast"})
    a, b, c, d = (value * ONE for value in turn)
    with av.open(str(path.with_name("plain.mp4"))) as plain, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(plain.streams.video[0], opaque=True)
        stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return path


def turn_of(path: Path) -> tuple[int, ...]:
    matrix = probe(path).display_matrix or (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    return tuple(round(matrix[place] / ONE) for place in (0, 1, 3, 4))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("name", list(ORIENTATIONS))
def test_all_orientations(tmp_path: Path, name: str, suffix: str) -> None:
    source = oriented(tmp_path / "in.mp4", ORIENTATIONS[name])
    assert turn_of(source) == ORIENTATIONS[name]
    job = vidsr.Job(source=source, output=tmp_path / f"out{suffix}", backend="nearest", preset="ultrafast")
    report = vidsr.run(job)
    assert report.warnings == ()
    assert turn_of(tmp_path / f"out{suffix}") == ORIENTATIONS[name]
    assert report.size_out == (128, 96)  # as it is stored, not as it is shown


@pytest.mark.parametrize("name", ["turned 90", "mirrored"])
def test_a_picture_cannot_be_turned_and_says_so(tmp_path: Path, name: str) -> None:
    source = oriented(tmp_path / "in.mp4", ORIENTATIONS[name])
    job = vidsr.Job(source=source, output=tmp_path / "out.png", backend="nearest", frames=1)
    assert any("no place for a rotation" in warning for warning in vidsr.run(job).warnings)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9), Fraction(128, 117)])
def test_the_shape_of_pixels(tmp_path: Path, aspect: Fraction, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", times=2, aspect=aspect, options={"preset": "ultrafast"})
    assert probe(source).sample_aspect_ratio == aspect
    job = vidsr.Job(source=source, output=tmp_path / f"out{suffix}", backend="nearest", preset="ultrafast")
    vidsr.run(job)
    assert describe(tmp_path / f"out{suffix}").aspect == aspect


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mp4"), ("libx264", ".mkv")])
def test_what_a_stream_crops_is_not_there(tmp_path: Path, codec: str, suffix: str) -> None:
    """H.264 codes blocks of 16 and HEVC of 8: 50x38 is coded as more, and read as 50x38."""
    # With B-frames x265 gives so few frames chance decoding times, which FFmpeg's muxer refuses now and then.
    options = {
        "libx264": {"preset": "ultrafast", "qp": "0"},
        "libx265": {"x265-params": "lossless=1:bframes=0"},
    }[codec]
    source = make_clip(tmp_path / f"in{suffix}", size=(50, 38), times=2, codec=codec, options=options)
    job = vidsr.Job(
        source=source, output=tmp_path / "out.mkv", backend="nearest", chroma="nearest", codec="ffv1"
    )
    assert vidsr.run(job).size_out == (100, 76)
    for small, large in zip(decode(source), decode(tmp_path / "out.mkv"), strict=True):
        for one, many in zip(small, large, strict=True):
            np.testing.assert_array_equal(many, one.repeat(2, axis=0).repeat(2, axis=1))


def filtered(source: Path, target: Path, name: str) -> None:
    """Write a file's packets, through a bit stream filter, one after another."""
    with av.open(str(source)) as file, target.open("wb") as out:
        stream = file.streams.video[0]
        bsf = av.BitStreamFilterContext(name, stream)
        for packet in file.demux(stream):
            out.writelines(bytes(made) for made in bsf.filter(packet if packet.size else None))


@pytest.mark.parametrize("crop", [(2, 4, 6, 8), (0, 0, 7, 3)])
def test_odd_crops_of_a_stream(tmp_path: Path, crop: tuple[int, int, int, int]) -> None:
    """A conformance window that cuts on all sides; 4:4:4 may cut by odd numbers."""
    left, top, right, bottom = crop
    source = make_clip(
        tmp_path / "in.mkv", pixel_format="yuv444p", times=2, options={"qp": "0", "preset": "ultrafast"}
    )
    whole = decode(source)
    window = f"crop_left={left}:crop_top={top}:crop_right={right}:crop_bottom={bottom}"
    filtered(source, tmp_path / "raw.h264", "h264_mp4toannexb")
    filtered(tmp_path / "raw.h264", tmp_path / "cut.h264", f"h264_metadata={window}")
    job = vidsr.Job(
        source=tmp_path / "cut.h264",
        output=tmp_path / "out.mkv",
        backend="nearest",
        chroma="nearest",
        codec="ffv1",
    )
    assert vidsr.run(job).size_out == (2 * (64 - left - right), 2 * (48 - top - bottom))
    for small, large in zip(whole, decode(tmp_path / "out.mkv"), strict=True):
        for one, many in zip(small, large, strict=True):
            shown = one[top : 48 - bottom, left : 64 - right]
            np.testing.assert_array_equal(many, shown.repeat(2, axis=0).repeat(2, axis=1))


def apertured(path: Path) -> Path:
    """Write an MP4 whose clean aperture is 50x40 of 64x48, from (9, 3) on."""
    make_clip(path.with_suffix(".mkv"), times=4, options={"qp": "0", "preset": "ultrafast"})
    options = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
    with (
        av.open(str(path.with_suffix(".mkv"))) as plain,
        av.open(str(path), "w", container_options=options) as out,
    ):
        stream = out.add_stream_from_template(plain.streams.video[0], opaque=True)
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = bytearray(path.read_bytes())
    # ISO/IEC 14496-12, 12.1.4: width, height, and how far the middle lies right and down, as fractions.
    box = struct.pack(">I4s8i", 40, b"clap", 50, 1, 40, 1, 2, 1, -1, 1)
    at = data.index(b"avc1", data.index(b"stsd")) - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    data[end:end] = box
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.index(name) - 4 if name != b"avc1" else at
        size = int.from_bytes(data[place : place + 4], "big") + len(box)
        data[place : place + 4] = size.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_what_a_container_crops_is_not_there(tmp_path: Path) -> None:
    """FFmpeg's library leaves it to programs."""
    source = apertured(tmp_path / "in.mp4")
    info = probe(source)
    assert (info.width, info.height) == (50, 40)
    job = vidsr.Job(
        source=source,
        output=tmp_path / "out.mkv",
        backend="nearest",
        chroma="nearest",
        codec="ffv1",
        start=0.08,
    )
    report = vidsr.run(job)
    assert (report.frames, report.size_out, report.warnings) == (2, (100, 80), ())
    for small, large in zip(decode(source)[2:], decode(tmp_path / "out.mkv"), strict=True):
        assert small[0].shape == (48, 64)
        shown = small[0][3:43, 9:59]
        np.testing.assert_array_equal(large[0], shown.repeat(2, axis=0).repeat(2, axis=1))
