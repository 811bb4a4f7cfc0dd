"""PyAV frames that somebody else has decoded: into our planes, and results into frames of the same kind."""

from __future__ import annotations

import threading
from typing import Any

import av

from vidsr.errors import OptionsError, UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorInfo, PixelFormat, Planes
from vidsr.video.convert import convert_frame, to_planar
from vidsr.video.formats import color_of, nearest_planar, planes_of
from vidsr.video.siting import chroma_location

__all__ = ["GivenFrame", "Sitings", "is_frame"]

_REMEMBERED = 256


def is_frame(value: Any) -> bool:
    """Tell whether something is a frame of PyAV."""
    return isinstance(value, av.VideoFrame)


class Sitings:
    """Where chroma lies, asked of the first frame of each kind: asking costs more than converting."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], ChromaLocation | None] = {}
        self._lock = threading.Lock()

    def of(self, frame: av.VideoFrame) -> ChromaLocation | None:
        """Return what frames of this format, size and colour say; None: nothing."""
        key = (
            frame.format.name,
            frame.width,
            frame.height,
            int(frame.colorspace),
            int(frame.color_primaries),
        )
        with self._lock:
            if key not in self._known:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = chroma_location(frame)
            return self._known[key]


class GivenFrame:
    """A frame in memory, with its planes as vidsr takes them.

    Attributes:
        planes: Code values in `pixel_format`; views of the frame where it is planar already.
        pixel_format: The nearest planar integer format to the frame's own.
        color: As the frame is tagged, and guessed as players do where it is not.
    """

    def __init__(self, frame: av.VideoFrame, sitings: Sitings) -> None:
        """Take a frame.

        Args:
            frame: Treated as read-only, and kept.
            sitings: Of frames like it.

        Raises:
            OptionsError: It is empty.
            UnsupportedFormatError: It lives in hardware, or has a palette.
        """
        if frame.width < 1 or frame.height < 1:
            raise OptionsError("a frame without pixels cannot be enlarged", hint="give decoded frames")
        if frame.format.has_palette:
            raise UnsupportedFormatError(
                "a result would have more colours than a palette holds",
                hint="hand over frame.reformat(format='rgb24')",
            )
        self.frame = frame
        self.pixel_format: PixelFormat = nearest_planar(frame.format.name)
        location = sitings.of(frame) if self.pixel_format.subsampled else None
        self.color: ColorInfo = color_of(frame, self.pixel_format, location)
        planar = to_planar(frame, self.pixel_format, frame.width, frame.height)
        self._direct = planar is frame
        self.planes: Planes = planes_of(planar)

    def result(self, size: tuple[int, int]) -> tuple[av.VideoFrame, Planes]:
        """Return a frame for the result, in the planar format, and writable views of its planes."""
        name = self.frame.format.name if self._direct else self.pixel_format.name
        made = av.VideoFrame(*size, name)
        self._tag(made)
        return made, planes_of(made)

    def finished(self, made: av.VideoFrame) -> av.VideoFrame:
        """Return a filled frame of `result` in the given frame's format, with its times and colour."""
        if not self._direct:
            made = convert_frame(made, self.color, self.frame.format.name, self.color)
            self._tag(made)
        return made

    def _tag(self, made: av.VideoFrame) -> None:
        given = self.frame
        made.pts, made.duration = given.pts, given.duration
        if given.time_base is not None:  # a frame that was made by hand has none
            made.time_base = given.time_base
        made.colorspace, made.color_range = given.colorspace, given.color_range
        made.color_primaries, made.color_trc = given.color_primaries, given.color_trc
