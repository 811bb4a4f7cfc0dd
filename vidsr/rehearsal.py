"""What a trial of a job needs: its network, where in the source to begin, and a sink that keeps nothing."""

from __future__ import annotations

from vidsr.job import Job
from vidsr.planning import Plan, frame_format
from vidsr.reuse import Reuse
from vidsr.stages import with_reuse
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.reader import Reader, Span
from vidsr.video.sinks import NullSink, Sink
from vidsr.video.trial_sink import TrialSink

__all__ = ["open_network", "open_upscaler", "trial_place", "trial_reader", "trial_sink"]

_LONG = 20.0  # seconds of a source from which on its beginning, often a title, is not what is tried


def open_network(job: Job, plan: Plan, *, tile: str | None = None) -> Upscaler:
    """Deploy a plan's model and open the backend, with tiles as the job says if nothing else is said."""
    info, size = plan.info, plan.target.size
    return Upscaler(
        plan.choice.model,
        frame_format(job, info),
        info.width,
        info.height,
        plan.backend,
        UpscalerOptions(session=plan.session, tile=job.tile if tile is None else tile),
        target=size,
    )


def open_upscaler(job: Job, plan: Plan) -> Reuse:
    """Open a plan's network, with what repeats results before it."""
    return with_reuse(lambda tile: open_network(job, plan, tile=tile), job.reuse)


def trial_place(job: Job, plan: Plan) -> float:
    """Return from where in the source a trial is made, in seconds: not its beginning where it is long."""
    begin, rate = job.start or 0.0, plan.info.frame_rate
    if plan.info.still or not rate or plan.expected_frames is None:
        return begin
    length = plan.expected_frames / float(rate)
    return begin + length / 3 if length > _LONG else begin


def trial_reader(job: Job, plan: Plan, upscaler: Reuse, span: Span) -> Reader:
    """Return what reads a span of a plan's source, as the job itself does, for a network."""
    return Reader(
        plan.info,
        span,
        deinterlace=plan.deinterlace,
        on_error=job.on_error,
        decoding=plan.decoding.staying(upscaler.takes_from),
    )


def trial_sink(plan: Plan) -> Sink:
    """Return where the frames of a trial go: through the encoder of the real result, into nothing."""
    info, size = plan.info, plan.target.size
    if plan.output is None or plan.settings is None:
        return NullSink(info.pixel_format, size)
    return TrialSink(info, plan.output, settings=plan.settings, size=size, pictures=plan.carry is None)
