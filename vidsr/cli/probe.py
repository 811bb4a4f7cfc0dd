"""``vidsr probe``: what vidsr sees of a file, and what it would lose or change by default."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsr.cli.layout import (
    bytes_in_words,
    clean,
    clock,
    count_in_words,
    duration,
    labelled,
    rate_in_words,
    ratio,
    span,
)

if TYPE_CHECKING:
    from vidsr.forecast import SourceReport, StreamFate
    from vidsr.frame import ColorInfo
    from vidsr.video.inspection import Inspection, StreamSeen

__all__ = ["probe"]

_LISTED = 8  # chapters and tags that are told; --json has all
_TOLD_ELSEWHERE = frozenset({"DISPLAYMATRIX", "SEI_UNREGISTERED"})
_LONGEST = 100  # characters of a tag


def probe(
    files: Annotated[
        list[str],
        typer.Argument(help="Videos, pictures, or patterns like shot_%04d.png.", metavar="FILE..."),
    ],
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Open addresses such as https://host/clip.mp4.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list with one object a file, as JSON.")
    ] = False,
) -> None:
    """Tell what is in a file, and what upscaling would lose or change by default.

    Looks at headers, some thousand packets and some dozen frames, not at the
    whole file. Exits with 1 if a file cannot be read; the others are told.

    In JSON a file is what vidsr.forecast.SourceReport says, with "path"; all keys
    are always there. One that cannot be read has "path" and "error" instead.
    """
    from vidsr import records
    from vidsr.errors import VidsrError
    from vidsr.forecast import examine
    from vidsr.sources import parse_source

    told: list[dict[str, Any]] = []
    failed = False
    for number, path in enumerate(files):
        try:
            report = examine(parse_source(path), network=allow_network)
        except VidsrError as error:
            failed = True
            told.append({"path": path, "error": str(error)})
            typer.echo(f"vidsr: {error}", err=True)
            continue
        if as_json:
            told.append({"path": path, **records.to_mapping(report, keep_none=True)})
        else:
            typer.echo(("\n" if number else "") + _told(report))
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    if failed:
        raise typer.Exit(1)


def _told(report: SourceReport) -> str:
    from vidsr.color import layout_name

    seen, info = report.seen, report.seen.info
    size = "a sequence of pictures" if seen.bytes is None else bytes_in_words(seen.bytes)
    rows = [("container", f"{info.container}, {size}")]
    fates = {fate.index: fate for fate in report.streams}
    rows += [(f"stream {s.index}", _stream(s, fates.get(s.index))) for s in seen.streams]
    pixels = info.pixel_format
    converted = "" if info.source_format == pixels.name else f"; read as {pixels.name}"
    rows += [
        ("picture", _picture(seen)),
        ("pixels", f"{info.source_format}: {pixels.bit_depth} bits, {layout_name(pixels)}{converted}"),
        ("colour", _color(info.color, subsampled=pixels.subsampled, family=pixels.family)),
    ]
    rows += [("hdr", str(info.hdr))] if info.hdr.static else []
    rows += [] if info.still and seen.frames.count == 1 else _moving(seen)
    told = "not looked at: its frames take too long" if seen.compression is None else str(seen.compression)
    rows.append(("compressed", told))
    if names := [name.lower().replace("_", " ") for name in seen.side_data if name not in _TOLD_ELSEWHERE]:
        rows.append(("with frames", ", ".join(names)))
    rows += _listed("chapters", [f"{clock(c.start)} to {clock(c.end)} {c.title}" for c in seen.chapters])
    rows += _listed("tags", [f"{key}: {_short(value)}" for key, value in seen.metadata.items()])
    return "\n".join([clean(info.path), *labelled([*rows, *_by_default(report)])])


def _moving(seen: Inspection) -> list[tuple[str, str]]:
    """Return what a single picture does not have."""
    rate, length = seen.info.frame_rate, seen.info.duration
    return [
        ("times", _times(seen)),
        ("rate", "not known" if rate is None else f"{rate_in_words(rate)} frames a second"),
        ("duration", "not known" if length is None else f"{duration(length)} by the header"),
        ("frames", _frames(seen)),
        ("fields", _fields(seen)),
    ]


def _by_default(report: SourceReport) -> list[tuple[str, str]]:
    if report.refusal is not None:
        return [("by default", f"vidsr upscale refuses it: {report.refusal}")]
    width, height = report.size_out or (0, 0)
    changes = report.changes or ("nothing else is lost or changed",)
    return [
        ("by default", f"{report.output}, {width}x{height}: {report.container_reason}"),
        *(("" if number else "changes", text) for number, text in enumerate(changes)),
    ]


def _stream(stream: StreamSeen, fate: StreamFate | None) -> str:
    parts = [f"{stream.kind} {stream.codec}" + (f" ({stream.profile})" if stream.profile else "")]
    parts += ["x".join(map(str, stream.size))] if stream.size and not stream.main else []
    parts += [f"{stream.sample_rate} Hz {stream.layout}"] if stream.sample_rate else []
    parts += [
        text for text in (stream.language.replace("und", ""), stream.file_name, stream.media_type) if text
    ]
    parts += [f'"{_short(stream.title)}"'] if stream.title else []
    parts += ["cover art" if stream.cover else ""]
    parts += [flag.replace("_", " ") for flag in stream.dispositions if flag != "attached_pic"]
    text = ", ".join(part for part in parts if part)
    if fate is None or fate.fate == "enlarged":
        return text
    return f"{text}: {fate.fate}" + (f" ({fate.detail})" if fate.fate == "dropped" else f" {fate.detail}")


def _picture(seen: Inspection) -> str:
    info = seen.info
    aspect = info.sample_aspect_ratio
    text = f"{info.width}x{info.height}, pixels {ratio(aspect) if aspect else 'of no stated shape'}"
    if aspect not in (0, 1):
        text += f", shown as {round(info.width * aspect)}x{info.height}"
    if info.rotation:
        text += f", turned {abs(info.rotation)} degrees {'counter-' if info.rotation > 0 else ''}clockwise"
    matrix = info.display_matrix
    if matrix is not None and matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0:
        text += ", mirrored"
    return text


def _color(color: ColorInfo, *, subsampled: bool, family: str) -> str:
    from vidsr.color import MATRIX_NAMES, PRIMARIES, TRANSFERS, tag_name

    def said(name: str, tagged: str, guess: str) -> str:
        return f"{guess} (guessed: untagged)" if name in color.guessed else f"{tagged} (tagged)"

    parts = []
    if family == "yuv":
        parts.append(f"matrix {said('matrix', tag_name(MATRIX_NAMES, color.matrix_code), color.matrix)}")
    parts += [
        f"range {said('range', color.range, color.range)}",
        f"primaries {tag_name(PRIMARIES, color.primaries)}",
        f"transfer {tag_name(TRANSFERS, color.transfer)}",
    ]
    if subsampled:
        location = color.chroma_location
        parts.append(f"chroma {said('chroma_location', location, location)}")
    return ", ".join(parts)


def _times(seen: Inspection) -> str:
    timing = seen.timing
    parts = [{"constant": "constant", "variable": "variable", "unknown": "too few to tell"}[timing.kind]]
    if timing.shortest is not None and timing.longest is not None:
        steps = [span(step) for step in (timing.shortest, timing.longest)]
        each = "field" if seen.info.fields else "frame"
        parts[0] += f", {steps[0] if steps[0] == steps[1] else ' to '.join(steps)} a {each}"
    if timing.first is not None:
        parts.append(f"begin at {span(timing.first)}" if timing.first else "begin at 0")
    parts.append(f"ticks of {seen.info.time_base} s")
    if timing.by_decoding:
        parts.append("only decoding times are there")
    elif timing.missing:
        parts.append(f"{timing.missing} packets without a time")
    parts += [f"{timing.duplicated} repeated"] if timing.duplicated else []
    parts += [f"{timing.backwards} go backwards"] if timing.backwards else []
    parts += (
        [f"{seen.untimed} of the first {seen.first_frames} frames decode without one"] if seen.untimed else []
    )
    parts += (
        [f"{seen.disordered} of the first {seen.first_frames} frames decode out of order"]
        if seen.disordered
        else []
    )
    far = "" if timing.seconds is None else f", {duration(timing.seconds)}"
    parts.append(f"seen in {'all' if timing.whole else 'the first'} {timing.packets} packets{far}")
    return "; ".join(parts)


def _frames(seen: Inspection) -> str:
    text = count_in_words(seen.frames).replace("(counted)", "(its packets, counted)")
    if seen.frames_stated not in (None, seen.frames.count):
        text += f"; the header states {seen.frames_stated}"
    return text


def _fields(seen: Inspection) -> str:
    if not seen.interlaced:
        return f"progressive, by the flags of the first {seen.first_frames} frames"
    if seen.info.fields:
        first = "top" if seen.info.fields == "tff" else "bottom"
        return f"each picture is one field, {first} first: two are woven into a frame"
    return f"interlaced: {seen.interlaced} of the first {seen.first_frames} frames are flagged so"


def _listed(label: str, texts: list[str]) -> list[tuple[str, str]]:
    rows = [("" if number else label, text) for number, text in enumerate(texts[:_LISTED])]
    more = len(texts) - _LISTED
    return [*rows, ("", f"and {more} more")] if more > 0 else rows


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
