"""Text subtitles from one form into another: words and styles stay, or what is lost is named."""

from __future__ import annotations

import pytest

from vidsr.video.cues import DEFAULT_ENTRY, PARSERS, WRITERS, Style, base_style

STYLED = 'plain <i>slanted <b>both</b></i>\n<u>lined</u> <font color="#ff0080">pink</font> a < b > c ü'


@pytest.mark.parametrize("codec", ["mov_text", "webvtt"])
def test_there_and_back(codec: str) -> None:
    text = STYLED if codec == "mov_text" else STYLED.replace('<font color="#ff0080">pink</font>', "red")
    cue = PARSERS["subrip"](text.encode(), b"")
    assert not cue.lost
    packet, lost = WRITERS[codec](cue)
    assert not lost
    again = PARSERS[codec](packet, DEFAULT_ENTRY)
    assert again == cue
    back, lost = WRITERS["subrip"](again)
    assert not lost
    assert PARSERS["subrip"](back, b"") == cue


def test_runs_of_subrip() -> None:
    cue = PARSERS["subrip"](STYLED.encode(), b"")
    assert [(run.text, run.style) for run in cue.runs] == [
        ("plain ", Style()),
        ("slanted ", Style(italic=True)),
        ("both", Style(italic=True, bold=True)),
        ("\n", Style()),
        ("lined", Style(underline=True)),
        (" ", Style()),
        ("pink", Style(color=0xFF0080)),
        (" a < b > c ü", Style()),
    ]


def test_timed_text_counts_characters() -> None:
    packet, _ = WRITERS["mov_text"](PARSERS["subrip"]("ü<i>é</i>".encode(), b""))
    assert packet[:6] == b"\0\4" + "üé".encode()
    assert packet[6:].startswith(b"\0\0\0\x16styl\0\1\0\1\0\2")


def test_the_default_style_of_a_track_counts() -> None:
    entry = bytearray(DEFAULT_ENTRY)
    entry[24] = 2  # italic
    assert base_style(bytes(entry))[0] == Style(italic=True)
    assert WRITERS["subrip"](PARSERS["mov_text"](b"\0\1a", bytes(entry)))[0] == b"<i>a</i>"


@pytest.mark.parametrize(
    ("source", "data", "target", "lost"),
    [
        ("subrip", rb"{\an8}above", "mov_text", "positions"),
        ("subrip", b"<s>struck</s>", "mov_text", "strike-through"),
        ("subrip", b'<font face="Arial">a</font>', "mov_text", "fonts"),
        ("subrip", b'<font color="red">a</font>', "mov_text", "named colours"),
        ("subrip", b'<font color="#ff0000">a</font>', "webvtt", "colours"),
        ("webvtt", b"<v Ann>hello</v>", "subrip", "voices"),
        ("webvtt", b"a <00:01.000>b", "mov_text", "times within"),
        ("webvtt", b"<b.loud>a</b>", "subrip", "classes"),
        ("webvtt", b"&lt;i&gt;a", "subrip", "look like tags"),
        ("mov_text", b"\0\1a\0\0\0\x0ctbox\0\0\0\0", "subrip", "positions"),
        (
            "mov_text",
            b"\0\1a\0\0\0\x16styl\0\1\0\0\0\1\0\1\0\x30\xff\xff\xff\xff",
            "subrip",
            "fonts or sizes",
        ),
    ],
)
def test_what_is_lost_is_named(source: str, data: bytes, target: str, lost: str) -> None:
    cue = PARSERS[source](data, DEFAULT_ENTRY)
    assert any(lost in reason for reason in cue.lost | WRITERS[target](cue)[1])


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\xff\xff", b"\0\5ab", b"\0\1a\0\0\0\0styl", b"\0\1a\0\0\0\xffstyl"]
)
def test_broken_timed_text_ends(data: bytes) -> None:
    assert PARSERS["mov_text"](data, b"").text in ("", "a", "ab")
