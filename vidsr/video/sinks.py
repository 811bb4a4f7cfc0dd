"""Where frames go: a video made of segments, pictures, or nowhere. All are used the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from vidsr.errors import OptionsError
from vidsr.frame import PixelFormat, VideoInfo
from vidsr.video.carrying import CarryPlan
from vidsr.video.encoders import EncoderSettings
from vidsr.video.muxer import Part, Timeline, join
from vidsr.video.verify import verify_video
from vidsr.video.work import WorkFolder, give_name
from vidsr.video.writer import OutputFrame, SegmentWriter, segment_suffix

__all__ = ["NullSink", "Sink", "VideoSink", "partial_name"]


def partial_name(output: Path) -> Path:
    """Return the name of what there is of a result whose source broke off: ``clip_2x.partial.mp4``."""
    return output.with_name(f"{output.stem}.partial{output.suffix}")


class Sink(Protocol):
    """Takes frames in order; use it in a ``with``. Leaving without `finish` keeps what is whole."""

    frames_done: int
    """Frames that an earlier run finished already."""
    resume_after: int | None
    """Pts, in the source's ticks, of the last of these; None: none."""
    jumped: bool = False
    """Whether the source's clock jumped among these."""

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
        self.frames_done, self.resume_after = 0, None

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""
        return OutputFrame.allocate(self._layout, self._size, self._size)

    def write(self, out: OutputFrame) -> None:
        """Drop the frame."""

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> None:
        """Do nothing but `check`."""
        check()


class VideoSink(Sink):
    """Encodes segments into a work folder, joins them with the source's other streams, verifies, renames."""

    def __init__(
        self,
        info: VideoInfo,
        output: Path,
        *,
        settings: EncoderSettings,
        carry: CarryPlan,
        plan: Mapping[str, Any],
        size: tuple[int, int],
        segment_frames: int,
        starts_late: bool,
        ends_early: bool,
        verify: Literal["packets", "full"],
        discard: bool,
    ) -> None:
        """Open the work folder.

        Args:
            info: The source.
            output: The final name.
            settings: The encoder.
            carry: What happens to the source's other streams.
            plan: Everything that decides the bytes; an earlier run's segments are used again only
                if its plan is the same.
            size: Width and height of the upscaled picture, without padding.
            segment_frames: Frames in a segment.
            starts_late: Whether frames at the source's beginning are left out.
            ends_early: Whether frames at its end are left out; other streams are cut with them.
            verify: See `Job.verify`.
            discard: See `Job.discard`.
        """
        self._info, self._output, self._settings, self._carry = info, output, settings, carry
        self._layout = info.pixel_format
        self._size, self._segment_frames, self._verify = size, segment_frames, verify
        self._starts_late, self._ends_early = starts_late, ends_early
        self._writer: SegmentWriter | None = None
        self._start = 0
        self._shifts: dict[int, None] = {}
        # Ticks of the writer in one tick of the source.
        self._unit = int(info.time_base / settings.time_base)
        self._folder = WorkFolder(output, plan, discard=discard)
        self.frames_done = self._folder.frames
        last = self._folder.parts[-1] if self._folder.parts else None
        self.resume_after = None if last is None else (last.start + last.pts[-1]) // self._unit
        self.jumped = any(shift for part in self._folder.parts for shift in part.shifts)

    def __exit__(self, *error: object) -> None:
        """Keep whole segments, drop the one in progress, let go of the folder."""
        if self._writer is not None:
            self._writer.discard()
        self._folder.release()

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""
        coded = (self._settings.width, self._settings.height)
        return OutputFrame.allocate(self._layout, self._size, coded)

    def write(self, out: OutputFrame) -> None:
        """Encode a frame."""
        out.pts, out.duration = out.pts * self._unit, out.duration * self._unit
        if self._writer is None:
            path = self._folder.segment_path(segment_suffix(self._settings))
            self._start = out.pts
            self._writer = SegmentWriter(path, self._settings, self._start)
            self._shifts = {}
        self._shifts[out.shift * self._unit] = None
        self._writer.write(out)
        if len(self._writer.pts) >= self._segment_frames:
            self._end_segment()

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> Path:
        """Join, verify, rename and clear up; return the path. See `Sink.finish`.

        Args:
            check: As for `Sink.finish`.
            partial: As for `Sink.finish`.

        Raises:
            OutputError: Joining or renaming failed; the segments stay for another try.
            VerificationError: The joined file is not right.
        """
        self._end_segment()
        parts = self._folder.parts
        if not parts:
            raise OptionsError("no frame lies between --start and --end", path=self._info.path)
        joined = self._folder.path / f"joined{self._output.suffix}"
        timeline = self._timeline(parts, ends_early=self._ends_early or partial)
        join(
            self._info,
            parts,
            joined,
            plan=self._carry,
            time_base=self._settings.time_base,
            timeline=timeline,
        )
        base = self._settings.time_base
        times = [(p.start + pts) * base - timeline.origin for p in parts for pts in p.pts]
        verify_video(
            joined,
            times,
            size=(self._settings.width, self._settings.height),
            exact=self._carry.container.exact_times,
            full=self._verify == "full",
        )
        check()
        output = partial_name(self._output) if partial else self._output
        give_name(joined, output)
        if not partial:
            self._folder.remove()
        return output

    def _end_segment(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        with writer:
            writer.finish()
        self._folder.record(
            Part(writer.path, self._start, tuple(writer.pts), writer.reorder, tuple(self._shifts))
        )

    def _timeline(self, parts: list[Part], *, ends_early: bool) -> Timeline:
        """Keep the source's clock, moved to zero where it does not begin there; cut it where asked."""
        info = self._info
        shown = parts[0].start * self._settings.time_base
        # The distance between sound and picture stays; only what all streams wait for goes.
        origin = shown if self._starts_late else min(shown, max(info.start_time, Fraction(0)))
        stop = None
        if ends_early:
            last = (parts[-1].start + parts[-1].pts[-1]) * self._settings.time_base
            stop = last + (1 / info.frame_rate if info.frame_rate else Fraction(1, 25))
        shifts = dict.fromkeys(shift * self._settings.time_base for part in parts for shift in part.shifts)
        return Timeline(origin, shown if self._starts_late else None, stop, tuple(shifts))
