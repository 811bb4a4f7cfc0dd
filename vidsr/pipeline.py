"""One job from source to result: opens the stages, joins them, reports.

    probe -> decode -> [queue] -> upscale -> [queue] -> encode -> join -> verify -> rename

The stages at work are in `vidsr.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from vidsr.budget import budgeted
from vidsr.errors import DecodeError, OptionsError
from vidsr.heap import make_room_for
from vidsr.job import Job
from vidsr.planning import Plan, make_plan, with_told
from vidsr.rehearsal import open_upscaler
from vidsr.report import JobReport, StageTimes, Work, limiting_stage
from vidsr.reuse import Reuse
from vidsr.stages import flow
from vidsr.video.pictures import PictureSink
from vidsr.video.reader import Reader, Span
from vidsr.video.sinks import NullSink, Sink, Stretch
from vidsr.video.video_sink import VideoSink

__all__ = ["Progress", "keep_part", "make_frames", "open_sink", "report_of", "run"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job is."""

    frames: int
    """Done, those of an earlier run included."""
    resumed: int
    """Done by an earlier run."""
    total: int | None
    """Expected in all; None: not known."""
    phase: str
    """"frames", then "joining"; before them, where a backend builds an engine, how far that is."""


def run(job: Job, *, progress: Callable[[Progress], None] = lambda _: None) -> JobReport:
    """Do a job and return what was done.

    Args:
        job: What to do.
        progress: Called in this thread at the start, after each frame, and before joining.

    Raises:
        VidsrError: What went wrong; finished segments stay, and the same job continues after them.
        KeyboardInterrupt: As above.
    """
    started = perf_counter()
    plan, budget = budgeted(job, make_plan(job))
    make_room_for(plan.info.pixel_format.frame_bytes(*plan.target.size))
    work = Work()
    with ExitStack() as stack:
        sink = stack.enter_context(open_sink(job, plan))
        done, total = sink.frames_done, plan.expected_frames

        def built(phase: str, step: int, steps: int) -> bool:
            progress(Progress(done, done, total, f"building an engine: {phase} {step}/{steps}"))
            return True

        upscaler = stack.enter_context(open_upscaler(job, with_told(plan, built)))

        def told(phase: str = "frames") -> None:
            progress(Progress(done + work.frames, done, total, phase))

        told()
        working = perf_counter()
        try:
            for stretch in sink.left():
                make_frames(job, plan, sink, upscaler, stretch, work, told)
        except DecodeError as error:
            raise keep_part(sink, error) from error
        seconds = perf_counter() - working
        told("joining")
        joining = perf_counter()
        output = sink.finish(plan.watch.check)
        finishing = StageTimes("finish", perf_counter() - joining, 0.0, 0.0)
    return report_of(
        plan,
        work,
        output=output,
        threads=budget.reason,
        tiles=upscaler.cut,
        notes=upscaler.notes,
        finishing=finishing,
        frames=done + work.frames,
        seconds=perf_counter() - started,
        fps=work.frames / seconds if work.frames and seconds else 0.0,
    )


def make_frames(
    job: Job,
    plan: Plan,
    sink: Sink,
    upscaler: Reuse,
    stretch: Stretch,
    work: Work,
    told: Callable[[], None],
    *,
    until: Callable[[int], bool] | None = None,
) -> None:
    """Make a stretch of a job's frames.

    Args:
        job: What to do.
        plan: Its plan.
        sink: Where the frames go.
        upscaler: Of the plan.
        stretch: Which frames.
        work: What is done is added to it.
        told: Called after each frame.
        until: Asked with each frame's pts as it is read; true ends the stretch there. Given instead of the
            stretch's own end, the caller calls ``sink.end``.

    Raises:
        VidsrError: What went wrong; whole segments stay.
    """
    reader = Reader(
        plan.info,
        _rest(job, sink),
        after=stretch.after,
        until=until or stretch.over,
        deinterlace=plan.deinterlace,
        on_error=job.on_error,
        decoding=plan.decoding.staying(upscaler.takes_from),
        sequential=sink.jumped,
    )
    before = work.frames

    def done(made: int) -> None:
        work.frames = before + made
        told()

    sink.begin(stretch)
    try:
        _, stages = flow(reader, upscaler, sink, done, watch=plan.watch)
        work.add_stages(stages)
        if until is None:
            sink.end(None if stretch.until is None else sink.number_of(stretch.until))
    finally:
        upscaler.forget()
        work.reused += upscaler.taken()
        work.warnings += tuple(reader.warnings)
        work.deinterlaced = reader.deinterlaced
        work.decoder = reader.decoder


