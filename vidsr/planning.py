"""From a job to a plan: everything that is decided, and refused, before the first frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsr.backends.base import Backend, SessionOptions
from vidsr.choice import Choice, choose_model, way_to
from vidsr.cores import usable_cores
from vidsr.errors import OptionsError
from vidsr.frame import VideoInfo
from vidsr.identity import own_version, source_identity
from vidsr.job import NULL_OUTPUT, Job
from vidsr.models.deploy import FrameFormat
from vidsr.quickest import quickest
from vidsr.runtime import choose_runtime
from vidsr.sources import is_pattern, is_sequence, named_after
from vidsr.target import Target, resolve_target
from vidsr.video.carrying import CarryPlan, choose_suffix, plan_streams
from vidsr.video.coding import Coding, choose_coding
from vidsr.video.compression import measure_compression
from vidsr.video.contract import read_as, unmarked, written_as
from vidsr.video.deinterlace import WOVEN, Deinterlacing, in_fields
from vidsr.video.encoders import PICTURE_CODECS, EncoderSettings, plan_encoder
from vidsr.video.hardware import Decoding, plan_decoding
from vidsr.video.idet import plan_deinterlacing
from vidsr.video.opening import address_identity
from vidsr.video.output import check_kind, check_writable
from vidsr.video.probe import probe
from vidsr.video.rates import rate_warning
from vidsr.video.trial_sink import try_encoder
from vidsr.video.watch import SourceWatch

__all__ = ["Plan", "default_output", "frame_format", "make_plan", "with_encoder_threads", "with_told"]

_MOST_PIXELS = (2**31 - 1) // 8  # av_image_check_size, borders included


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A job with everything decided."""

    info: VideoInfo
    """The source; `in_fields` where each field becomes a frame."""
    watch: SourceWatch
    deinterlace: Deinterlacing
    decoding: Decoding
    target: Target
    choice: Choice
    backend: Backend
    backend_reason: str
    runtime: Mapping[str, str]
    session: SessionOptions
    output: Path | None
    """The final name; None: frames are dropped."""
    settings: EncoderSettings | None
    """None: frames are dropped."""
    carry: CarryPlan | None
    """None: pictures are written, or nothing."""
    decisions: Mapping[str, Any]
    """All that decides the result's bytes; an interrupted job goes on only with the same."""
    expected_frames: int | None
    color_sentence: str
    """How the source's colour is read."""
    written: str | None
    """What is written of it; None: nothing is."""
    warnings: tuple[str, ...]


