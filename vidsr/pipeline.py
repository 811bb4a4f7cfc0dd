"""One job from source to result: opens the stages, joins them, reports.

    probe -> decode -> [queue] -> upscale -> [queue] -> encode -> join -> verify -> rename

Decoding and upscaling run in threads of their own (`Prefetch`); encoding in the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from vidsr.backends.base import Ticket
from vidsr.errors import DecodeError, OptionsError, VidsrError
from vidsr.frame import Frame
from vidsr.heap import give_back_large_blocks
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.planning import Plan, make_plan
from vidsr.prefetch import OnDemand, Prefetch
from vidsr.report import JobReport, StageTimes, limiting_stage
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.pictures import PictureSink
from vidsr.video.reader import Reader, Span
from vidsr.video.sinks import NullSink, Sink, VideoSink
from vidsr.video.writer import OutputFrame

__all__ = ["Progress", "flow", "open_upscaler", "run"]

T = TypeVar("T")

_SOURCE_BYTES = 96 << 20  # of frames waiting for the network
_RESULT_BYTES = 192 << 20  # of frames waiting for the encoder
_LARGE_BYTES = 96 << 20  # of one result; beyond, no frame waits anywhere
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
    if _result_bytes(plan) > _LARGE_BYTES:
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
            made, stages = flow(reader, upscaler, sink, told)
        except DecodeError as error:
            raise _keep_part(sink, error) from error
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
        deinterlace=reader.deinterlaced,
        frames=sink.frames_done + made,
        frames_resumed=sink.frames_done,
        seconds=perf_counter() - started,
        fps=made / seconds if made and seconds else 0.0,
        stages=tuple(stages),
        limited_by=limiting_stage(stages[:3]),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _result_bytes(plan: Plan) -> int:
    layout = plan.info.pixel_format
    shapes = layout.plane_shapes(*plan.target.size)
    return sum(rows * columns for rows, columns in shapes) * layout.dtype.itemsize


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
    alone = upscaler.output_bytes > _LARGE_BYTES
    source_depth = 0 if alone else _depth(reader.frame_bytes, _SOURCE_BYTES)
    result_depth = 0 if alone else _depth(upscaler.output_bytes, _RESULT_BYTES)
    with (
        _stage(iter(reader), source_depth, "decode", _frame_bytes) as frames,
        closing(_upscaled(frames, upscaler, sink)) as upscaling,
        _stage(upscaling, result_depth, "inference", _output_bytes) as results,
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


def _upscaled(
    frames: Prefetch[Frame] | OnDemand[Frame], upscaler: Upscaler, sink: Sink
) -> Generator[OutputFrame]:
    """Yield filled frames in order, keeping the upscaler's sessions busy."""
    pending: deque[tuple[Frame, OutputFrame, Ticket]] = deque()
    broken: DecodeError | None = None
    try:
        try:
            for frame in frames:
                out = sink.allocate()
                out.pts, out.duration, out.shift = frame.pts, frame.duration, frame.shift
                pending.append((frame, out, upscaler.submit(frame.planes, out.planes)))
                del frame, out
                if len(pending) >= upscaler.in_flight:
                    yield _finished(pending)
        except DecodeError as error:
            broken = error  # what came before it is good
        while pending:
            yield _finished(pending)
        if broken is not None:
            raise broken
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


def _depth(frame_bytes: int, room: int) -> int:
    return max(1, min(_QUEUE_FRAMES, room // max(1, frame_bytes)))


def _stage(source: Iterator[T], depth: int, name: str, size: Callable[[T], int]) -> Prefetch[T] | OnDemand[T]:
    return Prefetch(source, depth, name=name, size=size) if depth else OnDemand(source, name=name)


def _frame_bytes(frame: Frame) -> int:
    return frame.nbytes


def _output_bytes(out: OutputFrame) -> int:
    return sum(plane.nbytes for plane in out.planes)