def report_of(
    plan: Plan,
    work: Work,
    *,
    output: Path | None,
    threads: str = "",
    tiles: str,
    notes: Sequence[str],
    finishing: StageTimes,
    frames: int,
    seconds: float,
    fps: float,
) -> JobReport:
    """Return the report of a finished job.

    Args:
        plan: What was decided.
        work: What this run did.
        output: The result; None: nothing was written.
        threads: How the cores were shared, in words.
        tiles: How frames were cut.
        notes: The upscaler's warnings.
        finishing: The last stage.
        frames: In the result.
        seconds: All of it.
        fps: Frames a second of this run.
    """
    return JobReport(
        source=str(plan.info.path),
        output=None if output is None else str(output),
        model=plan.choice.model.spec.id,
        model_reason=plan.choice.reason,
        target=plan.target.label,
        way=plan.choice.way,
        tiles=tiles,
        backend=plan.backend.name,
        backend_reason=plan.backend_reason,
        runtime=dict(plan.runtime),
        threads=threads,
        decoder=work.decoder or plan.decoding.sentence,
        encoder=None if plan.settings is None else plan.settings.codec,
        encoder_options={} if plan.settings is None else dict(plan.settings.options),
        size_in=(plan.info.width, plan.info.height),
        size_out=plan.target.size,
        pixel_format=plan.info.source_format,
        color=plan.color_sentence,
        written=plan.written,
        deinterlace=work.deinterlaced,
        frames=frames,
        frames_resumed=frames - work.frames,
        seconds=seconds,
        fps=fps,
        reused=work.reused,
        stages=(*work.stages, finishing),
        limited_by=limiting_stage(work.stages),
        warnings=tuple(dict.fromkeys([*plan.warnings, *notes, *work.warnings])),
    )


def keep_part(sink: Sink, error: DecodeError) -> DecodeError:
    """Give what was made before a source broke off a name of its own; return the error that says so.

    Where there is nothing to keep, that is `error` itself.
    """
    try:
        kept = sink.finish(partial=True)
    except OptionsError:  # there is not one frame
        return error
    if kept is None:
        return error
    hint = f"{error.hint}: the same command then goes on from there" if error.hint else None
    return DecodeError(
        f"{error.message}; what was made before is in {kept}", path=error.path, stage=error.stage, hint=hint
    )


def open_sink(
    job: Job,
    plan: Plan,
    *,
    shared: bool = False,
    recorded: Callable[[int, int], None] = lambda number, frames: None,
) -> Sink:
    """Open where a job's frames go, and take up what an earlier run left there.

    Args:
        job: What to do.
        plan: Its plan.
        shared: For some segments of a video, beside others; see `VideoSink`.
        recorded: As for `VideoSink`.

    Raises:
        OptionsError, OutputError: As `vidsr.video.work.WorkFolder`.
    """
    info, size = plan.info, plan.target.size
    if plan.output is None or plan.settings is None:
        return NullSink(info.pixel_format, size)
    if plan.carry is None:
        return PictureSink(
            info,
            plan.output,
            settings=plan.settings,
            plan=plan.decisions,
            size=size,
            full=job.verify == "full",
            discard=job.discard,
        )
    return VideoSink(
        info,
        plan.output,
        settings=plan.settings,
        carry=plan.carry,
        plan=plan.decisions,
        size=size,
        segment_frames=job.segment_frames,
        starts_late=job.start is not None,
        ends_early=job.end is not None or job.frames is not None,
        verify=job.verify,
        discard=job.discard,
        shared=shared,
        recorded=recorded,
    )


def _rest(job: Job, sink: Sink) -> Span:
    left = None if job.frames is None else job.frames - sink.frames_done
    return Span(start=job.start, end=job.end, frames=left)
