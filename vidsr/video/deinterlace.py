"""Whole frames from woven fields: FFmpeg's bwdif, fed so that a result depends on three frames only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Literal

import av

from vidsr.frame import PixelFormat, VideoInfo
from vidsr.video.convert import to_planar
from vidsr.video.filters import Chain
from vidsr.video.surface import in_memory

__all__ = [
    "WOVEN",
    "Decoded",
    "Deinterlacer",
    "Deinterlacing",
    "filter_problem",
    "in_fields",
    "woven",
]

WOVEN = "the source is interlaced: its fields are upscaled as they are woven"
_PULLDOWN = "the source looks like film that was telecined (3:2 pulldown); this is not undone"
_PULLDOWN_TURNS = 5  # so often in a row two and three fields must alternate


@dataclass(frozen=True, slots=True)
class Deinterlacing:
    """What becomes of interlaced frames."""

    mode: Literal["auto", "off", "frame", "field"] = "off"
    """See `Job.deinterlace`."""
    order: Literal["auto", "tff", "bff"] = "auto"
    """Which field comes first, top or bottom; auto: what each frame's flag says, top where none does."""
    seen: str = ""
    """What was seen in the picture, where that decided."""

    def __str__(self) -> str:
        """Name what decides the result."""
        return self.mode if self.order == "auto" else f"{self.mode} {self.order}"


@dataclass(slots=True)
class Decoded:
    """A decoder's frame with its time."""

    frame: av.VideoFrame
    pts: int
    """Ticks of the reader's time base."""
    duration: int
    """Ticks; 0: not known."""
    flagged: bool
    """Whether its stream says that it is interlaced."""
    made: bool = False
    """Whether it was made of fields here."""
    shift: int = 0
    """See `Frame.shift`."""
    key: bool = False
    """Whether reading can begin here."""


def in_fields(info: VideoInfo) -> VideoInfo:
    """Return what a source is when each of its fields becomes a frame: twice the rate, half the tick."""
    return replace(
        info,
        time_base=info.time_base / 2,
        start_pts=info.start_pts * 2,
        frame_rate=None if info.frame_rate is None else info.frame_rate * 2,
        estimated_frames=None if info.estimated_frames is None else info.estimated_frames * 2,
    )


def woven(codec: str, frame: av.VideoFrame) -> bool:
    """Tell whether a decoder's frame holds two fields, by its flags; those of HEVC hold one."""
    return bool(frame.interlaced_frame) and codec != "hevc"


