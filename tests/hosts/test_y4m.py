"""YUV4MPEG2: headers and frames, as they are and as they must not be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr.errors import DecodeError, OptionsError, ProbeError, UnsupportedFormatError, VidsrError
from vidsr.frame import ChromaLocation, ColorRange, Matrix
from vidsr.hosts.standard import Input, Output
from vidsr.hosts.y4m import Y4mReader, Y4mWriter
from vidsr.hosts.y4m_header import make_header, parse_header

SPACES = {
    "420jpeg": ("yuv420p", ChromaLocation.CENTER),
    "420mpeg2": ("yuv420p", ChromaLocation.LEFT),
    "420paldv": ("yuv420p", ChromaLocation.TOPLEFT),
    "420": ("yuv420p", ChromaLocation.CENTER),
    "422": ("yuv422p", None),
    "444": ("yuv444p", None),
    "411": ("yuv411p", None),
    "440": ("yuv440p", None),
    "410": ("yuv410p", None),
    "mono": ("gray", None),
    "444alpha": ("yuva444p", None),
    "mono10": ("gray10le", None),
    "mono16": ("gray16le", None),
} | {
    f"{layout}p{depth}": (f"yuv{layout}p{depth}le", None)
    for layout in ("420", "422", "444")
    for depth in (9, 10, 11, 12, 14, 16)
}


def fed(data: bytes, use: Callable[[Input], object]) -> object:
    """Return what is made of bytes that come through a pipe."""
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    source = Input(reading)
    try:
        return use(source)
    finally:
        source.read()  # or the feeding thread would wait for ever
        thread.join()
        os.close(reading)


def through(data: bytes) -> bytes:
    """Return a stream, read and written again."""

    def copy(source: Input) -> bytes:
        reader = Y4mReader(source)
        into, out = os.pipe()
        got: list[bytes] = []

        def take() -> None:
            with os.fdopen(into, "rb") as file:
                got.append(file.read())

        thread = threading.Thread(target=take)
        thread.start()
        writer = Y4mWriter(Output(out), reader.header, reader.parameters)
        for frame in reader:
            raw = writer.allocate()
            for one, other in zip(raw.planes, frame.planes, strict=True):
                one[:] = other
            raw.pts = frame.pts
            writer.write(raw)
        writer.close()
        os.close(out)
        thread.join()
        return got[0]

    made = fed(data, copy)
    assert isinstance(made, bytes)
    return made


@pytest.mark.parametrize("space", SPACES)
def test_colour_spaces(space: str) -> None:
    header = parse_header(f"YUV4MPEG2 W7 H5 F30000:1001 It A4:3 C{space} XCOLORRANGE=FULL Xother".encode())
    name, place = SPACES[space]
    assert (header.pixel_format.name, header.chroma_location) == (name, place)
    assert (header.width, header.height, header.aspect) == (7, 5, Fraction(4, 3))
    assert (header.rate, header.color_range) == (Fraction(30000, 1001), ColorRange.FULL)
    assert header.interlaced == "top field first"
    size = header.pixel_format.frame_bytes(7, 5)
    data = header.line() + b"".join(b"FRAME\n" + os.urandom(size) for _ in range(3))
    assert through(data) == data


@given(st.data())
def test_round_trips(data: st.DataObject) -> None:
    space = data.draw(st.sampled_from(sorted(SPACES)))
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    tags = [f"W{width}", f"H{height}", f"C{space}"]
    tags += data.draw(
        st.lists(
            st.sampled_from(["F25:1", "Ip", "Ib", "I?", "A0:0", "A10:11", "XYSCSS=420JPEG", "Xa=b", "Qnew"]),
            unique_by=lambda tag: tag[:4],
        )
    )
    tags = data.draw(st.permutations(tags))
    line = b" ".join([b"YUV4MPEG2", *(tag.encode() for tag in tags)]) + b"\n"
    size = parse_header(line[:-1]).pixel_format.frame_bytes(width, height)
    for _ in range(data.draw(st.integers(0, 3))):
        line += data.draw(st.sampled_from([b"FRAME\n", b"FRAME Ip\n", b"FRAME Itp Xa=b\n"]))
        line += data.draw(st.binary(min_size=size, max_size=size) if size < 200 else st.just(b"F" * size))
    assert through(line) == line


@given(st.binary(max_size=200).map(lambda tail: b"YUV4MPEG2 W2 H2 C420jpeg" + tail))
def test_whatever_follows_ends_in_words(data: bytes) -> None:
    with suppress(VidsrError):  # anything else is a failure
        fed(data, lambda source: list(Y4mReader(source)))


@pytest.mark.parametrize(
    ("line", "kind", "word"),
    [
        ("YUV4MPEG2 H2 C420", ProbeError, "no size"),
        ("YUV4MPEG2 W0 H2", ProbeError, "no size"),
        ("YUV4MPEG2 W-2 H2", ProbeError, "no size"),
        ("YUV4MPEG2 W99999 H99999", ProbeError, "as large"),
        ("YUV4MPEG2 W2 H2 F25", ProbeError, "no ratio"),
        ("YUV4MPEG2 W2 H2 A1:x", ProbeError, "no ratio"),
        ("YUV4MPEG2 W2 H2 C420p7", UnsupportedFormatError, "420p7"),
        ("YUV4MPEG2 W2 H2 C444p17", UnsupportedFormatError, "444p17"),
        ("YUV4MPEG2 W2 H2 C444ps", UnsupportedFormatError, "444ps"),
        ("YUV4MPEG2 W2 H2 C422jpeg", UnsupportedFormatError, "422jpeg"),
        ("YUV4MPEG3 W2 H2", ProbeError, "no Y4M header"),
    ],
)
def test_headers_that_are_wrong(line: str, kind: type[VidsrError], word: str) -> None:
    with pytest.raises(kind, match=word):
        parse_header(line.encode())


def test_header_without_end() -> None:
    with pytest.raises(ProbeError, match="does not end"):
        fed(b"YUV4MPEG2 W2 H2" + b" " * 10000, Y4mReader)


@pytest.mark.parametrize(
    ("tail", "words", "whole"),
    [
        (b"FRAME\nabc", "within frame 1, after 3 of its 6 bytes", 1),
        (b"FRA", "within the line before frame 1", 1),
        (b"FRAME" + b" x" * 5000, "goes on with", 1),
        (b"GARBAGE", "goes on with", 1),
        (b"FRAME\nabcdefFRAMES", "instead of frame 2", 2),
    ],
)
def test_streams_that_break_off(tail: bytes, words: str, whole: int) -> None:
    frames: list[np.ndarray] = []

    def read(source: Input) -> None:
        frames.extend(frame.planes[0] for frame in Y4mReader(source))

    with pytest.raises(DecodeError, match=words):
        fed(b"YUV4MPEG2 W2 H2\nFRAME\n123456" + tail, read)
    assert len(frames) == whole


def test_what_is_not_said_is_guessed() -> None:
    small, large = parse_header(b"YUV4MPEG2 W640 H360 C420p10"), parse_header(b"YUV4MPEG2 W1280 H720 C444")
    assert small.color().matrix is Matrix.BT601
    assert small.color().guessed == {"matrix", "range", "chroma_location"}
    assert large.color().matrix is Matrix.BT709
    assert large.color(Matrix.BT2020).guessed == {"range"}
    old = parse_header(b"YUV4MPEG2 W2 H2 XYSCSS=420MPEG2")
    assert old.chroma_location is ChromaLocation.LEFT


def test_what_the_user_knows_is_said() -> None:
    header = parse_header(b"YUV4MPEG2 W2 H2 C420jpeg XYSCSS=420JPEG XCOLORRANGE=LIMITED")
    told = header.told(color_range=ColorRange.FULL, chroma_location=ChromaLocation.LEFT)
    assert told.line() == b"YUV4MPEG2 W2 H2 XCOLORRANGE=FULL C420mpeg2\n"
    assert parse_header(told.line()[:-1]) == told
    with pytest.raises(OptionsError, match="bottom"):
        header.told(chroma_location=ChromaLocation.BOTTOM)


def test_another_size() -> None:
    header = parse_header(b"YUV4MPEG2 C422 W4 F25:1 H2 A1:1")
    assert header.resized((8, 6), Fraction(4, 3)).line() == b"YUV4MPEG2 C422 W8 F25:1 H6 A4:3\n"
    assert header.resized((8, 4), Fraction(0)).line() == b"YUV4MPEG2 C422 W8 F25:1 H4 A1:1\n"


@pytest.mark.parametrize("space", [s for s in SPACES if s != "420"])
def test_headers_that_are_made(space: str) -> None:
    given_header = parse_header(f"YUV4MPEG2 W4 H4 F50:1 A1:1 C{space} XCOLORRANGE=FULL".encode())
    made = make_header(
        given_header.pixel_format, (4, 4), given_header.color(), rate=Fraction(50), aspect=Fraction(1)
    )
    again = parse_header(made.line()[:-1])
    assert again.pixel_format == given_header.pixel_format
    assert again.color() == given_header.color()


def test_stopping_ends_a_reading_that_waits() -> None:
    reading, writing = os.pipe()
    source = Input(reading)
    timer = threading.Timer(0.2, source.stop)
    timer.start()
    assert source.fill(memoryview(bytearray(10))) == 0  # nobody ever writes
    timer.join()
    os.close(reading)
    os.close(writing)
