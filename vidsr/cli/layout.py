"""Labelled lines that fit a terminal, and figures as people write them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidsr.video.inspection import FrameCount

__all__ = [
    "bytes_in_words",
    "clean",
    "clock",
    "count_in_words",
    "duration",
    "labelled",
    "rate_in_words",
    "ratio",
    "span",
]

WIDTH = 80
_LABEL = 12


def labelled(rows: Iterable[tuple[str, str]], *, width: int = WIDTH) -> list[str]:
    """Return lines of at most `width` columns, but for words that are longer; an empty label continues."""
    lines: list[str] = []
    for label, text in rows:
        lines += textwrap.wrap(
            clean(text),
            width,
            initial_indent=label.ljust(_LABEL),
            subsequent_indent=" " * _LABEL,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [label]
    return lines


def clean(text: str) -> str:
    """Return a file's text on one line, without what would steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def bytes_in_words(count: float) -> str:
    """Return "1.2 GB", "3.4 MB" or "12 kB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB" if count >= 1e3 else f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Return a duration as "4.2 s", "1:02" or "1:02:03"; days at most as hours."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, hours = whole // 60 % 60, whole // 3600
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02} min"


def clock(seconds: float) -> str:
    """Return a place in a video: "0:03.5", "1:02:03"."""
    hours, rest = divmod(round(max(0.0, seconds), 1), 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:04.1f}".removesuffix(".0")
    return f"{hours:.0f}:{minutes:02.0f}:{text}" if hours else f"{minutes:.0f}:{text}"


def count_in_words(frames: FrameCount) -> str:
    """Return "144 (counted)"."""
    how = {"counted": "counted", "header": "stated by the header", "estimated": "estimated from times"}
    if frames.count is None:
        return "not known: the header states none, and the file is too long to count"
    return f"{frames.count} ({how.get(frames.source, '')})"


def span(seconds: float) -> str:
    """Return a point of time or a step: "33.37 ms" or "5.000 s"."""
    return f"{seconds * 1000:.2f} ms" if abs(seconds) < 1 else f"{seconds:.3f} s"


def rate_in_words(rate: Fraction) -> str:
    """Return "25" or "29.97 (30000/1001)"."""
    return f"{rate.numerator}" if rate.denominator == 1 else f"{float(rate):.5g} ({rate})"


def ratio(value: Fraction) -> str:
    """Return "16:9"."""
    return f"{value.numerator}:{value.denominator}"