class Deinterlacer:
    """Passes frames on, those that are interlaced as whole frames.

    A result depends on its frame, the one before and the one after, whatever was read earlier: reading
    may begin one frame early and gives the same. Frames that need nothing are passed on as they are.
    """

    def __init__(
        self,
        wanted: Deinterlacing,
        pixel_format: PixelFormat,
        frame_rate: Fraction | None,
        warn: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            wanted: What to do.
            pixel_format: What frames are brought to before they are filtered.
            frame_rate: Of the source's frames, for the report.
            warn: Takes sentences for the user; may get one more than once.
        """
        self._wanted, self._mode, self._warn = wanted, wanted.mode, warn
        self._layout, self._rate = pixel_format, frame_rate
        self._filter: Chain | None = None
        self._used = self._flagged = self._made = 0
        self._pulldown = _Pulldown()

    def count(self, frame: Decoded) -> None:
        """Note for the report that a frame is used."""
        self._used += 1
        self._flagged += frame.flagged
        self._made += frame.made

    @property
    def sentence(self) -> str:
        """What was done to the frames that were counted, for the report."""
        return "; ".join(filter(None, (self._wanted.seen, self._done())))

    def _done(self) -> str:
        if self._mode == "off":
            return "off, fields stay woven" if self._flagged and not self._wanted.seen else "off"
        if self._mode == "auto" and not self._flagged:
            return "auto, no frame is flagged interlaced"
        rate = ""
        if self._mode == "field" and self._rate is not None:
            rate = f", {float(self._rate):.5g} to {float(2 * self._rate):.5g} a second"
        what = "field" if self._mode == "field" else "frame"
        return (
            f"{self._mode}, bwdif, one frame a {what}{rate}: {self._made} of {self._used} frames,"
            f" {self._flagged} flagged interlaced"
        )

    def frames(self, decoded: Iterable[Decoded]) -> Iterator[Decoded]:
        """Yield the frames of a source in order; of each frame two in field mode."""
        source = iter(decoded)
        before: Decoded | None = None
        current = next(source, None)
        while current is not None:
            self._note(current)
            if self._mode == "off" or (self._mode == "auto" and not current.flagged):
                self._filter = None
                before = None  # large frames are not held for nothing: `current` is the next one's neighbour
                yield current
                ahead = next(source, None)
            else:
                ahead = next(source, None)
                yield from self._whole(before, current, ahead)
            before, current = current, ahead

    def _note(self, current: Decoded) -> None:
        if self._mode == "off" and current.flagged and not self._wanted.seen:
            self._warn(WOVEN)
        if self._pulldown.seen_with(current.flagged, current.pts):
            self._warn(_PULLDOWN)

    def _whole(self, before: Decoded | None, current: Decoded, ahead: Decoded | None) -> list[Decoded]:
        """Return what becomes of an interlaced frame, given its neighbours."""
        problem = filter_problem(current.frame.width, current.frame.height, self._layout.name)
        if problem:
            self._warn(f"not deinterlaced, fields stay woven: {problem}")
            self._filter = None
            if self._mode == "field":
                return _in_time([current, replace(current)], before, current, ahead)
            return [current]
        made = [replace(current, frame=frame, made=True) for frame in self._filtered(before, current, ahead)]
        return _in_time(made, before, current, ahead) if self._mode == "field" else made

    def _filtered(
        self, before: Decoded | None, current: Decoded, ahead: Decoded | None
    ) -> list[av.VideoFrame]:
        frame = self._planar(current)
        # A neighbour of another size is none.
        planar = [None if near is None else self._planar(near) for near in (before, ahead)]
        prior, later = (near if near and _shape(near) == _shape(frame) else None for near in planar)
        if self._filter is None:
            self._filter = _bwdif(frame, self._wanted)
            if prior is not None:
                self._filter.push(prior)
            # What comes out now is the frame before, made without its own neighbour.
            self._filter.push(frame)
        made = self._filter.push(later)
        if later is None:
            self._filter = None
        return made

    def _planar(self, decoded: Decoded) -> av.VideoFrame:
        frame = in_memory(decoded.frame, self._layout)
        decoded.frame = to_planar(frame, self._layout, frame.width, frame.height)
        return decoded.frame


def _bwdif(frame: av.VideoFrame, wanted: Deinterlacing) -> Chain:
    """Return one run of the filter over frames of one shape; it gives a frame once it has seen the next."""
    # Which frames need it is decided outside.
    mode = "send_field" if wanted.mode == "field" else "send_frame"
    return Chain(frame, [("bwdif", {"mode": mode, "parity": wanted.order, "deint": "all"})])


def _in_time(
    fields: list[Decoded], before: Decoded | None, current: Decoded, ahead: Decoded | None
) -> list[Decoded]:
    """Give a frame's two fields their times: the second comes halfway to the next frame."""
    if ahead is not None:
        length = ahead.pts - current.pts
    else:
        length = current.duration or (0 if before is None else current.pts - before.pts)
    first, second = fields
    half = max(1, length // 2)
    first.duration = half
    second.pts, second.duration, second.key = current.pts + half, max(0, length - half), False
    return fields


class _Pulldown:
    """Recognises film made 60 fields a second, by its frames' flags or by how long they are shown."""

    def __init__(self) -> None:
        self._flags = ""
        self._pts: int | None = None
        self._shown = self._turns = 0

    def seen_with(self, flagged: bool, pts: int) -> bool:
        """Take the next frame; return whether the last ones look like film."""
        self._flags = (self._flags + ("i" if flagged else "p"))[-15:]
        # Durations would do, but with B-frames MP4 tells those between decoding times.
        shown = 0 if self._pts is None else pts - self._pts
        longer, shorter = max(shown, self._shown), min(shown, self._shown)
        self._turns = self._turns + 1 if _half_longer(longer, shorter) else 0
        self._pts, self._shown = pts, shown
        return self._turns >= _PULLDOWN_TURNS or "pppiipppii" in self._flags


def _half_longer(longer: int, shorter: int) -> bool:
    # 5 %: Matroska's times are whole milliseconds.
    return shorter > 0 and abs(2 * longer - 3 * shorter) * 20 <= 3 * shorter


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


@cache
def filter_problem(width: int, height: int, name: str) -> str:
    """Return why bwdif cannot filter such frames; "": it can."""
    try:
        blank = av.VideoFrame(64, 64, name)
        made = _bwdif(blank, Deinterlacing())
        made.push(blank)
        # FFmpeg puts a conversion in front of a filter that does not take a format.
        if any(out.format.name != name for out in made.push(None)):
            return f"FFmpeg's bwdif does not take {name}"
        _bwdif(av.VideoFrame(width, height, name), Deinterlacing())
    except (av.FFmpegError, ValueError):
        return f"{width}x{height} in {name} is too small for FFmpeg's bwdif"
    return ""
