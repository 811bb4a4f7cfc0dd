"""Timecode arithmetic, drop frame included, against counting frame by frame."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vidsr.video.timecode import Timecode

NTSC = Fraction(30000, 1001)


def counted(start: str, frames: int, nominal: int, dropped: int) -> str:
    """Count up as SMPTE ST 12-1 says: numbers are left out at each minute that is no multiple of ten."""
    mark = start[8]
    hours, minutes, seconds, frame = (int(start[i : i + 2]) for i in (0, 3, 6, 9))
    for _ in range(frames):
        frame += 1
        if frame == nominal:
            frame, seconds = 0, seconds + 1
            if seconds == 60:
                seconds, minutes = 0, minutes + 1
                if minutes == 60:
                    minutes, hours = 0, (hours + 1) % 24
                frame = dropped if minutes % 10 else 0
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{frame:02d}"


@pytest.mark.parametrize(
    ("start", "rate", "dropped"),
    [
        ("00:00:00:00", Fraction(25), 0),
        ("23:59:58:10", Fraction(24), 0),
        ("00:00:59;20", NTSC, 2),
        ("00:08:59;29", NTSC, 2),
        ("23:58:59.29", NTSC, 2),
        ("00:09:58;58", 2 * NTSC, 4),
        ("01:00:00:00", NTSC, 0),
    ],
)
def test_later(start: str, rate: Fraction, dropped: int) -> None:
    timecode = Timecode.at(start, rate)
    assert timecode.rate == rate
    for frames in (0, 1, 9, 10, 59, 1799, 1800, 3600, 17982, 20000):
        assert timecode.later(frames / rate).text == counted(start, frames, round(rate), dropped)


@pytest.mark.parametrize(
    ("text", "rate", "wanted"),
    [
        ("01:00:00:00", Fraction(31250, 1051), NTSC),  # 25 frames, the last of them longer
        ("01:00:00:00", Fraction(2397, 100), Fraction(24000, 1001)),
        ("01:00:00:00", Fraction(24), Fraction(24)),
        ("01:00:00;00", Fraction(30), NTSC),
        ("01:00:00;00", Fraction(25), None),
        ("01:00:00:00", Fraction(15), None),
        ("01:00:00:00", None, None),
        ("one o'clock", Fraction(25), None),
        ("01:61:00:00", Fraction(25), None),
    ],
)
def test_rates(text: str, rate: Fraction | None, wanted: Fraction | None) -> None:
    assert Timecode.at(text, rate).rate == wanted
    if wanted is None:
        assert Timecode.at(text, rate).later(Fraction(5)).text == text


def test_fields() -> None:
    assert Timecode.at("00:00:59;25", NTSC).doubled() == Timecode("00:00:59;50", 2 * NTSC)
