"""A video as a result: made of segments, joined with the source's other streams, verified, named."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidsr.errors import OptionsError, OutputError, VerificationError
from vidsr.frame import VideoInfo
from vidsr.video.carrying import CarryPlan
from vidsr.video.cuts import cut_before
from vidsr.video.encoders import EncoderSettings
from vidsr.video.muxer import Timeline, join
from vidsr.video.parts import Part
from vidsr.video.sinks import Sink, Stretch, partial_name
from vidsr.video.verify import verify_video
from vidsr.video.work import WorkFolder, give_name
from vidsr.video.writer import OutputFrame, SegmentWriter, segment_suffix

__all__ = ["VideoSink"]


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
        verify: Literal["packets", "full"] = "packets",
        discard: bool = False,
        shared: bool = False,
        recorded: Callable[[int, int], None] = lambda number, frames: None,
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
            segment_frames: The least number of frames in a segment; see `vidsr.video.cuts`.
            starts_late: Whether frames at the source's beginning are left out.
            ends_early: Whether frames at its end are left out; other streams are cut with them.
            verify: See `Job.verify`.
            discard: See `Job.discard`.
            shared: Make some segments beside others who make theirs; see `WorkFolder`.
            recorded: Told the number of each segment that is whole, and how many frames it has.
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
        self._recorded = recorded
        self._number = 0
        self.folder = WorkFolder(output, plan, discard=discard, shared=shared)
        self.frames_done = self.folder.frames
        self.jumped = any(shift for part in self.folder.parts for shift in part.shifts)

    def __exit__(self, *error: object) -> None:
        """Keep whole segments, drop the one in progress, let go of the folder."""
        self._drop_segment()
        self.folder.release()

    def left(self) -> tuple[Stretch, ...]:
        """Return what is still to be made: without cuts all that follows, with cuts each run of segments."""
        cuts, done = self.folder.cuts, self.folder.numbered
        if not cuts:
            last = self.folder.parts[-1] if self.folder.parts else None
            after = None if last is None else (last.start + last.pts[-1]) // self._unit
            return (Stretch(len(done), after),)
        missing = [number for number in range(len(cuts)) if number not in done]
        firsts = [number for number in missing if number - 1 not in missing]
        ends = [number + 1 for number in missing if number + 1 not in missing]
        return tuple(
            Stretch(first, cuts[first] - 1 if first else None, cuts[end] if end < len(cuts) else None)
            for first, end in zip(firsts, ends, strict=True)
        )

    def begin(self, stretch: Stretch) -> None:
        """Make ready for the frames of a stretch."""
        self._number = stretch.number

    def number_of(self, pts: int) -> int:
        """Return the number of the segment that shows a frame, by the cuts; 0 without them."""
        return max(0, bisect_right(self.folder.cuts, pts) - 1)

    def end(self, number: int | None = None) -> None:
        """Complete the last segment, and those of the stretch in which nothing is shown."""
        self._end_segment()
        self._pass_to(len(self.folder.cuts) if number is None else number)

    def allocate(self) -> OutputFrame:
        """Return a frame to fill."""
        coded = (self._settings.width, self._settings.height)
        return OutputFrame.allocate(self._layout, self._size, coded)

    def write(self, out: OutputFrame) -> None:
        """Encode a frame."""
        number = self.number_of(out.pts)
        if self._writer is not None and (
            number > self._number
            if self.folder.cuts
            else cut_before(len(self._writer.pts), self._segment_frames, key=out.key)
        ):
            self._end_segment()
        out.pts, out.duration = out.pts * self._unit, out.duration * self._unit
        if self._writer is None:
            self._pass_to(number)
            path = self.folder.segment_path(segment_suffix(self._settings), self._number)
            self._start = out.pts
            self._writer = SegmentWriter(path, self._settings, self._start)
            self._shifts = {}
        self._shifts[out.shift * self._unit] = None
        self._writer.write(out)

    def finish(self, check: Callable[[], None] = lambda: None, *, partial: bool = False) -> Path:
        """Join, verify, rename and clear up; return the path. See `Sink.finish`.

        Args:
            check: As for `Sink.finish`.
            partial: As for `Sink.finish`.

        Raises:
            OutputError: Joining or renaming failed; the segments stay for another try.
            VerificationError: The joined file is not right.
        """
        if partial and self.folder.cuts:
            self._drop_segment()  # what is recorded must be whole
        self._end_segment()
        parts = self.folder.parts
        if self.folder.cuts:
            whole = [number in self.folder.numbered for number in range(len(self.folder.cuts))]
            parts = parts if all(whole) else _up_to(whole.index(False), self.folder.numbered)
            if not (partial or all(whole)):
                raise OutputError("segments are missing", path=self.folder.path, stage="mux")
        if not parts:
            raise OptionsError("no frame lies between --start and --end", path=self._info.path)
        joined = self.folder.path / f"joined{self._output.suffix}"
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
        self._check_written(joined, times)
        check()
        output = partial_name(self._output) if partial else self._output
        give_name(joined, output)
        if not partial:
            self.folder.remove()
        return output

    def _check_written(self, joined: Path, times: Sequence[Fraction]) -> None:
        container = self._carry.container
        try:
            verify_video(
                joined,
                times,
                size=(self._settings.width, self._settings.height),
                exact=container.exact_times,
                full=self._verify == "full",
            )
        except VerificationError as error:
            if container.exact_times or len({round(time * 1000) for time in times}) == len(times):
                raise
            self.folder.remove()  # what the hint advises is another job
            raise OptionsError(
                f"{container.form} counts milliseconds, and frames of this source come closer",
                path=self._output,
                hint="name the output .mp4 or .mov",
            ) from error

    def _end_segment(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        with writer:
            writer.finish()
        self._record(Part(writer.path, self._start, tuple(writer.pts), writer.reorder, tuple(self._shifts)))

    def _drop_segment(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.discard()

    def _pass_to(self, number: int) -> None:
        """Go on to a segment; what lies between has no frames."""
        while self._number < number:
            self._record(Part(self.folder.path, 0, (), 0))

    def _record(self, part: Part) -> None:
        self.folder.record(part, self._number)
        self._recorded(self._number, len(part.pts))
        self._number += 1

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


def _up_to(number: int, parts: Mapping[int, Part]) -> list[Part]:
    return [parts[k] for k in sorted(parts) if k < number and parts[k].pts]
