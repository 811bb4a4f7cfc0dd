"""From sources to entries: one job each, with its result's name, none of which gets into another's way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsr.batch.finding import PICTURE_SUFFIXES, real_place
from vidsr.batch.inputs import BatchSource
from vidsr.batch.manifest import merge
from vidsr.batch.results import Results
from vidsr.batch.templates import PendingName, anchor, check_template, in_folder, resolve
from vidsr.errors import OptionsError, one_line
from vidsr.job import NULL_OUTPUT, Job
from vidsr.sources import without_password

__all__ = ["BatchEntry", "plan_batch"]

_MOST_TOLD = 10
_KEY_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """One job of a batch."""

    key: str
    """What it is known by in all runs: hexadecimal digits that its result's place decides (its source's too,
    where nothing is written)."""
    name: str
    """For people: the source as seen from the folder it was found in; printable."""
    job: Job
    """With an absolute source, and an absolute output where `pending` is None."""
    pending: PendingName | None
    """The output, where its end is known only when the source is looked at; the job's is None then."""
    result: Path | None
    """Where the result will lie, without the suffix where it is pending; None: nothing is written."""
    anchor: Path
    """The folder that results of its kind are below, also those of sources to come."""


def plan_batch(
    sources: Sequence[BatchSource],
    *,
    options: Mapping[str, Any] | None = None,
    output: str | None = None,
    output_dir: Path | None = None,
    beside: Iterable[BatchEntry] = (),
    notes: list[str] | None = None,
) -> tuple[BatchEntry, ...]:
    """Return an entry for each source, but for those from folders and globs that are results of this batch.

    Left out as well are pictures from there, such as a season's poster, where what is asked for is video.

    So a second run over the same folder takes ``clip.mp4`` and not the ``clip_2x.mp4`` of the first. A result
    of other options, such as ``clip_3x.mp4``, is a source like any other.

    Args:
        sources: As `vidsr.batch.inputs.gather` returns them.
        options: Fields of `Job` that the command line names; they win over a manifest's.
        output: The command line's template; it wins over a manifest's.
        output_dir: Instead of `output`: a folder for all results, sub-folders kept.
        beside: Entries of the same batch that were planned before, as when a folder is watched.
        notes: What the user should know is added to it.

    Raises:
        OptionsError: A wrong template or option; two results at one place, or one at a source's; nothing is
            left to do.
    """
    if output is not None and output_dir is not None:
        raise OptionsError("--output and --output-dir both name the results", hint="give one of them")
    template = in_folder(output_dir) if output_dir is not None else output
    if template is not None:
        check_template(template)
    asked = [_entry(source, options or {}, template) for source in sources]
    planned = [(entry, source) for entry, source in asked if source.named or not _odd_picture(entry)]
    left = [entry.name for entry, source in asked if not source.named and _odd_picture(entry)]
    if left and not planned:
        raise OptionsError(
            "there are only pictures, and what is asked for is video",
            hint="leave --codec, --crf, --preset and a video's suffix out, or name the pictures themselves",
        )
    if left and notes is not None:
        more = f" and {len(left) - 1} more pictures are" if len(left) > 1 else " is"
        notes.append(f"{left[0]}{more} left out: what is asked for is video")
    earlier = list(beside)
    results = Results((entry.result, entry.pending) for entry in [*earlier, *(e for e, _ in planned)])
    kept: list[BatchEntry] = []
    for index, (entry, source) in enumerate(planned):
        others = results.makers(entry.job.source) - {len(earlier) + index}
        if source.named or not others:
            kept.append(entry)
    if planned and not kept:
        raise OptionsError(
            "every one of these files is a result of this batch", hint="name the sources themselves"
        )
    _refuse(kept, earlier)
    return tuple(kept)


def _entry(
    source: BatchSource, options: Mapping[str, Any], template: str | None
) -> tuple[BatchEntry, BatchSource]:
    job = Job(source=source.source, **merge(source.options, options))
    base = source.base if template is None else None
    name = resolve(source.output if template is None else template, source, job, base=base)
    pending = name if isinstance(name, PendingName) else None
    output = None if isinstance(name, PendingName) else name
    result = pending.path if pending else None if output == NULL_OUTPUT else output
    merged = {**merge(source.options, options), "source": source.source, "output": output}
    entry = BatchEntry(
        key=_key(job, pending, result),
        name=_name(source),
        job=Job(**merged),
        pending=pending,
        result=result,
        anchor=anchor(source.output if template is None else template, source, base=base),
    )
    return entry, source


def _odd_picture(entry: BatchEntry) -> bool:
    """Return whether a picture is asked to become what no picture can be."""
    job = entry.job
    if not isinstance(job.source, Path) or job.source.suffix.lower() not in PICTURE_SUFFIXES:
        return False
    if job.output not in (None, NULL_OUTPUT) and job.output.suffix.lower() not in PICTURE_SUFFIXES:
        return True
    if job.crf is not None or job.preset is not None:
        return True
    if job.codec == "auto":
        return False
    from vidsr.video.encoders import PICTURE_CODECS  # with PyAV, which only this question needs

    return job.codec not in PICTURE_CODECS.values()


def _key(job: Job, pending: PendingName | None, result: Path | None) -> str:
    place = f"null: {job.source}" if result is None else str(real_place(result))
    kind = "" if pending is None else "pending"
    return hashlib.sha256(os.fsencode(f"{kind}\0{place}")).hexdigest()[:_KEY_DIGITS]


def _name(source: BatchSource) -> str:
    if isinstance(source.source, str):
        return one_line(without_password(source.source))
    return one_line(str(source.subfolder / source.source.name))


def _refuse(entries: list[BatchEntry], earlier: list[BatchEntry]) -> None:
    """Refuse results that would lie at one place, or at a source's."""
    everything = [*earlier, *entries]
    results = Results((entry.result, entry.pending) for entry in everything)
    told: list[str] = []
    for first, second in results.clashes():
        if second >= len(earlier):
            names = f"'{everything[first].name}' and '{everything[second].name}'"
            told.append(f"{names} would both become {everything[first].result}")
    for index, entry in enumerate(everything):
        for maker in sorted(results.makers(entry.job.source)):
            if max(index, maker) >= len(earlier):
                what = "its own source" if index == maker else f"the source '{entry.name}'"
                told.append(f"the result of '{everything[maker].name}' could replace {what}")
    if told:
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise OptionsError(
            f"{'; '.join(told[:_MOST_TOLD])}{more}",
            hint="tell them apart in the output template, by {name} or {subfolder}, or name other outputs",
        )
