"""What ``vidsr bench`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from vidsr.cli.layout import WIDTH, labelled
from vidsr.errors import one_line

if TYPE_CHECKING:
    from vidsr.benching.results import Machine, NetworkReport, Passage, PipelineReport, Row

__all__ = ["networks_told", "pipeline_told"]

_HEADS = ("backend", "precision", "ms", "spread", "fps", "GOP/s", "of peak", "memory")
_LEFT = {"backend", "precision"}
_UNKNOWN = "-"
_GAP = 2
_LEAST = 24  # columns, below which nothing is laid out any more


def networks_told(report: NetworkReport, width: int | None) -> str:
    """Return the table for a terminal of `width` columns; None: as wide as it gets."""
    room = None if width is None else max(_LEAST, width)
    cells = [_cells(row) for row in report.rows]
    whole = [_HEADS, *(line for row, line in zip(report.rows, cells, strict=True) if row.refused is None)]
    widths = [max(len(line[i]) for line in whole) for i in range(len(_HEADS))]
    named = [line[:2] for line in cells]
    widths[:2] = [max([wide, *(len(line[i]) for line in named)]) for i, wide in enumerate(widths[:2])]
    in_columns = room is None or sum(widths) + _GAP * (len(widths) - 1) <= room
    lines = _wrapped(
        f"{_threads(report.threads)} of {_machine(report.machine)}; medians of {report.rounds} rounds", room
    )
    pairs = zip(report.rows, cells, strict=True)
    for model, group in groupby(pairs, key=lambda pair: pair[0].model):
        block = list(group)
        lines += ["", *_wrapped(_heading(report, model, [row for row, _ in block]), room)]
        if in_columns and any(row.refused is None for row, _ in block):
            lines.append(_line(_HEADS, widths))
        for row, line in block:
            if row.refused is not None:
                lines += _refusal(row, line, widths, room, in_columns=in_columns)
            elif in_columns:
                lines.append(_line(line, widths))
            else:
                lines += _stanza(line, room)
    if any(row.refused is None for row in report.rows):
        lines += ["", *_footer(report, room)]
    lines += [line for text in report.warnings for line in _wrapped(f"warning: {one_line(text)}", room)]
    return "\n".join(lines)


def _heading(report: NetworkReport, model: str, rows: Sequence[Row]) -> str:
    width, height = report.size
    out = next((row.size_out for row in rows if row.size_out), None)
    sizes = f"{width}x{height}" + (f" to {out[0]}x{out[1]}" if out else "")
    kmac = report.kmac.get(model)
    cost = "" if kmac is None else f", {2e-6 * kmac * width * height:.4g} GOP a frame"
    return f"{one_line(model)}: {sizes}, {report.pixel_format}{cost}"


def _cells(row: Row) -> list[str]:
    share = _UNKNOWN if row.share is None else f"{row.share:.0%}"
    spread = _UNKNOWN if row.spread is None else f"{row.spread:.0%}"
    memory = _UNKNOWN if row.memory_bytes is None else _bytes(row.memory_bytes)
    backend = row.backend if row.path is None else f"{row.backend} {row.path}"
    figures = [_figure(row.ms), spread, _figure(row.fps), _figure(row.gops), share, memory]
    return [backend, row.precision, *figures]


def _figure(value: float | None) -> str:
    """Return three digits, more before the point where there are."""
    if value is None:
        return _UNKNOWN
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(wide) if head in _LEFT else cell.rjust(wide)
        for cell, head, wide in zip(cells, _HEADS, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


def _refusal(
    row: Row, line: Sequence[str], widths: Sequence[int], room: int | None, *, in_columns: bool
) -> list[str]:
    named = line[:2] if in_columns else [cell for cell in line[:2] if cell != _UNKNOWN]
    wide = widths[:2] if in_columns else [len(cell) for cell in named]
    start = "".join(f"{cell:{one + _GAP}}" for cell, one in zip(named, wide, strict=True))
    if in_columns and len(start) < (room or WIDTH) // 2:
        indent = " " * len(start)
        return textwrap.wrap(row.refused or "", room or WIDTH, initial_indent=start, subsequent_indent=indent)
    return [
        start.rstrip(),
        *textwrap.wrap(row.refused or "", room or WIDTH, initial_indent="  ", subsequent_indent="  "),
    ]


def _stanza(line: Sequence[str], room: int | None) -> list[str]:
    backend, precision, ms, spread, fps, gops, share, memory = line
    told = [f"{ms} ms (spread {spread}), {fps} fps", f"{gops} GOP/s, {share} of peak", f"memory {memory}"]
    rows = [piece for text in told for piece in textwrap.wrap(text, (room or WIDTH) - 2)]
    return [f"{backend}  {precision}", *(f"  {text}" for text in rows)]


def _footer(report: NetworkReport, room: int | None) -> list[str]:
    texts = [
        "ms: for a frame among many, planes in to planes out. spread: how far the middle half of the rounds"
        " lies apart. GOP/s: 1e9 multiplications and additions of the convolutions a second."
    ]
    if report.peaks:
        peaks = ", ".join(f"{name} {gops:.0f}" for name, gops in report.peaks.items())
        texts.append(
            f"of peak: share of what registers alone do, measured beside each round with as many threads, by"
            f" instruction: {peaks} GOP/s. Of other runtimes' precisions the fastest instruction that vidsr"
            " knows; one that uses others may be beyond."
        )
    if any(row.refused is None and row.share is None and row.gops is not None for row in report.rows):
        texts.append("of peak -: not known for that processor, device or set of instructions.")
    if any(row.memory_bytes is not None for row in report.rows):
        texts.append(
            "memory: what opening the network and some frames add, at most, to a process of its own that has"
            " loaded the libraries and holds the frames; main memory, not a device's."
        )
    return [line for text in texts for line in _wrapped(text, room)]


def pipeline_told(report: PipelineReport, width: int | None) -> str:
    """Return what became of a clip, for a terminal of `width` columns; None: as wide as it gets."""
    room = None if width is None else max(_LEAST, width)
    size_in, size_out = ("x".join(map(str, size)) for size in (report.size_in, report.size_out))
    where = ", ".join(filter(None, [report.path, report.precision]))
    lines = labelled(
        [
            ("clip", f"{report.source}: {size_in} to {size_out}, {report.pixel_format}"),
            ("model", f"{report.model} on {report.backend} ({where})"),
            ("machine", f"{_threads(report.threads)} of {_machine(report.machine)}"),
            ("runs", f"{report.frames} frames, {report.rounds} times each way, in turn"),
        ],
        width=room or WIDTH,
    )
    for passage in (report.without_encoding, report.with_encoding):
        lines += ["", *_passage(passage, room)]
    lines += ["", *_wrapped(f"Encoding leaves {report.ratio:.0%} of the frames a second.", room)]
    lines += _wrapped(
        "busy: worked; starved: waited for the stage before; blocked: waited for the one after, its queue"
        " being full; shares of the time in which frames flowed. Stages work at once and share the cores.",
        room,
    )
    lines += [line for text in report.warnings for line in _wrapped(f"warning: {one_line(text)}", room)]
    return "\n".join(lines)


def _passage(passage: Passage, room: int | None) -> list[str]:
    what = "without encoding" if passage.encoder is None else f"with {passage.encoder}"
    rates = f"{_figure(passage.fps)} fps ({_figure(passage.fps_least)} to {_figure(passage.fps_most)})"
    lines = _wrapped(f"{what}: {rates}, {passage.cores_busy:.0%} of the cores busy", room)
    lines.append(f"  {'':9}  {'busy':>5}  {'starved':>7}  {'blocked':>7}")
    for stage in passage.stages:
        name = "drop" if stage.name == "encode" and passage.encoder is None else stage.name
        lines.append(f"  {name:9}  {stage.busy:5.0%}  {stage.starved:7.0%}  {stage.blocked:7.0%}")
    if passage.encoder is not None:
        options = " ".join(f"{key}={value}" for key, value in passage.encoder_options.items())
        lines += _wrapped(
            f"then {passage.emptying:.2f} s a run until the encoder was empty, and {passage.finish:.2f} s for"
            f" joining and verifying; {options}",
            room,
            indent="  ",
        )
    return [*lines, *_wrapped(passage.limited_by, room, indent="  ")]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _machine(machine: Machine) -> str:
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    return f"{one_line(machine.processor)} ({cores}), vidsr {machine.vidsr}"


def _wrapped(text: str, room: int | None, *, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        room or WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=room is not None,
    )
