"""What vidsr would do, told beforehand: of a source left to the defaults, or of a job. Nothing is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidsr.budget import budgeted
from vidsr.errors import VidsrError
from vidsr.frame import ColorInfo, OtherStream
from vidsr.job import NULL_OUTPUT, Job
from vidsr.planning import Plan, make_plan
from vidsr.sources import Source, is_sequence, parse_source
from vidsr.trial import Trial, try_out
from vidsr.video.carried import carried_bytes
from vidsr.video.carrying import CarryPlan, choose_suffix
from vidsr.video.inspection import FrameCount, Inspection, count_frames, inspect_source
from vidsr.video.work import Unfinished, find_unfinished

__all__ = ["Forecast", "SourceReport", "StreamFate", "examine", "foresee"]


@dataclass(frozen=True, slots=True)
class StreamFate:
    """What becomes of one of the source's streams."""

    index: int
    kind: str
    codec: str
    fate: Literal["enlarged", "copied", "converted", "dropped"]
    detail: str = ""
    """What it is converted to, or why it is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """A source, and what ``vidsr upscale`` makes of it when nothing else is asked for."""

    seen: Inspection
    output: str | None
    """File name; None: it would be refused."""
    container_reason: str
    size_out: tuple[int, int] | None
    """Width and height in pixels."""
    streams: tuple[StreamFate, ...]
    changes: tuple[str, ...]
    """What would be lost or changed, and why."""
    refusal: str | None
    """Why it would be refused; None: it would not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Everything that a job would do."""

    source: str
    output: str | None
    """None: nothing is written."""
    container: str | None
    """FFmpeg's name; None: pictures, or nothing."""
    container_reason: str
    replaces: bool
    """Whether a file of the output's name is there, and would be replaced."""
    model: str
    model_reason: str
    target: str
    way: str
    """From the model's scale to the target, in words."""
    tiles: str
    backend: str
    backend_reason: str
    runtime: dict[str, str] = field(default_factory=dict)
    """What decides the network's results: device, precision, threads, versions."""
    size_in: tuple[int, int]
    """Width and height in pixels."""
    size_out: tuple[int, int]
    pixel_format_in: str
    pixel_format_out: str | None
    """None: nothing is written."""
    color: str
    """How code values are read, and what of that is a guess."""
    written: str | None
    """What is written: layout, depth, colour tags, HDR data; None: nothing."""
    color_in: ColorInfo
    color_out: ColorInfo | None
    """What is written; a `matrix_code`, `primaries` or `transfer` of 2 means untagged."""
    threads: str = ""
    """How the cores are shared, in words."""
    decoder: str = ""
    encoder: str | None
    encoder_options: dict[str, str] = field(default_factory=dict)
    streams: tuple[StreamFate, ...]
    frames: FrameCount
    """Expected in the result."""
    frames_done: int
    """Of these, in the unfinished work that the job would go on from."""
    unfinished: Unfinished | None
    """Work of an interrupted job beside the output."""
    trial: Trial
    expected_seconds: float | None
    """For the frames that are left to do, on this machine as it is now; None: their number is not known."""
    expected_bytes: int | None
    """Of the result, carried streams included where `carried_bytes` is known."""
    carried_bytes: int | None
    """Of the streams that are carried along; None: not known."""
    temporary_bytes: int | None
    """Most that the job has on the output's disk at a time, as `expected_bytes` knows it: of a video the
    segments and, while they are joined, the result beside them."""
    free_bytes: int | None
    """On the output's disk; None: nothing is written, or it does not say."""
    warnings: tuple[str, ...]


def examine(path: Source, *, network: bool = False) -> SourceReport:
    """Look at a source, and at what the defaults would make of it.

    Raises:
        SourceError: As `vidsr.video.probe.probe`.
    """
    seen = inspect_source(path, network=network)
    # Which model and backend, and whether the folder can be written, is not about the source.
    job = Job(source=path, model="ecbsr", backend="nearest", allow_network=network)
    try:
        plan = make_plan(job, check_output=False)
    except VidsrError as error:
        nothing: dict[str, Any] = {"output": None, "container_reason": "", "size_out": None}
        return SourceReport(seen=seen, **nothing, streams=(), changes=(), refusal=str(error))
    return SourceReport(
        seen=seen,
        output=None if plan.output is None else plan.output.name,
        container_reason=_container_reason(job, plan),
        size_out=plan.target.size,
        streams=tuple(_fates(job, plan)),
        changes=(*plan.warnings, *_time_changes(seen)),
        refusal=None,
    )