def make_plan(job: Job, *, check_output: bool = True) -> Plan:
    """Look at the source, the model, the backend and the output; decide, or refuse.

    Args:
        job: What to do.
        check_output: Whether to refuse an output that could not be written now.

    Raises:
        SourceError: The source cannot be used.
        ModelError: The model is unknown or wrong.
        BackendUnavailableError: The backend is not here.
        HardwareError: Nor is the GPU that is to decode or to encode.
        OptionsError: The options contradict each other, the source, or what is on the disk.
        OutputError: The output's folder is missing or cannot be written.
    """
    watch = SourceWatch.of(job.source)
    info = probe(job.source, index=job.video_stream, network=job.allow_network)
    decoding = plan_decoding(job, info)
    fields = plan_deinterlacing(job.deinterlace, info)
    info = in_fields(info) if fields.mode == "field" else info
    name = None if job.output == NULL_OUTPUT else job.output
    if name is not None:
        check_kind(name)
    suffix = _default_suffix(job, info) if job.output is None else job.output.suffix.lower()
    pictures = None if job.output == NULL_OUTPUT else PICTURE_CODECS.get(suffix)
    coding = None
    if job.output != NULL_OUTPUT:
        coding = choose_coding(job, info, pictures=pictures, suffix=suffix)
    target = _target(job, info, coding)
    choice = choose_model(
        job.model,
        (info.width, info.height),
        target.size,
        target.label,
        value_range=job.model_range,
        look=lambda: measure_compression(job.source, index=info.stream_index, network=job.allow_network),
    )
    size = (info.width, info.height)
    form = frame_format(job, info)
    running = choose_runtime(job, choice.model, form, size, target.size)
    running = quickest(job, running, form, size, target.size)
    choice = replace(choice, model=running.model)
    settings, carry = None, None
    if coding is not None:
        name = name or default_output(job, info, target)
        check_kind(name)
        if not pictures:
            carry = plan_streams(info, name, drop=job.drop, fields=fields.mode == "field")
        threads = job.encoder_threads or usable_cores()
        settings = plan_encoder(job, info, target, coding, threads=threads, pictures=pictures is not None)
        if check_output:
            check_writable(job, name)
        if settings.device:
            try_encoder(settings)
    _ = choice.model.proto  # reads and checks the file now, before anything is opened
    return Plan(
        info=info,
        watch=watch,
        deinterlace=fields,
        decoding=decoding,
        target=target,
        choice=choice,
        backend=running.backend,
        backend_reason=running.reason,
        runtime=running.resolved,
        session=replace(running.session, resident=bool(decoding.gpu)),
        output=name,
        settings=settings,
        carry=carry,
        decisions=_decisions(job, info, fields, settings, running.resolved, target, choice),
        expected_frames=_expected(job, info),
        color_sentence=read_as(info),
        written=None if settings is None else written_as(info, settings, pictures=pictures is not None),
        warnings=(*running.notes, *decoding.notes(job), *_warnings(job, info, target, settings, carry)),
    )


def with_encoder_threads(job: Job, plan: Plan, threads: int) -> Plan:
    """Return a plan with another number of encoder threads, which some encoders' bytes depend on."""
    old = plan.settings
    if old is None:
        return plan
    settings = plan_encoder(
        job,
        plan.info,
        plan.target,
        Coding(old.codec, old.pixel_format),
        threads=threads,
        pictures=plan.carry is None,
    )
    decisions = _decisions(job, plan.info, plan.deinterlace, settings, plan.runtime, plan.target, plan.choice)
    return replace(plan, settings=settings, decisions=decisions)


def with_told(plan: Plan, told: Callable[[str, int, int], bool]) -> Plan:
    """Return a plan whose backend tells how far the building of an engine is; see `SessionOptions.told`."""
    return replace(plan, session=replace(plan.session, told=told))


def frame_format(job: Job, info: VideoInfo) -> FrameFormat:
    """Return what a job's frames are, for deploying."""
    color = info.color
    return FrameFormat(info.pixel_format, color.matrix, color.range, color.chroma_location, job.chroma)


def default_output(job: Job, info: VideoInfo, target: Target) -> Path:
    """Return the name of a result that was given none: beside the source, ``clip_2x.mp4``.

    Pictures stay pictures; videos become what `choose_suffix` says.
    """
    source, suffix = named_after(job.source), _default_suffix(job, info)
    if is_sequence(job.source):
        return source.with_name(f"{target.label}_{source.stem}{suffix}")
    name = source.with_name(f"{source.stem}_{target.label}{suffix}")
    # A picture may be called 50%d.png, but as an output that would be a pattern.
    return name.with_name(name.name.replace("%", "_")) if info.still and is_pattern(name) else name


def _default_suffix(job: Job, info: VideoInfo) -> str:
    if not info.still:
        return choose_suffix(info, drop=job.drop)[0]
    suffix = named_after(job.source).suffix.lower()
    return suffix if suffix in PICTURE_CODECS else ".png"


