"""One job from source to result: opens the stages, joins them, reports.

    probe -> decode -> [queue] -> upscale -> [queue] -> encode -> join -> verify -> rename

The stages at work are in `vidsr.stages`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter

from vidsr.errors import DecodeError, OptionsError
from vidsr.heap import give_back_large_blocks
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.planning import Plan, make_plan
from vidsr.report import JobReport, StageTimes, limiting_stage
from vidsr.stages import LARGE_BYTES, flow
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.pictures import PictureSink
from vidsr.video.reader import Reader, Span
from vidsr.video.sinks import NullSink, Sink, VideoSink

__all__ = ["Progress", "open_upscaler", "run"]


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
    """"frames", then "joining"."""


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
    plan = make_plan(job)
    if plan.info.pixel_format.frame_bytes(*plan.target.size) > LARGE_BYTES:
        give_back_large_blocks()
    with ExitStack() as stack:
        sink = stack.enter_context(_open_sink(job, plan))
        upscaler = stack.enter_context(open_upscaler(job, plan))
        rest = _rest(job, sink)
        reader = Reader(
            plan.info,
            rest,
            after=sink.resume_after,
            deinterlace=plan.deinterlace,
            on_error=job.on_error,
            sequential=sink.jumped,
        )
        total = plan.expected_frames

        def told(made: int, phase: str = "frames") -> None:
            progress(Progress(sink.frames_done + made, sink.frames_done, total, phase))

        told(0)
        working = perf_counter()
        try:
            made, stages = flow(reader, upscaler, sink, told, watch=plan.watch)
        except DecodeError as error:
            raise _keep_part(sink, error) from error
        seconds = perf_counter() - working
        told(made, "joining")
        joining = perf_counter()
        output = sink.finish(plan.watch.check)
        stages.append(StageTimes("finish", perf_counter() - joining, 0.0, 0.0))
        warnings = [*plan.warnings, *upscaler.notes, *reader.warnings]
    return JobReport(
        source=str(plan.info.path),
        output=None if output is None else str(output),
        model=plan.choice.model.spec.id,
        model_reason=plan.choice.reason,
        target=plan.target.label,
        way=plan.choice.way,
        tiles=upscaler.cut,
        backend=plan.backend.name,
        backend_reason=plan.backend_reason,
        runtime=dict(plan.runtime),
        encoder=None if plan.settings is None else plan.settings.codec,
        encoder_options={} if plan.settings is None else dict(plan.settings.options),
        size_in=(plan.info.width, plan.info.height),
        size_out=plan.target.size,
        pixel_format=plan.info.source_format,
        color=plan.color_sentence,
        written=plan.written,
        deinterlace=reader.deinterlaced,
        frames=sink.frames_done + made,
        frames_resumed=sink.frames_done,
        seconds=perf_counter() - started,
        fps=made / seconds if made and seconds else 0.0,
        stages=tuple(stages),
        limited_by=limiting_stage(stages[:3]),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _keep_part(sink: Sink, error: DecodeError) -> DecodeError:
    """Give what was made before a source broke off a name of its own; return the error that says so."""
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


def _open_sink(job: Job, plan: Plan) -> Sink:
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
    )


def open_upscaler(job: Job, plan: Plan) -> Upscaler:
    """Deploy a plan's model for its source and open the backend."""
    info = plan.info
    frame_format = FrameFormat(
        info.pixel_format,
        info.color.matrix,
        info.color.range,
        info.color.chroma_location,
        job.chroma,
    )
    options = UpscalerOptions(session=plan.session, tile=job.tile)
    return Upscaler(
        plan.choice.model,
        frame_format,
        info.width,
        info.height,
        plan.backend,
        options,
        target=plan.target.size,
    )


def _rest(job: Job, sink: Sink) -> Span:
    left = None if job.frames is None else job.frames - sink.frames_done
    return Span(start=job.start, end=job.end, frames=left)