def foresee(job: Job) -> Forecast:
    """Decide everything about a job, try two seconds of it, and tell; makes no file and no folder.

    Raises:
        VidsrError: What would refuse or stop the job.
    """
    plan, budget = budgeted(job, make_plan(job), tries=False)
    unfinished = None
    if plan.output is not None and plan.settings is not None:
        unfinished = find_unfinished(plan.output, plan.decisions, discard=job.discard)
    trial = try_out(job, plan)
    info, settings = plan.info, plan.settings
    done = 0 if unfinished is None else unfinished.frames
    expected = FrameCount(trial.frames, "counted") if trial.whole else _expected(job, plan)
    frames = expected.count
    seconds = None if frames is None else trial.seconds_for(max(0, frames - done))
    carried = _carried(plan, frames)
    together = (frames or 1) if plan.carry is None else job.segment_frames  # a picture is as large as any
    coded = None if frames is None or settings is None else trial.bytes_for(frames, together)
    temporary = None if coded is None else _temporary(plan, coded, carried or 0)
    free = None if plan.output is None else _free(plan.output.parent)
    notes = [*plan.warnings, *trial.notes, *_too_little(temporary, free, unfinished)]
    return Forecast(
        source=info.path,
        output=None if plan.output is None else str(plan.output),
        container=None if plan.carry is None else plan.carry.container.form,
        container_reason=_container_reason(job, plan),
        replaces=plan.output is not None and plan.output.exists(),
        model=plan.choice.model.spec.id,
        model_reason=plan.choice.reason,
        target=plan.target.label,
        way=plan.choice.way,
        tiles=trial.tiles,
        backend=plan.backend.name,
        backend_reason=plan.backend_reason,
        runtime=dict(plan.runtime),
        size_in=(info.width, info.height),
        size_out=plan.target.size,
        pixel_format_in=info.source_format,
        pixel_format_out=None if settings is None else settings.pixel_format,
        color=plan.color_sentence,
        written=plan.written,
        color_in=info.color,
        color_out=None if settings is None else settings.color,
        threads=budget.reason,
        decoder=plan.decoding.sentence,
        encoder=None if settings is None else settings.codec,
        encoder_options={} if settings is None else dict(settings.options),
        streams=tuple(_fates(job, plan)),
        frames=expected,
        frames_done=done,
        unfinished=unfinished,
        trial=trial,
        expected_seconds=seconds,
        expected_bytes=None if coded is None else coded + (carried or 0),
        carried_bytes=carried,
        temporary_bytes=temporary,
        free_bytes=free,
        warnings=tuple(dict.fromkeys(notes)),
    )


def _expected(job: Job, plan: Plan) -> FrameCount:
    """Return the frames of the result: by what is in the file, which a plan does not look at."""
    info = plan.info
    if info.still:
        return FrameCount(plan.expected_frames, "unknown" if plan.expected_frames is None else "estimated")
    total = count_frames(info)
    if plan.deinterlace.mode == "field" and total.count is not None:
        total = FrameCount(2 * total.count, total.source)
    count = total.count
    if count is not None and info.duration and (job.start or job.end is not None):
        end = info.duration if job.end is None else min(job.end, info.duration)
        share = max(0.0, end - (job.start or 0.0)) / info.duration
        total = FrameCount(round(count * share), "estimated")
    if job.frames is not None and (total.count is None or job.frames <= total.count):
        total = FrameCount(job.frames, "estimated")
    return total


def _carried(plan: Plan, frames: int | None) -> int | None:
    """Return the bytes of the streams that go along, cut like the video."""
    if plan.carry is None:
        return 0
    found = carried_bytes(plan.info, plan.carry.carried)
    total = plan.info.estimated_frames
    if found is None or not total or frames is None:
        return found
    return min(found, found * frames // total)


def _temporary(plan: Plan, coded: int, carried: int) -> int:
    """Return the most bytes that a job has on the disk: segments stay until the result has its name."""
    return coded if plan.carry is None else 2 * coded + carried  # a picture is renamed, not copied


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # some network file systems do not say
        return None


def _too_little(temporary: int | None, free: int | None, unfinished: Unfinished | None) -> list[str]:
    """Return the warning that the disk is too small for what is still to come onto it."""
    if temporary is None or free is None:
        return []
    there = () if unfinished is None else unfinished.path.iterdir()  # is used, or goes before the first frame
    more = temporary - sum(path.stat().st_size for path in there)
    if more <= free:
        return []
    return [
        f"the output's disk has {free / 1e6:,.1f} MB free, and the job needs about {more / 1e6:,.1f} MB there"
        " while it works: free some, or name an output on another disk"
    ]


def _container_reason(job: Job, plan: Plan) -> str:
    if job.output == NULL_OUTPUT:
        return "nothing is written"
    if job.output is not None:
        return "as it was named"
    if plan.carry is None:
        return "a picture stays a picture"
    return choose_suffix(plan.info, drop=job.drop)[1]


def _fates(job: Job, plan: Plan) -> list[StreamFate]:
    info, carry = plan.info, plan.carry
    found = [StreamFate(info.stream_index, "video", info.codec, "enlarged")]
    converted = {} if carry is None else dict(carry.converted)
    for other in info.others:
        what = (other.index, other.kind, other.tag or other.codec)  # data has a tag and often no codec
        if carry is not None and other.index in carry.copied:
            found.append(StreamFate(*what, "copied"))
        elif other.index in converted:
            found.append(StreamFate(*what, "converted", f"to {converted[other.index]}"))
        else:
            found.append(StreamFate(*what, "dropped", _why_dropped(job, carry, other)))
    return sorted(found, key=lambda stream: stream.index)


def _why_dropped(job: Job, carry: CarryPlan | None, other: OtherStream) -> str:
    if carry is not None:
        return carry.left_out[other.index]
    return "nothing is written" if job.output == NULL_OUTPUT else "pictures have no place for it"


def _time_changes(seen: Inspection) -> list[str]:
    """Return what the reader would do to the times of frames."""
    found = []
    if seen.untimed:
        found.append("frames without a time stamp: they follow at the frame rate")
    if seen.disordered or seen.timing.duplicated or seen.timing.backwards:
        found.append("time stamps that do not increase: moved by the smallest step that makes them")
    if is_sequence(parse_source(seen.info.path)):
        found.append("a sequence of pictures stays one, numbered from 1")
    return found