def _target(job: Job, info: VideoInfo, coding: Coding | None) -> Target:
    """Return the result's size, such that nothing needs padding where chroma is subsampled."""
    pixels = info.pixel_format
    coded = (1, 1) if coding is None else coding.steps
    target = resolve_target(
        info,
        job.scale,
        job.size,
        rounding=(max(coded[0], 1 << pixels.chroma_shift_x), max(coded[1], 1 << pixels.chroma_shift_y)),
        coded=coded,
    )
    if (target.width + 128) * (target.height + 128) >= _MOST_PIXELS:
        raise OptionsError(
            f"the result would be {target.width}x{target.height}, more pixels than FFmpeg's frames have",
            path=info.path,
            hint="ask for less",
        )
    return target


def _decisions(
    job: Job,
    info: VideoInfo,
    fields: Deinterlacing,
    settings: EncoderSettings | None,
    runtime: Mapping[str, str],
    target: Target,
    choice: Choice,
) -> dict[str, Any]:
    if settings is None:
        return {}
    size = f"{target.width}x{target.height}"
    source: dict[str, Any]
    if isinstance(job.source, str):
        source = address_identity(info)
    else:
        source = {"name": str(job.source)} if is_sequence(job.source) else source_identity(job.source)
    # Of a progressive source auto changes nothing, and nothing is recorded.
    recorded = info.interlaced or fields.mode != "auto"
    return {
        **({"deinterlace": str(fields)} if recorded else {}),
        **({} if job.video_stream is None else {"video_stream": info.stream_index}),
        "vidsr": own_version(),
        "source": source,
        "model": choice.model.sha256,
        "model_range": choice.model.spec.value_range,
        "target": size,
        # In pixels: "1.5x" and "960x" may be the same work.
        "way": way_to(choice.model, (info.width, info.height), target.size, size),
        "runtime": dict(runtime),
        "tile": job.tile,
        "chroma": job.chroma,
        "encoder": {
            "codec": settings.codec,
            "pixel_format": settings.pixel_format,
            "size": f"{settings.width}x{settings.height}",
            **settings.options,
            # Another GPU, or another driver, makes other bytes of the same frames.
            **({"device": settings.device} if settings.device else {}),
        },
        "span": {"start": job.start, "end": job.end, "frames": job.frames},
        "segment_frames": job.segment_frames,
    }


def _expected(job: Job, info: VideoInfo) -> int | None:
    total = info.estimated_frames
    if info.still and not is_sequence(job.source):
        total = 1
    if total is not None and info.frame_rate and (job.start or job.end is not None):
        rate = float(info.frame_rate)
        end = total / rate if job.end is None else min(total / rate, job.end)
        total = max(0, round((end - (job.start or 0.0)) * rate))
    if job.frames is not None:
        total = job.frames if total is None else min(total, job.frames)
    return total


def _warnings(
    job: Job, info: VideoInfo, target: Target, settings: EncoderSettings | None, carry: CarryPlan | None
) -> tuple[str, ...]:
    found = [*target.notes, *(settings.notes if settings else ()), *(carry.notes if carry else ())]
    if settings is not None:
        found += [*unmarked(info, settings, pictures=carry is None), *info.losses]
    if settings is not None and carry is not None and not settings.keeps_aspect_in(carry.container.form):
        shape = settings.sample_aspect_ratio
        found.append(
            f"{settings.codec} in {carry.container.form} cannot be marked with its pixels' shape,"
            f" {shape.numerator}:{shape.denominator}, and will look distorted; .mp4 can"
        )
    frames = _expected(job, info)
    if settings is not None and carry is not None and (frames is None or frames > job.segment_frames):
        found += filter(None, [rate_warning(settings.codec, settings.options, job.segment_frames)])
    if info.interlaced and job.deinterlace == "off":
        found.append(WOVEN)
    if settings is not None and info.pixel_format.alpha and not settings.planes.alpha:
        keepers = (
            ".png and .webp keep it" if carry is None else ".webm and .mov, and --codec ffv1 in .mkv, keep it"
        )
        found.append(f"{settings.codec} has no transparency here: alpha is lost; {keepers}")
    return tuple(found)
