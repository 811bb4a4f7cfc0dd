"""What a worker does with its tasks: look at a source, make segments, join them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, sleep, time
from typing import Any

from vidsr.batch.memory import memory_of
from vidsr.batch.reach import Reach, span
from vidsr.batch.rows import PlannedSegment
from vidsr.batch.templates import PendingName
from vidsr.errors import DecodeError, OptionsError, OutputError
from vidsr.heap import make_room_for
from vidsr.job import NULL_OUTPUT, Job
from vidsr.pipeline import keep_part, make_frames, open_sink, report_of
from vidsr.planning import Plan, make_plan
from vidsr.rehearsal import open_upscaler
from vidsr.report import JobReport, StageTimes, Work
from vidsr.reuse import Reuse
from vidsr.video.cuts import find_cuts
from vidsr.video.output import was_named
from vidsr.video.sinks import Sink, Stretch
from vidsr.video.video_sink import VideoSink

__all__ = ["Outlook", "Steps"]

_KEPT_PLANS = 4  # of the jobs worked on last
_KEPT_NETWORKS = 2  # each holds its weights, and planes for the frames in flight
_BUSY_SECONDS = 30.0  # for which a work folder's last users may take to leave it
_BUSY_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a look at a source says of its job."""

    segments: tuple[PlannedSegment, ...]
    """One that is open at both ends: the job can only be done in order, by one worker."""
    in_order: str
    """Why; "": segments can be made in any order."""
    frames: int | None
    """Expected; None: not known."""
    output: Path
    memory: int
    """Bytes that a worker needs for it, about."""


