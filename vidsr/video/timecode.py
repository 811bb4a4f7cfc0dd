"""SMPTE ST 12 timecode: where a source has it, and what it is for the first frame of a result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from vidsr.frame import VideoInfo

__all__ = ["Timecode", "find_timecode"]

_FORM = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d\d)")
# What FFmpeg's MP4 muxer takes; the first of two with one nominal rate where a timecode drops numbers.
_RATES = tuple(
    Fraction(rate)
    for rate in ("24000/1001 24 25 30000/1001 30 48000/1001 48 50 60000/1001 60 100 120000/1001 120").split()
)
_TOLERANCE = 0.06  # by which a measured rate may be off, where the last of a few frames lasts longer


@dataclass(frozen=True, slots=True)
class Timecode:
    """The timecode of a first frame."""

    text: str
    """As the source has it: 01:00:00:00, or 01:00:00;00 where numbers are dropped."""
    rate: Fraction | None
    """Frames a second that it counts; None: not a rate that timecode is defined for, or no timecode."""

    @classmethod
    def at(cls, text: str, rate: Fraction | None) -> Timecode:
        """Return the timecode for frames that come at about `rate`."""
        match = _FORM.fullmatch(text)
        if match is None or not rate:
            return cls(text, None)
        drops = match[4] in ";."
        near = [known for known in _RATES if not drops or (known.denominator == 1001 and known > 29)]
        best = min(near, key=lambda known: abs(float(rate / known) - 1))
        return cls(text, best if abs(float(rate / best) - 1) <= _TOLERANCE else None)

    def doubled(self) -> Timecode:
        """Return it for twice as many frames a second."""
        match = _FORM.fullmatch(self.text)
        if match is None or self.rate is None:
            return self
        head, frame = self.text[: match.start(5)], int(match[5])
        return Timecode(f"{head}{2 * frame:02d}", self.rate * 2)

    def later(self, seconds: Fraction) -> Timecode:
        """Return the timecode of the frame that comes so many seconds after; the same if it has no rate."""
        match = _FORM.fullmatch(self.text)
        if match is None or self.rate is None:
            return self
        hours, minutes, second, frame = (int(match[group]) for group in (1, 2, 3, 5))
        nominal = round(self.rate)
        dropped = nominal // 15 if match[4] in ";." else 0
        minutes += 60 * hours
        count = (60 * minutes + second) * nominal + frame - dropped * (minutes - minutes // 10)
        return Timecode(_numbered(count + round(seconds * self.rate), nominal, dropped, match[4]), self.rate)


def find_timecode(info: VideoInfo) -> str | None:
    """Return a source's timecode: of its video stream, of a track of its own, or of the whole file."""
    for tags in (info.stream_tags, *(o.tags for o in info.others if o.kind == "data"), info.metadata):
        for key, value in tags.items():
            if key.lower() == "timecode":
                return value
    return None


def _numbered(count: int, nominal: int, dropped: int, mark: str) -> str:
    """Return the timecode of a frame counted from 00:00:00:00, skipping `dropped` numbers a minute."""
    minute = 60 * nominal - dropped
    tens = 10 * minute + dropped
    count %= 144 * tens  # 24 hours
    ten, rest = divmod(count, tens)
    skipped = 9 * dropped * ten
    if rest >= 60 * nominal:
        skipped += dropped * (1 + (rest - 60 * nominal) // minute)
    seconds, frame = divmod(count + skipped, nominal)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{frame:02d}"
