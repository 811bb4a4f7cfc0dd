"""A clip through the whole pipeline, without and with encoding: where the time goes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from vidsr.benching.networks import machine
from vidsr.benching.results import Passage, PipelineReport, StageShare
from vidsr.cores import usable_cores
from vidsr.errors import OptionsError
from vidsr.job import NULL_OUTPUT, Job
from vidsr.pipeline import Progress, run
from vidsr.planning import make_plan
from vidsr.report import JobReport, StageTimes, limiting_stage

__all__ = ["measure_pipeline"]

_FEW = 48  # frames; below, what is opened and filled first weighs in


@dataclass(slots=True)
class _Run:
    """A job that was done."""

    report: JobReport
    cores: float
    """Share of the cores that was busy while frames flowed."""

    @property
    def emptying(self) -> float:
        """Seconds that the encoder took for what it still held."""
        return max(0.0, self.report.frames / self.report.fps - self.report.stages[0].wall)


def measure_pipeline(
    job: Job, rounds: int, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> PipelineReport:
    """Do a job several times without encoding and, in turn, with it; nothing of it stays.

    Streams other than the video are left out. What is encoded goes into a temporary folder.

    Args:
        job: What to do; its output is not looked at.
        rounds: How often.
        progress: Called with what is done now, and how much of all is done.

    Raises:
        OptionsError: The source is a picture.
        VidsrError: What would stop the job.
    """
    plan = make_plan(replace(job, output=NULL_OUTPUT))
    if plan.info.still:
        raise OptionsError("this is no video", path=plan.info.path, hint="--pipeline takes a clip")
    others = tuple(stream.index for stream in plan.info.others)
    bare: list[_Run] = []
    coded: list[_Run] = []
    with tempfile.TemporaryDirectory(prefix="vidsr-bench-") as folder:
        # Matroska takes every codec.
        file = Path(folder) / "out.mkv"
        turns = [(bare, NULL_OUTPUT, "without encoding"), (coded, file, "with encoding")] * rounds
        for number, (found, output, what) in enumerate(turns):

            def told(share: float, number: int = number, what: str = what) -> None:
                progress(f"round {number // 2 + 1} of {rounds}, {what}", (number + share) / len(turns))

            one = replace(job, output=output, overwrite=True, drop=others)
            found.append(_run(one, told))
    first = coded[0].report
    warnings = [*bare[0].report.warnings, *first.warnings]
    if first.frames < _FEW:
        warnings.append(f"{first.frames} frames a run are few: filling the stages weighs in")
    return PipelineReport(
        machine=machine(),
        source=first.source,
        frames=first.frames,
        size_in=first.size_in,
        size_out=first.size_out,
        pixel_format=first.pixel_format,
        model=first.model,
        backend=first.backend,
        path=first.runtime.get("path") or first.runtime.get("device"),
        precision=first.runtime.get("precision", "-"),
        threads=job.threads or usable_cores(),
        rounds=rounds,
        without_encoding=_passage(bare),
        with_encoding=_passage(coded),
        ratio=median(b.report.fps / a.report.fps for a, b in zip(bare, coded, strict=True)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _run(job: Job, told: Callable[[float], None]) -> _Run:
    began: tuple[float, float] | None = None
    ended = (0.0, 0.0)

    def note(progress: Progress) -> None:
        nonlocal began, ended
        if progress.phase == "frames":
            ended = (perf_counter(), process_time())
            began = began or ended
            told(progress.frames / progress.total if progress.total else 0.0)

    report = run(job, progress=note)
    if began is None or not report.fps:
        raise OptionsError("there is no frame to measure", path=report.source)
    wall = max(1e-9, ended[0] - began[0])
    return _Run(report, min(1.0, (ended[1] - began[1]) / wall / usable_cores()))


def _passage(runs: list[_Run]) -> Passage:
    first, rates = runs[0].report, [one.report.fps for one in runs]
    stages = list(first.stages[:-1])
    for one in runs[1:]:
        stages = [a + b for a, b in zip(stages, one.report.stages[:-1], strict=True)]
    return Passage(
        encoder=first.encoder,
        encoder_options=dict(first.encoder_options),
        fps=median(rates),
        fps_least=min(rates),
        fps_most=max(rates),
        cores_busy=median(one.cores for one in runs),
        stages=tuple(map(_share, stages)),
        emptying=median(one.emptying for one in runs),
        finish=median(one.report.stages[-1].worked for one in runs),
        limited_by=limiting_stage(stages),
    )


def _share(stage: StageTimes) -> StageShare:
    wall = max(1e-9, stage.wall)
    busy, starved, blocked = stage.worked, stage.waited_for_input, stage.waited_for_room
    return StageShare(stage.name, busy / wall, starved / wall, blocked / wall)
