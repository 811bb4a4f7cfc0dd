"""One job from source to result: opens the stages, joins them, reports.

    probe -> decode -> [queue] -> upscale -> [queue] -> encode -> join -> verify -> rename

Decoding and upscaling run in threads of their own (`Prefetch`); encoding in the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from time import perf_counter

from vidsr.backends.base import Ticket
from vidsr.errors import VidsrError
from vidsr.frame import Frame
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.planning import Plan, make_plan
from vidsr.prefetch import Prefetch
from vidsr.report import JobReport, StageTimes, limiting_stage
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.pictures import PictureSink
from vidsr.video.reader import Reader, Span
from vidsr.video.sinks import NullSink, Sink, VideoSink
from vidsr.video.writer import OutputFrame

__all__ = ["Progress", "flow", "open_upscaler", "run"]

_QUEUE_BYTES = 192 << 20  # of frames waiting between two stages
_QUEUE_FRAMES = 8


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
    with ExitStack() as stack:
        sink = stack.enter_context(_open_sink(job, plan))
        upscaler = stack.enter_context(open_upscaler(job, plan))
        rest = _rest(job, sink)
        reader = Reader(plan.info, rest, after=sink.resume_after, deinterlace=plan.deinterlace)
        total = plan.expected_frames

        def told(made: int, phase: str = "frames") -> None:
            progress(Progress(sink.frames_done + made, sink.frames_done, total, phase))

        told(0)
        working = perf_counter()
        made, stages = flow(reader, upscaler, sink, told)
        seconds = perf_counter() - working
        told(made, "joining")
        joining = perf_counter()
        output = sink.finish()
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


def flow(
    reader: Reader,
    upscaler: Upscaler,
    sink: Sink,
    done: Callable[[int], None],
    *,
    enough: Callable[[], bool] = lambda: False,
) -> tuple[int, list[StageTimes]]:
    """Move frames through the stages: all of them, or until there are `enough`.

    Args:
        reader: Where frames come from.
        upscaler: What enlarges them.
        sink: Where they go.
        done: Called with the number of frames after each.
        enough: Asked after each frame; what is then on its way is dropped.

    Returns:
        How many frames the sink got, and where the time went.
    """
    made = 0
    began = perf_counter()
    encoding = 0.0
    with (
        Prefetch(iter(reader), _depth(reader.frame_bytes), name="decode", size=_frame_bytes) as frames,
        closing(_upscaled(frames, upscaler, sink)) as upscaling,
        Prefetch(
            upscaling,
            _depth(upscaler.output_bytes),
            name="inference",
            size=_output_bytes,
        ) as results,
    ):
        for out in results:
            before = perf_counter()
            try:
                sink.write(out)
            except VidsrError as error:
                error.stage = error.stage or "encode"
                raise
            encoding += perf_counter() - before
            del out  # frames can be large: none is kept while the next is awaited
            made += 1
            done(made)
            if enough():
                break
        wall = perf_counter() - began
    inference = results.worked_s - frames.starved_s
    return made, [
        StageTimes("decode", frames.worked_s, 0.0, frames.blocked_s, wall),
        StageTimes("inference", inference, frames.starved_s, results.blocked_s, wall),
        StageTimes("encode", encoding, results.starved_s, 0.0, wall),
    ]


def _upscaled(frames: Prefetch[Frame], upscaler: Upscaler, sink: Sink) -> Generator[OutputFrame]:
    """Yield filled frames in order, keeping the upscaler's sessions busy."""
    pending: deque[tuple[Frame, OutputFrame, Ticket]] = deque()
    try:
        for frame in frames:
            out = sink.allocate()
            out.pts, out.duration = frame.pts, frame.duration
            pending.append((frame, out, upscaler.submit(frame.planes, out.planes)))
            del frame, out
            if len(pending) >= upscaler.in_flight:
                yield _finished(pending)
        while pending:
            yield _finished(pending)
    finally:
        # The session writes into these planes until its tickets are done.
        for _, _, ticket in pending:
            try:
                ticket.result()
            except VidsrError:
                continue


def _finished(pending: deque[tuple[Frame, OutputFrame, Ticket]]) -> OutputFrame:
    _, out, ticket = pending[0]
    ticket.result()
    pending.popleft()
    return out


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


def _depth(frame_bytes: int) -> int:
    return max(1, min(_QUEUE_FRAMES, _QUEUE_BYTES // max(1, frame_bytes)))


def _frame_bytes(frame: Frame) -> int:
    return frame.nbytes


def _output_bytes(out: OutputFrame) -> int:
    return sum(plane.nbytes for plane in out.planes)