class Steps:
    """Does tasks; keeps the networks and plans of the last jobs open for the next task.

    Use it in a ``with``.
    """

    def __init__(self, *, threads: int) -> None:
        """Take the number of CPU threads for the network; 0: all cores."""
        self._threads = threads
        self._plans: OrderedDict[str, tuple[Job, Plan]] = OrderedDict()
        self._networks: OrderedDict[tuple[Any, ...], Reuse] = OrderedDict()

    def __enter__(self) -> Steps:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the networks."""
        while self._networks:
            self._networks.popitem()[1].close()

    def look(self, key: str, job: Job, *, pending: PendingName | None = None) -> Outlook:
        """Look at a job's source, make its work folder and decide where its segments begin.

        Args:
            key: Names the job.
            job: The job.
            pending: Its output, where the source decides how that ends.

        Raises:
            VidsrError: What refuses the job.
        """
        job = replace(job, threads=self._threads or job.threads)
        if pending is not None:
            job = replace(job, output=_named(job, pending))
        if job.output is not None and job.output != NULL_OUTPUT:
            _make_folder(job.output.parent)
        plan = make_plan(job)
        if plan.output is None:
            raise OptionsError("a batch writes its results: null: is for vidsr upscale")
        self._hold(key, replace(job, output=plan.output, discard=False), plan)
        memory = memory_of(plan)
        with _opened(job, plan) as sink:
            if not isinstance(sink, VideoSink):
                return Outlook(
                    _IN_ORDER, "pictures are made in order", plan.expected_frames, plan.output, memory
                )
            folder, why = sink.folder, "frames are counted"
            if not folder.cuts and not folder.numbered and job.frames is None:
                cuts, why = find_cuts(
                    plan.info,
                    job.segment_frames,
                    each=2 if plan.deinterlace.mode == "field" else 1,
                    **span(job, plan),
                )
                if cuts:
                    folder.set_cuts(cuts)
            elif folder.numbered and not folder.cuts:
                why = "it goes on from what vidsr upscale has begun"
            if not folder.cuts:
                return Outlook(_IN_ORDER, why, plan.expected_frames, plan.output, memory)
            ends = [*folder.cuts[1:], None]
            segments = tuple(
                PlannedSegment(
                    number=number,
                    begin=begin if number else None,
                    end=end,
                    frames=len(folder.numbered[number].pts) if number in folder.numbered else None,
                    done=number in folder.numbered,
                )
                for number, (begin, end) in enumerate(zip(folder.cuts, ends, strict=True))
            )
            return Outlook(segments, "", plan.expected_frames, plan.output, memory)

    def make(
        self,
        key: str,
        job: Job,
        segment: PlannedSegment,
        *,
        more: Callable[[int], PlannedSegment | None],
        recorded: Callable[[int, int], None],
        told: Callable[[int], None],
    ) -> Work:
        """Make a segment, and those after it that `more` gives, without a break between them.

        Args:
            key: Names the job.
            job: The job.
            segment: What to make.
            more: Called in another thread with a number once all frames before that segment are read: returns
                the segment if it is to be made here as well, None if not.
            recorded: Told the number and the frames of each segment that is whole; once, of all that is made
                in order, with what an earlier run has made of it.
            told: Called after each frame with the number of frames made so far; may raise to end the work.

        Raises:
            VidsrError: What went wrong. Whole segments stay.
        """
        job, plan = self._planned(key, job)
        upscaler = self._network(job, plan)
        work = Work()

        def frame_made() -> None:
            told(work.frames)

        if segment.begin is None and segment.end is None and segment.number == 0:
            with _opened(job, plan) as sink:
                if not (isinstance(sink, VideoSink) and sink.folder.cuts):
                    made_before = sink.frames_done
                    for stretch in sink.left():
                        make_frames(job, plan, sink, upscaler, stretch, work, frame_made)
                    recorded(0, made_before + work.frames)
                    work.warnings += tuple(upscaler.notes)
                    return work
        reach = Reach(segment, more)
        with open_sink(job, plan, shared=True, recorded=recorded) as sink:
            if isinstance(sink, VideoSink) and (made := sink.folder.numbered.get(segment.number)) is not None:
                recorded(segment.number, len(made.pts))  # whoever made it was killed before it could tell
                return work
            after = None if segment.begin is None else segment.begin - 1
            stretch = Stretch(segment.number, after, segment.end)
            make_frames(job, plan, sink, upscaler, stretch, work, frame_made, until=reach.over)
            sink.end(reach.last.number + 1)
        work.warnings += tuple(upscaler.notes)
        return work

    def keep(self, key: str, job: Job, error: DecodeError) -> DecodeError:
        """Keep what was made of a source before it broke off, as ``name.partial.mp4``; return what says so.

        Args:
            key: Names the job.
            job: The job, which has failed.
            error: Why; it is returned where there is nothing to keep.

        Raises:
            VidsrError: What was made cannot be joined.
        """
        job, plan = self._planned(key, job)
        with _opened(job, plan) as sink:
            return keep_part(sink, error)

    def join(self, key: str, job: Job, parts: Sequence[Work], *, frames: int, since: float) -> JobReport:
        """Join a job's segments into its result, verify and name it.

        Args:
            key: Names the job.
            job: The job.
            parts: What was done by those who made the segments.
            frames: How many they are known to have.
            since: When the job was begun, unix seconds.

        Raises:
            VidsrError: What went wrong. The segments stay.
        """
        began = perf_counter()
        job, plan = self._planned(key, job)
        work = Work()
        for part in parts:
            work.add(part)
        if plan.output is not None and was_named(plan.output, since):
            output: Path | None = plan.output  # whoever did it was killed before it could tell
        else:
            with _opened(job, plan) as sink:
                frames = sink.frames_done
                output = sink.finish(plan.watch.check)
        self._plans.pop(key, None)
        finishing = StageTimes("finish", perf_counter() - began, 0.0, 0.0)
        wall = max((stage.wall for stage in work.stages), default=0.0)
        return report_of(
            plan,
            work,
            output=output,
            tiles="",
            notes=(),
            finishing=finishing,
            frames=frames,
            seconds=max(0.0, time() - since),
            fps=work.frames / wall if wall else 0.0,
        )

    def forget(self, key: str) -> None:
        """Look at a job's source again at its next task, as after a failure."""
        self._plans.pop(key, None)

    def _planned(self, key: str, job: Job) -> tuple[Job, Plan]:
        """Return a job as this worker does it, and its plan."""
        job = replace(job, threads=self._threads or job.threads, discard=False)
        if key not in self._plans or self._plans[key][0] != job:  # it may have begun anew with other options
            self._hold(key, job, make_plan(job, check_output=False))
        self._plans.move_to_end(key)
        return self._plans[key]

    def _hold(self, key: str, job: Job, plan: Plan) -> None:
        make_room_for(plan.info.pixel_format.frame_bytes(*plan.target.size))
        self._plans[key] = job, plan
        while len(self._plans) > _KEPT_PLANS:
            self._plans.popitem(last=False)

    def _network(self, job: Job, plan: Plan) -> Reuse:
        """Return a plan's network, open."""
        info = plan.info
        key = (
            plan.choice.model.sha256,
            plan.choice.model.spec.value_range,
            (info.width, info.height, info.pixel_format, info.color),
            (plan.target.size, job.tile, job.chroma, job.reuse),
            (plan.backend.name, plan.session, *sorted(plan.runtime.items())),
        )
        if key not in self._networks:
            while len(self._networks) >= _KEPT_NETWORKS:
                self._networks.popitem(last=False)[1].close()
            self._networks[key] = open_upscaler(job, plan)
        self._networks.move_to_end(key)
        return self._networks[key]


def _named(job: Job, pending: PendingName) -> Path:
    """Return a result's whole name: its end and its size come from a look at the source."""
    plan = make_plan(replace(job, output=None), check_output=False)
    return pending.with_suffix("" if plan.output is None else plan.output.suffix, plan.target.label)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make this folder ({error.strerror})", path=folder) from error


_IN_ORDER = (PlannedSegment(number=0, begin=None, end=None, frames=None),)


def _opened(job: Job, plan: Plan) -> Sink:
    """Open a job's work folder for this process alone; wait for the last of those who shared it."""
    deadline = perf_counter() + _BUSY_SECONDS
    while True:
        try:
            return open_sink(job, plan)
        except OptionsError as error:
            if not isinstance(error.__cause__, BlockingIOError) or perf_counter() > deadline:
                raise
        sleep(_BUSY_STEP)
