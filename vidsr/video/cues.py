"""The words and styles of a text subtitle: read from SubRip, WebVTT and MP4's timed text, and written so.

SubRip has no standard; its tags are those that players know: b, i, u, and font with a colour. WebVTT is
W3C's, timed text is 3GPP TS 26.245.
"""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["DEFAULT_ENTRY", "PARSERS", "WRITERS", "Cue", "Run", "Style", "base_style"]


@dataclass(frozen=True, slots=True)
class Style:
    """How words look."""

    bold: bool = False
    italic: bool = False
    underline: bool = False
    color: int | None = None
    """0xRRGGBB; None: the player's choice."""


@dataclass(frozen=True, slots=True)
class Run:
    """Words of one style."""

    text: str
    style: Style


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle."""

    runs: tuple[Run, ...]
    lost: frozenset[str] = frozenset()
    """What of it is not in the runs: positions, fonts, ..."""

    @property
    def text(self) -> str:
        """The words alone."""
        return "".join(run.text for run in self.runs)


PLAIN = Style()
_MARKS = re.compile(r"<(/?)(b|i|u|s|font)\b([^<>]*)>|\{\\[^{}]*\}", re.IGNORECASE)
_COLOR = re.compile(r"""\bcolor\s*=\s*["']?#?([0-9a-f]{6})\b["']?""", re.IGNORECASE)
_FIELDS = {"b": "bold", "i": "italic", "u": "underline"}
_VTT_MARKS = re.compile(r"<(/?)([a-z]*)([^<>]*)>", re.IGNORECASE)

_WHITE = 0xFFFFFF
_FONT, _FONT_SIZE = 1, 18
_ENTRY = struct.Struct(">Ibb4s4hHHHBBI")
DEFAULT_ENTRY = (
    # Centred, at the bottom, no background, no box; one style: the first font, white.
    _ENTRY.pack(0, 1, -1, bytes(4), 0, 0, 0, 0, 0, 0, _FONT, 0, _FONT_SIZE, _WHITE << 8 | 0xFF)
    + struct.pack(">I4sHHB", 18 + 5, b"ftab", 1, _FONT, 10)
    + b"Sans-Serif"
)
"""What the header of a timed text track says: the default style and the fonts."""
_RECORD = struct.Struct(">HHHBBI")


def base_style(entry: bytes) -> tuple[Style, int, int]:
    """Return the default style of a timed text track, its font and its size."""
    if len(entry) < _ENTRY.size:
        return PLAIN, _FONT, _FONT_SIZE
    *_, font, face, size, rgba = _ENTRY.unpack(entry[: _ENTRY.size])
    return _style(face, rgba), font, size


def parse_subrip(data: bytes, entry: bytes = b"") -> Cue:
    """Return the cue of a SubRip packet."""
    text = data.decode("utf-8").replace("\r\n", "\n").strip("\n\0")
    runs, lost, stack, place = [], set(), [("", PLAIN)], 0
    for mark in _MARKS.finditer(text):
        runs.append(Run(text[place : mark.start()], stack[-1][1]))
        place = mark.end()
        name = (mark[2] or "").lower()
        if not name:
            lost.add("positions and effects")
        elif name == "s":
            lost.add("strike-through")
        elif mark[1]:
            while len(stack) > 1 and stack.pop()[0] != name:
                pass
        else:
            style = stack[-1][1]
            if name == "font":
                color = _COLOR.search(mark[3])
                rest = mark[3].replace(color[0], "") if color else mark[3]
                if rest.strip():
                    lost.add("fonts, sizes or named colours")
                style = replace(style, color=int(color[1], 16)) if color else style
            else:
                style = replace(style, **{_FIELDS[name]: True})
            stack.append((name, style))
    runs.append(Run(text[place:], stack[-1][1]))
    return _cue(runs, lost)


def parse_vtt(data: bytes, entry: bytes = b"") -> Cue:
    """Return the cue of a WebVTT packet."""
    text = data.decode("utf-8").replace("\r\n", "\n").strip("\n\0")
    runs, lost, stack, place = [], set(), [("", PLAIN)], 0
    for mark in _VTT_MARKS.finditer(text):
        runs.append(Run(html.unescape(text[place : mark.start()]), stack[-1][1]))
        place, name = mark.end(), mark[2]
        if name not in _FIELDS:
            lost.add("voices, classes, ruby or times within a cue")
        elif mark[1]:
            while len(stack) > 1 and stack.pop()[0] != name:
                pass
        else:
            if mark[3]:
                lost.add("classes")
            stack.append((name, replace(stack[-1][1], **{_FIELDS[name]: True})))
    runs.append(Run(html.unescape(text[place:]), stack[-1][1]))
    return _cue(runs, lost)


def parse_timed_text(data: bytes, entry: bytes = b"") -> Cue:
    """Return the cue of a packet of MP4's timed text; `entry`: the track's header."""
    base, font, size = base_style(entry)
    length = int.from_bytes(data[:2], "big")
    raw, boxes, lost = data[2 : 2 + length], data[2 + length :], set()
    text = raw.decode("utf-16" if raw[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8")
    styles = [base] * len(text)
    while len(boxes) >= 8:
        total = int.from_bytes(boxes[:4], "big")
        kind, body, boxes = boxes[4:8], boxes[8:total], boxes[max(8, total) :]
        if kind == b"styl":
            for place in range(2, len(body) - _RECORD.size + 1, _RECORD.size):
                begin, end, own_font, face, own_size, rgba = _RECORD.unpack_from(body, place)
                styles[begin:end] = [_style(face, rgba)] * len(styles[begin:end])
                if (own_font, own_size) != (font, size):
                    lost.add("fonts or sizes")
        elif kind != b"twrp":  # wrapping of long lines is what players do
            lost.add("positions and effects")
    return _cue([Run(letter, style) for letter, style in zip(text, styles, strict=True)], lost)


def write_subrip(cue: Cue) -> tuple[bytes, frozenset[str]]:
    """Return a SubRip packet, and what it does not hold of the cue."""
    lost = frozenset({"words that look like tags"}) if _MARKS.search(cue.text) else frozenset()
    return "".join(_marked(run, color=True) for run in cue.runs).encode(), lost


def write_vtt(cue: Cue) -> tuple[bytes, frozenset[str]]:
    """Return a WebVTT packet, and what it does not hold of the cue."""
    lost = frozenset({"colours"}) if any(run.style.color is not None for run in cue.runs) else frozenset()
    escaped = (replace(run, text=html.escape(run.text, quote=False)) for run in cue.runs)
    return "".join(_marked(run, color=False) for run in escaped).encode(), lost


def write_timed_text(cue: Cue) -> tuple[bytes, frozenset[str]]:
    """Return a packet of timed text for a track with `DEFAULT_ENTRY`, and what it does not hold."""
    raw = cue.text.encode()
    if len(raw) > 0xFFFF:
        return len(raw[:0xFFFF]).to_bytes(2, "big") + raw[:0xFFFF], frozenset({"words beyond 64 KiB"})
    records, place = [], 0
    for run in cue.runs:
        style, end = run.style, place + len(run.text)
        if style != PLAIN:
            face = style.bold | style.italic << 1 | style.underline << 2
            rgba = (_WHITE if style.color is None else style.color) << 8 | 0xFF
            records.append(_RECORD.pack(place, end, _FONT, face, _FONT_SIZE, rgba))
        place = end
    packet = len(raw).to_bytes(2, "big") + raw
    if records:
        body = len(records).to_bytes(2, "big") + b"".join(records)
        packet += (8 + len(body)).to_bytes(4, "big") + b"styl" + body
    return packet, frozenset()


def _style(face: int, rgba: int) -> Style:
    color = rgba >> 8
    return Style(bool(face & 1), bool(face & 2), bool(face & 4), None if color == _WHITE else color)


def _marked(run: Run, *, color: bool) -> str:
    style, text = run.style, run.text
    for wanted, name in ((style.underline, "u"), (style.italic, "i"), (style.bold, "b")):
        text = f"<{name}>{text}</{name}>" if wanted else text
    if color and style.color is not None:
        text = f'<font color="#{style.color:06x}">{text}</font>'
    return text


def _cue(runs: list[Run], lost: set[str]) -> Cue:
    """Join neighbours of one style."""
    joined: list[Run] = []
    for run in runs:
        if joined and joined[-1].style == run.style:
            joined[-1] = Run(joined[-1].text + run.text, run.style)
        elif run.text:
            joined.append(run)
    return Cue(tuple(joined), frozenset(lost))


PARSERS: dict[str, Callable[[bytes, bytes], Cue]] = {
    "subrip": parse_subrip,
    "text": parse_subrip,
    "webvtt": parse_vtt,
    "mov_text": parse_timed_text,
}
"""By codec; the second argument is the header of the stream."""

WRITERS: dict[str, Callable[[Cue], tuple[bytes, frozenset[str]]]] = {
    "subrip": write_subrip,
    "webvtt": write_vtt,
    "mov_text": write_timed_text,
}
"""By codec."""
