"""FFmpeg's filters and its log, for what PyAV has no property for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from threading import Lock
from typing import Any

import av
import av.logging

__all__ = ["Chain", "listening", "through"]

# Whether FFmpeg's log is heard is decided for the whole process.
_LOG = Lock()


class Chain:
    """A chain of filters for frames of one shape."""

    def __init__(
        self,
        frame: av.VideoFrame,
        filters: Sequence[tuple[str, Mapping[str, str]]],
        time_base: Fraction = Fraction(1),
    ) -> None:
        """Build it of names and options, for frames like this one; the time base is of their pts."""
        self._graph = graph = av.filter.Graph()  # its filters do not keep it alive
        self._source: Any = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            time_base=str(time_base),
            colorspace=str(int(frame.colorspace)),
            range=str(int(frame.color_range)),
        )
        last = self._source
        for name, options in filters:
            following = graph.add(name, **options)
            last.link_to(following)
            last = following
        self._sink: Any = graph.add("buffersink")
        last.link_to(self._sink)
        graph.configure()

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Hand over a frame, or None at the end; return what is ready."""
        self._source.push(frame)
        ready = []
        while True:
            try:
                ready.append(self._sink.pull())
            except (BlockingIOError, EOFError):
                return ready


def through(
    frame: av.VideoFrame,
    chain: Sequence[tuple[str, Mapping[str, str]]],
    time_base: Fraction = Fraction(1, 25),
) -> av.VideoFrame:
    """Return what a chain of filters (name and options each) makes of one frame.

    Args:
        frame: In memory.
        chain: Filters that give one frame for one.
        time_base: Of the frame's pts; where times matter.
    """
    (made,) = Chain(frame, chain, time_base).push(frame)
    return made


@contextmanager
def listening() -> Iterator[list[tuple[int, str, str]]]:
    """Hear FFmpeg's log: (level, who, text) of what is said in the ``with``, by any thread."""
    with _LOG:
        level = av.logging.get_level()
        try:
            # Of all threads: what others say meanwhile is not to reach the terminal.
            with av.logging.Capture(local=False) as lines:
                av.logging.set_level(av.logging.INFO)
                yield lines
        finally:
            av.logging.set_level(level)
