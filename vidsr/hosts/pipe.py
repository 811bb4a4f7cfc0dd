"""Video from standard input to standard output: Y4M or NUT, larger, in its own colour, depth and times."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from time import perf_counter
from typing import Literal

from vidsr.color import complete_color, layout_name
from vidsr.errors import ProbeError, UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix
from vidsr.heap import make_room_for
from vidsr.hosts import y4m_header
from vidsr.hosts.standard import Input, Output
from vidsr.hosts.y4m import Y4mReader, Y4mWriter
from vidsr.hosts.y4m_header import Y4mHeader, make_header
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.opening import Way, decide, open_way
from vidsr.report import Reused, limiting_stage
from vidsr.reuse import Reuse
from vidsr.stages import flow, with_reuse
from vidsr.target import Size
from vidsr.video import nut
from vidsr.video.deinterlace import WOVEN
from vidsr.video.nut import NutHeader, NutReader, NutWriter
from vidsr.video.raw import Raw

__all__ = ["EXAMPLE", "Kind", "PipeOptions", "PipeReport", "run_pipe"]

Kind = Literal["y4m", "nut"]

EXAMPLE = "ffmpeg -v error -i IN.mp4 -f yuv4mpegpipe -strict -1 - | vidsr pipe | mpv -"
"""How it is used."""
_FIRST_BYTES = 10
_WHOLE_FILES = (b"ftyp", b"\x1aE\xdf\xa3", b"RIFF", b"FLV", b"OggS")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeOptions:
    """What a stream does not say, and what is to be made of it."""

    to: Kind | None = None
    """None: as the input."""
    matrix: Matrix | None = None
    """None: as the stream says, or guessed, as of the others."""
    color_range: ColorRange | None = None
    chroma_location: ChromaLocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeReport:
    """What was done."""

    kinds: tuple[Kind, Kind]
    """Of input and output."""
    way: Way
    frames: int
    seconds: float
    """From the first frame to the last."""
    reused: Reused
    limited_by: str
    """One sentence."""
    pixels: str
    """Layout and depth, in words."""
    color: ColorInfo

    def __str__(self) -> str:
        """Return a line."""
        width, height = self.way.size
        to_width, to_height = self.way.target.size
        fps = self.frames / self.seconds if self.seconds else 0.0
        runtime = self.way.runtime
        return (
            f"{self.frames} frames, {width}x{height} to {to_width}x{to_height} ({self.pixels}),"
            f" {self.seconds:.1f} s, {fps:.1f} fps; {runtime.model.spec.id} on {runtime.backend.name};"
            f" {self.reused.repeated} frames repeated; {self.limited_by}"
        )


def run_pipe(
    job: Job,
    options: PipeOptions,
    source: Input,
    target: Output,
    *,
    progress: Callable[[int], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> PipeReport:
    """Enlarge a stream.

    Args:
        job: Model, scale and what else `vidsr.opening.decide` looks at, and `reuse`.
        options: Of the streams.
        source: Where from.
        target: Where to.
        progress: Called with the number of frames after each.
        warn: Called with what the user should know, a sentence each.

    Raises:
        SourceError: The input is none that is known, or ends early; what was whole has been written.
        BrokenPipeError: Whoever read the output has gone away.
        VidsrError: The options or the model cannot be, or inference failed.
    """
    kind, reader = _open_input(source)
    with ExitStack() as stack:
        if isinstance(reader, NutReader):
            stack.callback(reader.close)
        header, color = _described(reader, options)
        reader.color, pixels = color, header.pixel_format
        form = FrameFormat(pixels, color.matrix, color.range, color.chroma_location, job.chroma)
        size = (header.width, header.height)
        way = decide(job, form, size, shown=Size(*size, sample_aspect_ratio=header.aspect))
        for note in (*way.target.notes, *way.runtime.notes):
            warn(note)
        if isinstance(header, Y4mHeader) and header.interlaced:
            warn(f"{WOVEN}; -vf bwdif in ffmpeg, before this, deinterlaces them")
        make_room_for(pixels.frame_bytes(*way.target.size))
        upscaler = stack.enter_context(_open_network(job, way))
        for note in upscaler.notes:
            warn(note)
        to = options.to or kind
        parameters = reader.parameters if isinstance(reader, Y4mReader) else {}
        writer = _open_output(to, parameters, header, color, way, target, warn)
        began = perf_counter()
        try:
            frames, stages = flow(reader, upscaler, writer, progress, halt=source.stop)
        except (BrokenPipeError, KeyboardInterrupt):
            if isinstance(writer, NutWriter):
                writer.drop()
            raise
        except BaseException:
            writer.close()  # what was whole before an error makes a whole stream
            raise
        writer.close()
        for note in getattr(reader, "warnings", ()):
            warn(note)
        return PipeReport(
            kinds=(kind, to),
            way=way,
            frames=frames,
            seconds=perf_counter() - began,
            reused=upscaler.taken(),
            limited_by=limiting_stage(stages),
            pixels=f"{layout_name(pixels)} of {pixels.bit_depth} bits",
            color=color,
        )


def _open_input(source: Input) -> tuple[Kind, Y4mReader | NutReader]:
    start = bytearray(_FIRST_BYTES)
    got = bytes(start[: source.fill(memoryview(start))])
    if not got:
        raise ProbeError("nothing came in", hint=f"the program before this one has failed; {EXAMPLE}")
    source.give_back(got)
    if got.startswith(y4m_header.MAGIC):
        return "y4m", Y4mReader(source)
    if nut.MAGIC.startswith(got):
        return "nut", NutReader(source)
    media = any(mark in got for mark in _WHOLE_FILES)
    raise UnsupportedFormatError(
        f"the input is neither Y4M nor NUT: it begins with {got!r}",
        hint="'vidsr upscale FILE' takes whole files" if media else EXAMPLE,
    )


def _described(
    reader: Y4mReader | NutReader, options: PipeOptions
) -> tuple[Y4mHeader | NutHeader, ColorInfo]:
    """Return what the frames are, by the stream's word and the user's, who knows better."""
    if isinstance(reader, Y4mReader):
        header = reader.header.told(color_range=options.color_range, chroma_location=options.chroma_location)
        return header, header.color(options.matrix)
    color = reader.header.color
    known = {
        "matrix": None if color.matrix is Matrix.RGB else options.matrix,
        "range": options.color_range,
        "chroma_location": options.chroma_location,
    }
    given = {name: value for name, value in known.items() if value is not None}
    color = replace(color, **given, guessed=color.guessed - set(given))  # type: ignore[arg-type]
    return replace(reader.header, color=color), color


def _open_output(
    to: Kind,
    parameters: dict[int, bytes],
    header: Y4mHeader | NutHeader,
    color: ColorInfo,
    way: Way,
    target: Output,
    warn: Callable[[str], None],
) -> Y4mWriter | NutWriter:
    size, aspect = way.target.size, way.target.sample_aspect_ratio
    width, height = size
    if to == "y4m":
        if isinstance(header, Y4mHeader):
            return Y4mWriter(target, header.resized(size, aspect), parameters)
        plain = make_header(header.pixel_format, size, color, rate=header.rate, aspect=aspect)
        return _Untimed(target, plain, header.time_base, warn)
    if isinstance(header, NutHeader):
        return NutWriter(target, replace(header, width=width, height=height, aspect=aspect))
    if header.rate is None:
        warn("the Y4M header says no frame rate: times are made for 25 a second")
    if color.range is not complete_color(header.pixel_format, way.size).range:
        warn(f"NUT has no place for the range, {color.range}: tell it to whoever reads it")
    rate = header.rate or Fraction(25)
    return NutWriter(target, NutHeader(width, height, header.pixel_format, color, rate, aspect, 1 / rate))


def _open_network(job: Job, way: Way) -> Reuse:
    return with_reuse(lambda tile: open_way(way if tile is None else replace(way, tile=tile)), job.reuse)


class _Untimed(Y4mWriter):
    """A Y4M stream of frames that had times."""

    def __init__(
        self, target: Output, header: Y4mHeader, time_base: Fraction, warn: Callable[[str], None]
    ) -> None:
        super().__init__(target, header)
        self._ticks = 1 / (header.rate or 25) / time_base
        self._warn: Callable[[str], None] | None = warn
        self._first: int | None = None
        self._count = 0

    def write(self, out: Raw) -> None:
        self._first = out.pts if self._first is None else self._first
        off = abs(out.pts - self._first - self._count * self._ticks)
        if self._warn is not None and off > self._ticks / 2:
            self._warn(
                "frames do not come at an even rate, and Y4M has no times: they are lost; --to nut keeps them"
            )
            self._warn = None
        self._count += 1
        super().write(out)
