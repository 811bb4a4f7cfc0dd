"""What becomes of damage, of frames without a time, and of times that do not increase."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

from vidsr.errors import DecodeError
from vidsr.frame import VideoInfo
from vidsr.job import OnError
from vidsr.video.clock import RAGGED
from vidsr.video.decoding import Loss, Picture
from vidsr.video.deinterlace import Decoded, woven

__all__ = ["LookCloserError", "Repairs"]

_ADVICE = "add --on-error skip to leave out what is damaged, or --on-error conceal to patch it"


class LookCloserError(Exception):
    """There is damage about here; to be told exactly where, decode again frame by frame."""


class Repairs:
    """Makes frames whose times strictly increase of what a decoder gives.

    Attributes:
        last: Time of the last frame, in ticks of the reader; None: there was none.
    """

    def __init__(
        self,
        info: VideoInfo,
        on_error: OnError,
        warn: Callable[[str], None],
        *,
        each: int,
        rate: Fraction | None,
    ) -> None:
        """Prepare.

        Args:
            info: The source, as the reader knows it.
            on_error: What becomes of damage; see `Job.on_error`.
            warn: Takes sentences for the user; may get one more than once.
            each: Ticks of the reader in one tick of the file.
            rate: Frames a second of the file; None: not known.
        """
        self.last: int | None = None
        self._info, self._on_error, self._warn = info, on_error, warn
        self._each, self._rate = each, rate
        # Recordings of broadcasts end anywhere.
        self._ragged = info.container in RAGGED and on_error != "conceal"
        self._early = 0
        # Where and why; places that are looked at twice count once.
        self._damaged: dict[tuple[str, str], None] = {}
        # The last one; of single fields two, since one is patched with the last of its own kind.
        self._kept: deque[Decoded] = deque(maxlen=2 if info.fields else 1)
        self._gaps: list[int] = []

    @property
    def sentences(self) -> list[str]:
        """What was damaged so far, for the report."""
        found = []
        if self._early:
            found.append(
                f"the recording begins between two key frames: what cannot be decoded before the first"
                f" is left out (packets: {self._early})"
            )
        if self._damaged:
            done = "left out" if self._on_error == "skip" else "concealed"
            where, why = next(iter(self._damaged))
            count = len(self._damaged)
            places = "1 damaged place was" if count == 1 else f"{count} damaged places were"
            found.append(f"{places} {done}, the first {where} ({why})")
        return found

    def begin_anew(self) -> None:
        """Forget the frames so far: reading begins again, elsewhere or once more."""
        self.last, self._gaps = None, []
        self._kept.clear()

    def frames(self, items: Iterable[Picture | Loss], *, careful: bool, sought: bool) -> Iterator[Decoded]:
        """Yield the frames among `items`, each later than the one before and than `last`.

        Args:
            items: From `decode`.
            careful: As `decode` was told.
            sought: Whether they begin in the middle of the file.

        Raises:
            LookCloserError: There is damage, and `careful` is not set.
            DecodeError: There is damage, and it is to stop the work.
        """
        for item in items:
            damaged = isinstance(item, Loss) or item.damaged
            if damaged and not careful:
                raise LookCloserError
            if damaged and item.tail and self._ragged:
                self._warn("the recording breaks off within its last picture, which is left out")
                continue
            if isinstance(item, Loss):
                if not (sought and item.early):
                    self._lost(item)
                continue
            if damaged and self._hurt(item):
                continue
            yield from self._patches(item.pts)
            frame = self._timed(item, sought)
            self.last = frame.pts
            if self._on_error == "conceal":  # large frames are not held for nothing
                self._kept.append(replace(frame))
            del item
            yield frame
            del frame
        yield from self._patches(None)

    def ended(self, missing: int) -> None:
        """Look at where the file ended.

        Args:
            missing: Bytes that it says it has, and has not.

        Raises:
            DecodeError: It is cut off, and damage is to stop the work.
        """
        info = self._info
        if self.last is None or info.duration is None or info.still:
            return
        reached = float((self.last - info.start_pts) * info.time_base)
        short = info.duration - reached
        steps = 2 / float(info.frame_rate or 25)
        if missing and short > max(steps, 0.1):
            self._note(None, f"the file is cut off: {missing} bytes are missing, and {short:.3f} s")
        elif short > max(1.0, steps, info.duration / 50):
            self._warn(
                f"the file promises {info.duration:.3f} s, and its last frame is shown at {reached:.3f} s"
            )

    def _lost(self, loss: Loss) -> None:
        if loss.early:
            self._early += 1
            return
        self._note(loss.pts, loss.why)
        if self._on_error == "conceal" and loss.pts is not None:
            self._gaps.append(loss.pts * self._each)

    def _hurt(self, picture: Picture) -> bool:
        """Note a damaged picture; return whether it is left out."""
        self._note(picture.pts, "damaged picture")
        return self._on_error == "skip"

    def _note(self, pts: int | None, why: str) -> None:
        base = self._info.time_base
        where = "at the start"
        if pts is not None:
            where = f"at {float((pts * self._each - self._info.start_pts) * base):.3f} s"
        elif self.last is not None:
            where = f"after {float((self.last - self._info.start_pts) * base):.3f} s"
        if self._on_error == "stop":
            raise DecodeError(f"it is damaged {where} ({why})", path=self._info.path, hint=_ADVICE)
        self._damaged[where, why] = None

    def _patches(self, before: int | None) -> Iterator[Decoded]:
        """Yield the last frame again, at the times of those lost between it and the next one."""
        gaps, self._gaps = sorted(self._gaps), []
        stop = None if before is None else before * self._each
        for pts in gaps:
            if not self._kept or self.last is None or pts <= self.last:
                continue
            if stop is not None and pts >= stop:
                self._gaps.append(pts)
                continue
            self.last = pts
            patch = replace(self._kept[0], pts=pts, key=False)
            self._kept.append(replace(patch))
            yield patch

    def _timed(self, picture: Picture, sought: bool) -> Decoded:
        frame = picture.frame
        flagged, length = woven(self._info.codec, frame), (frame.duration or 0) * self._each
        return Decoded(
            frame,
            self._pts(picture, sought),
            length,
            flagged,
            shift=picture.shift * self._each,
            key=bool(frame.key_frame),
        )

    def _pts(self, picture: Picture, sought: bool) -> int:
        """Return a picture's time in ticks of the reader, later than `last`."""
        info, last = self._info, self.last
        if picture.pts is None and sought:
            raise DecodeError(
                "its frames have no time stamps, so reading cannot begin in the middle",
                path=info.path,
                hint="leave out --start; to go on with an interrupted job, add --discard and start anew",
            )
        if picture.pts is None:
            self._warn("frames without a time stamp: they follow at the frame rate")
            step = round(1 / (self._rate or 25) / (info.time_base * self._each))
            return info.start_pts if last is None else last + max(1, step) * self._each
        pts = picture.pts * self._each
        if last is not None and pts <= last:
            self._warn("time stamps that do not increase: moved by the smallest step that makes them")
            return last + self._each
        return pts
