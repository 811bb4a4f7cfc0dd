"""The picture that travels: the upscaled frame, and below it the source's frame as it is.

Both halves are one picture to encoder, network and browser, so that they cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vidsr.errors import OptionsError
from vidsr.frame import ColorInfo, ColorRange, Frame, Matrix, PixelFormat, Plane, Planes
from vidsr.video.live import PIXELS, viewable
from vidsr.video.writer import OutputFrame

__all__ = ["MOST_PIXELS", "MOST_SIDE", "Picture", "Stack"]

MOST_SIDE = 8192
MOST_PIXELS = 36_000_000
"""Of a stacked picture: level 6 of H.264, beyond which no browser goes."""
_SHOWN = PixelFormat.parse(PIXELS)


@dataclass(slots=True)
class Picture:
    """A stacked picture in work."""

    planes: Planes
    """Where the upscaled frame goes."""
    _stack: Stack
    _upper: OutputFrame
    _source: Frame

    def viewable(self) -> Any:
        """Return the whole as a frame to encode, once `planes` are filled."""
        return self._stack.joined(self._upper, self._source)


class Stack:
    """Where both frames lie in the picture.

    Attributes:
        size: Width and height of the picture, even.
        below: Row at which the source's frame begins, even.
    """

    def __init__(
        self, layout: PixelFormat, color: ColorInfo, source: tuple[int, int], target: tuple[int, int]
    ) -> None:
        """Lay out.

        Args:
            layout: Of the source's frames and the upscaled ones.
            color: Theirs.
            source: Width and height of the source's frames.
            target: Of the upscaled ones.

        Raises:
            OptionsError: No browser would show it.
        """
        self._layout, self._color = layout, color
        self._source, self._target = source, target
        self.below = _even(target[1])
        self.size = (_even(max(target[0], source[0])), self.below + _even(source[1]))
        if max(self.size) > MOST_SIDE or self.size[0] * self.size[1] > MOST_PIXELS:
            wide, high = target
            raise OptionsError(
                f"{wide}x{high} beside its source is more than browsers show", hint="take a smaller --scale"
            )
        # Then the network writes into the picture itself, and nothing is copied.
        self._direct = (
            layout.name == PIXELS
            and color.range is ColorRange.LIMITED
            and color.matrix not in (Matrix.RGB, Matrix.YCGCO)
        )

    def picture(self, source: Frame) -> Picture:
        """Return a picture for a frame of the source."""
        coded = self.size if self._direct else self._target
        upper = OutputFrame.allocate(self._layout, self._target, coded)
        return Picture(upper.planes, self, upper, source)

    def joined(self, upper: OutputFrame, source: Frame) -> Any:
        """Return the whole picture."""
        if self._direct:
            whole, lower = upper, source.planes
        else:
            whole = OutputFrame.allocate(_SHOWN, self.size, self.size)
            below = OutputFrame.allocate(self._layout, self._source, self._source)
            _copy(below.planes, source.planes)
            lower = _planes(below, self._color)
            _copy(whole.whole, _planes(upper, self._color))
        width, height = self._target
        for number, (plane, own) in enumerate(zip(whole.whole, lower, strict=True)):
            shift = 1 if number else 0
            black = 128 if number else 16
            right, under = (width + shift) >> shift, (height + shift) >> shift
            rows, columns = own.shape
            start = self.below >> shift
            plane[:under, right:] = black
            plane[under:start] = black
            plane[start : start + rows, :columns] = own
            plane[start : start + rows, columns:] = black
            plane[start + rows :] = black
        return whole.frame


def _planes(filled: OutputFrame, color: ColorInfo) -> tuple[Plane, ...]:
    """Return a frame's planes as browsers take them."""
    frame = viewable(filled.frame, color)
    if frame is filled.frame:
        return filled.planes
    return _views(frame)


def _views(frame: Any) -> tuple[Plane, ...]:
    from vidsr.video.formats import planes_of

    return planes_of(frame)


def _copy(target: Planes, source: Planes) -> None:
    for one, other in zip(target, source, strict=True):
        np.copyto(one[: other.shape[0], : other.shape[1]], other)


def _even(side: int) -> int:
    return side + side % 2
