"""Frames out of pictures that are one field each: the only way in which HEVC codes interlaced video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import av

from vidsr.frame import VideoInfo
from vidsr.video.deinterlace import Decoded
from vidsr.video.filters import Chain

__all__ = ["Weaver", "as_frames", "first_field"]

_ALONE = "fields without the other one of their frame: each row of them is shown twice"
# Of the frame's pixels, though some encoders state the shape of the field's. No format has pixels so narrow.
_NARROW = Fraction(7, 10)


def _single(codec: str, frame: av.VideoFrame) -> bool:
    """Tell whether a decoder's frame is one field.

    FFmpeg flags pictures of HEVC as interlaced only where they are (pic_struct 1, 2 and 9 to 12; ITU-T H.265,
    table D.2).
    """
    return bool(frame.interlaced_frame) and codec == "hevc"


def _sieve(frame: av.VideoFrame) -> Chain:
    """Return what passes top fields, and no bottom ones: PyAV has no name for that flag."""
    return Chain(frame, [("select", {"expr": "eq(interlace_type,TOPFIRST)"})])


def first_field(codec: str, frame: av.VideoFrame) -> Literal["", "tff", "bff"]:
    """Return which field a source's first picture is, as `VideoInfo.fields`; "": it is a frame."""
    if not _single(codec, frame):
        return ""
    return "tff" if _sieve(frame).push(frame) else "bff"


def as_frames(info: VideoInfo) -> VideoInfo:
    """Return what a source whose pictures are fields is once they are woven."""
    shape, frames = info.sample_aspect_ratio, info.estimated_frames
    return replace(
        info,
        height=2 * info.height,
        frame_rate=None if info.frame_rate is None else info.frame_rate / 2,
        estimated_frames=None if frames is None else -(-frames // 2),
        sample_aspect_ratio=2 * shape if shape < _NARROW else shape,
    )


def _look(frame: av.VideoFrame) -> tuple[object, ...]:
    return frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range


class Weaver:
    """Makes a frame of each two fields; frames among them pass as they are.

    A frame has its first field's time. A field that is alone, because its stream begins or breaks off within
    a frame or damage took the other, becomes a frame of its own.
    """

    def __init__(self, info: VideoInfo, ticks: int, warn: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            info: The source.
            ticks: Of the reader from one frame to the next, about.
            warn: Takes a sentence for the user; may get it more than once.
        """
        self._info, self._ticks, self._warn = info, ticks, warn
        self._chains: tuple[Chain, Chain] | None = None
        self._look: tuple[object, ...] = ()

    def frames(self, pictures: Iterable[Decoded], begin: int) -> Iterator[Decoded]:
        """Yield frames of what a decoder gives in order; those before `begin` are only looked at."""
        held: Decoded | None = None
        for picture in pictures:
            if self._is_whole(picture.frame):
                ready = [*self._alone(held, begin), picture]
                held = None
            elif self._begins(picture.frame):
                ready = self._alone(held, begin)
                held = picture
            elif held is not None and self._belong(held, picture):
                ready = [self._woven(held, picture)]
                held = None
            else:
                ready = [*self._alone(held, begin), *self._alone(picture, begin)]
                held = None
            del picture  # frames can be large: none is kept while the next is awaited
            while ready:
                yield ready.pop(0)
        yield from self._alone(held, begin)

    def _alone(self, field: Decoded | None, begin: int) -> list[Decoded]:
        if field is None:
            return []
        if field.pts >= begin:
            self._warn(_ALONE)
        return [self._woven(field, field)]

    def _is_whole(self, frame: av.VideoFrame) -> bool:
        # FFmpeg goes on flagging as fields what follows them without saying what it is.
        return not _single(self._info.codec, frame) or frame.height == self._info.height

    def _begins(self, field: av.VideoFrame) -> bool:
        """Tell whether a field is the first of its frame."""
        sieve, _ = self._filters(field)
        return bool(sieve.push(field)) == (self._info.fields == "tff")

    def _belong(self, first: Decoded, second: Decoded) -> bool:
        near = second.pts - first.pts < self._ticks
        return near and _look(first.frame) == _look(second.frame)

    def _woven(self, first: Decoded, second: Decoded) -> Decoded:
        _, weave = self._filters(first.frame)
        weave.push(first.frame)
        (made,) = weave.push(second.frame)
        length = second.pts - first.pts + second.duration if second.duration else 0
        return replace(first, frame=made, duration=length, flagged=True)

    def _filters(self, field: av.VideoFrame) -> tuple[Chain, Chain]:
        """Return the filters for fields like this one."""
        if self._chains is None or self._look != _look(field):
            place = "top" if self._info.fields == "tff" else "bottom"
            weave = Chain(field, [("weave", {"first_field": place})])
            self._look, self._chains = _look(field), (_sieve(field), weave)
        return self._chains
