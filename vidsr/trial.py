"""Two seconds of a job, for real: what the rest of it will take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

from vidsr.errors import DecodeError, OptionsError
from vidsr.job import Job
from vidsr.planning import Plan
from vidsr.rehearsal import open_upscaler, trial_place, trial_reader, trial_sink
from vidsr.report import StageTimes
from vidsr.reuse import Reuse
from vidsr.stages import flow
from vidsr.video.reader import Span
from vidsr.video.trial_sink import TrialSink

__all__ = ["TRIAL_SECONDS", "Trial", "try_out"]

TRIAL_SECONDS = 2.0
"""How long frames flow; emptying the encoder comes on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What some frames of a job took."""

    frames: int
    """That went all the way; everything here rests on these."""
    whole: bool
    """Whether these are all frames of the job."""
    begins: float
    """Where in the source they begin, in seconds from its first frame."""
    seconds: float
    """For these frames, the emptied encoder included."""
    opening: float
    """Seconds until the network is ready for a first frame."""
    frame_seconds: float
    """For a frame among many: without the wait for the first one."""
    coded_bytes: int
    """Of these frames; 0: nothing is written."""
    first_bytes: int
    """Of the first, a key frame."""
    stages: tuple[StageTimes, ...]
    """Where the time went."""
    tiles: str
    """How frames were cut."""
    deinterlace: str
    """What was done to the fields of these frames, in words."""
    notes: tuple[str, ...]
    """Warnings of the upscaler and the reader."""

    def seconds_for(self, frames: int) -> float:
        """Return the seconds that a job of so many frames takes."""
        return self.seconds + self.opening if self.whole else self.opening + frames * self.frame_seconds

    def bytes_for(self, frames: int, segment_frames: int) -> int:
        """Return the bytes that so many frames come to, with a key frame in each segment."""
        if self.frames < 2:
            return self.coded_bytes * frames // self.frames
        segments = -(-frames // segment_frames)
        other = (self.coded_bytes - self.first_bytes) / (self.frames - 1)
        return round(segments * self.first_bytes + max(0, frames - segments) * other)


def try_out(job: Job, plan: Plan) -> Trial:
    """Send frames through the stages of the pipeline for `TRIAL_SECONDS`, into nothing.

    Frames are the source's, from a third of the way in where it is long.

    Raises:
        VidsrError: What would stop the job too.
    """
    began = perf_counter()
    with open_upscaler(job, plan) as upscaler:
        opening = perf_counter() - began
        first, place = job.start or 0.0, trial_place(job, plan)
        if place > first:
            try:
                return _try_from(place, job, plan, upscaler, opening)
            except (DecodeError, _NothingThereError):
                pass  # not every file can be searched, or is as long as it says
        try:
            return _try_from(first, job, plan, upscaler, opening)
        except _NothingThereError as error:
            raise OptionsError("no frame lies between --start and --end", path=plan.info.path) from error


class _NothingThereError(Exception):
    """No frame came."""


def _try_from(place: float, job: Job, plan: Plan, upscaler: Reuse, opening: float) -> Trial:
    begins = place > (job.start or 0.0)
    span = Span(start=place or None, end=job.end, frames=None if begins else job.frames)
    arrivals: list[float] = []
    stopped = False

    def enough() -> bool:
        nonlocal stopped
        stopped = perf_counter() - began >= TRIAL_SECONDS
        return stopped

    with ExitStack() as stack:
        sink = stack.enter_context(trial_sink(plan))
        reader = trial_reader(job, plan, upscaler, span)
        began = perf_counter()
        made, stages = flow(
            reader,
            upscaler,
            sink,
            lambda _: arrivals.append(perf_counter() - began),
            enough=enough,
            watch=plan.watch,
        )
        emptying = perf_counter()
        sink.finish()
        emptied = perf_counter() - emptying
        sizes = sink.sizes if isinstance(sink, TrialSink) else []
    if not made:
        raise _NothingThereError
    return Trial(
        frames=made,
        whole=not stopped and not begins,
        begins=place,
        seconds=arrivals[-1] + emptied,
        opening=opening,
        frame_seconds=_steady(arrivals) + emptied / made,
        coded_bytes=sum(sizes),
        first_bytes=sizes[0] if sizes else 0,
        stages=(*stages, StageTimes("finish", emptied, 0.0, 0.0)),
        tiles=upscaler.cut,
        deinterlace=reader.deinterlaced,
        notes=tuple(dict.fromkeys([*upscaler.notes, *reader.warnings])),
    )


def _steady(arrivals: Sequence[float]) -> float:
    """Return the seconds between two frames, once the stages are filled."""
    if len(arrivals) == 1:
        return arrivals[0]
    return (arrivals[-1] - arrivals[0]) / (len(arrivals) - 1)
