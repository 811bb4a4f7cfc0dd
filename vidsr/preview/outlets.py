"""What a play is sent as: fragmented MP4 with words between the fragments, or JPEG pictures one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vidsr.cores import usable_cores
from vidsr.frame import ColorInfo
from vidsr.video.fragments import box
from vidsr.video.live import LiveWriter, jpeg, shown_color

__all__ = ["BOUNDARY", "TOLD", "Jpegs", "Mp4", "Outlet", "Words"]

Words = dict[str, Any]
"""What the page is told, as JSON."""

TOLD = bytes.fromhex("7669647372207072657669657720746c")
"""Type of the ``uuid`` boxes that hold `Words`: players skip boxes of types they do not know."""

BOUNDARY = "vidsr-frame"

_CRF = 21.0
_STILL_CRF = 6.0
"""Of a picture that is looked at for longer."""
_SOUND_AHEAD = Fraction(1, 10)
"""Seconds of sound beyond the picture's end: nobody may wait for it."""
_Read = Callable[[int], NDArray[np.float32]]


class Outlet(Protocol):
    """Turns stacked pictures into bytes. To be used in a ``with``."""

    def begin(self, words: Words) -> bytes:
        """Return what goes first."""

    def picture(self, frame: Any, time: Fraction, shown: Fraction, words: Words) -> bytes:
        """Return the bytes of a picture, `shown` seconds from `time` on."""

    def repeat(self, time: Fraction, shown: Fraction, words: Words) -> bytes:
        """Return the bytes by which the last picture is shown on."""

    @staticmethod
    def tell(words: Words) -> bytes:
        """Return the bytes of words alone."""

    def __enter__(self) -> Self:
        """Return self."""

    def __exit__(self, *error: object) -> None:
        """Close encoders."""


class Mp4:
    """Fragmented MP4."""

    def __init__(
        self, size: tuple[int, int], color: ColorInfo, rate: Fraction, read: _Read | None, *, still: bool
    ) -> None:
        """Open the encoders.

        Args:
            size: Of the stacked pictures.
            color: Of the source.
            rate: Pictures a second, about.
            read: Returns so many of the next samples of sound; None: there is none.
            still: Whether it is one picture.

        Raises:
            EncodeError: An encoder refuses.
        """
        self._read = read
        self._last: Any = None
        self._writer = LiveWriter(
            size,
            shown_color(color),
            rate=rate,
            sound=read is not None,
            crf=_STILL_CRF if still else _CRF,
            threads=min(4, usable_cores()),
        )

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the encoders."""
        self._last = None
        self._writer.close()

    def begin(self, words: Words) -> bytes:
        """Return the header and first words, which name the codecs."""
        return self.tell(words | {"codecs": self._writer.codecs}) + self._writer.header

    def picture(self, frame: Any, time: Fraction, shown: Fraction, words: Words) -> bytes:
        """Return words, sound and the picture."""
        self._last = frame
        made = self._writer.picture(frame, time, shown)
        return self.tell(words) + self._sound(time + shown) + made

    def repeat(self, time: Fraction, shown: Fraction, words: Words) -> bytes:
        """Return the last picture anew, of which nothing needs to be coded."""
        made = self._writer.picture(self._last, time, shown)
        return self.tell(words) + self._sound(time + shown) + made

    @staticmethod
    def tell(words: Words) -> bytes:
        """Return a box with words."""
        return box(b"uuid", TOLD, json.dumps(words, allow_nan=False).encode())

    def _sound(self, until: Fraction) -> bytes:
        return self._writer.sound(self._read, until + _SOUND_AHEAD) if self._read else b""


class Jpegs:
    """MJPEG as HTTP knows it: parts of ``multipart/x-mixed-replace``, words in their heads. No sound."""

    def __init__(self, color: ColorInfo) -> None:
        """Begin.

        Args:
            color: Of the source.
        """
        self._color = shown_color(color)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def begin(self, words: Words) -> bytes:
        """Return the first words."""
        return self.tell(words)

    def picture(self, frame: Any, time: Fraction, shown: Fraction, words: Words) -> bytes:
        """Return a part."""
        return _part(jpeg(frame, self._color), words)

    def repeat(self, time: Fraction, shown: Fraction, words: Words) -> bytes:
        """Return the words: the last picture stays by itself."""
        return self.tell(words)

    @staticmethod
    def tell(words: Words) -> bytes:
        """Return a part without a picture."""
        return _part(b"", words)


def _part(data: bytes, words: Words) -> bytes:
    kind = "image/jpeg" if data else "text/plain"
    told = json.dumps(words, allow_nan=False)
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\nX-Told: {told}\r\n\r\n"
    return head.encode() + data + b"\r\n"
