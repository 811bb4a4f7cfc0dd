"""Where frames go: a video made of segments, pictures, or nowhere. All are used the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from vidsr.frame import PixelFormat
from vidsr.video.writer import OutputFrame

__all__ = ["NullSink", "Sink", "Stretch", "partial_name"]


def partial_name(output: Path) -> Path:
    """Return the name of what there is of a result whose source broke off: ``clip_2x.partial.mp4``."""
    return output.with_name(f"{output.stem}.partial{output.suffix}")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames that are still to be made, one after another."""

    number: int = 0
    """Of its first segment."""
    after: int | None = None
    """Pts, in the source's ticks, of a frame that lies before it; None: it begins where the job does."""
    until: int | None = None
    """Pts of the first frame behind it; None: it ends where the job does."""

    def over(self, pts: int) -> bool:
        """Tell whether a frame lies behind it."""
        return self.until is not None and pts >= self.until


class Sink(Protocol):
    """Takes frames in order; use it in a ``with``. Leaving without `finish` keeps what is whole."""

    frames_done: int
    """Frames that an earlier run finished already."""
    jumped: bool = False
    """Whether the source's clock jumped among these."""

    def left(self) -> tuple[Stretch, ...]:
        """Return what is still to be made; everything, by default."""
        return (Stretch(),)

    def begin(self, stretch: Stretch) -> None:
        """Make ready for the frames of a stretch; nothing by default."""
        return

    def number_of(self, pts: int) -> int:
        """Return the number of the segment that shows a frame, where that is decided before; else 0."""
        return 0

    def end(self, number: int | None = None) -> None:
        """Complete what was begun, once all frames of a stretch have come; nothing by default.

        Args:
            number: Of the first segment behind it; None: there is none.
        """
        return

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""

    def write(self, out: OutputFrame) -> None:
        """Take a filled frame whose `pts` and `duration` (source ticks) are set."""

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> Path | None:
        """Complete, verify and name the result; return its path.

        Args:
            check: Called when all is read of the source and nothing has its final name; it may raise.
            partial: The source broke off: the result gets a name that says so, and what was finished stays
                for another try.
        """

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of everything; there is nothing by default."""
        return


class NullSink(Sink):
    """Drops all frames, for measuring everything before the encoder."""

    def __init__(self, layout: PixelFormat, size: tuple[int, int]) -> None:
        """Take frames of a layout and size (width, height)."""
        self._layout, self._size = layout, size
        self.frames_done = 0

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""
        return OutputFrame.allocate(self._layout, self._size, self._size)

    def write(self, out: OutputFrame) -> None:
        """Drop the frame."""

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> None:
        """Do nothing but `check`."""
        check()
