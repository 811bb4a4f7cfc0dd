"""``vidsr pipe``: video from standard input to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsr.cli.job_options import job_fields, with_options_of
from vidsr.cli.progress import ProgressBar
from vidsr.cli.signals import Terminated
from vidsr.cli.upscale import upscale
from vidsr.errors import OptionsError, one_line
from vidsr.job import AUTO, Job

if TYPE_CHECKING:
    from vidsr.hosts.pipe import PipeOptions

__all__ = ["pipe"]

_BROKEN = 141
"""128 + SIGPIPE, as shells tell of a program whose reader went away: who asks (pipefail) learns that not
all was taken."""
_STREAM = "What the stream does not say"
_RUN = "Running"


@with_options_of(
    upscale,
    "scale size model_range chroma backend device precision fast tile threads reuse".split(),
)
def pipe(
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            help="auto (ecbsr for clean sources), a network, a model's name, or a file.onnx.",
            rich_help_panel="Model",
        ),
    ] = AUTO,
    to: Annotated[str | None, typer.Option(help="y4m or nut. Default: what comes in.")] = None,
    matrix: Annotated[
        str | None,
        typer.Option(
            help="bt601, bt709, bt2020, ... Default: bt709 from 1280 columns or 577 rows on, else bt601.",
            rich_help_panel=_STREAM,
        ),
    ] = None,
    color_range: Annotated[
        str | None,
        typer.Option(
            "--range", help="limited or full. Default: limited, gray full.", rich_help_panel=_STREAM
        ),
    ] = None,
    chroma_location: Annotated[
        str | None,
        typer.Option(help="left, center, topleft, ... Default: left.", rich_help_panel=_STREAM),
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--quiet", help="Default: progress on a terminal, else nothing.", rich_help_panel=_RUN
        ),
    ] = None,
    **options: Any,
) -> None:
    """Enlarge Y4M or NUT from standard input to standard output, frame by frame.

    ffmpeg -i film.mkv -f yuv4mpegpipe -strict -1 - | vidsr pipe | x264 --demuxer y4m -o film.264 -

    Colour, depth, shape and (NUT) times stay. Messages go to stderr. What is damaged, or ends early, exits
    with 1 after all that was whole; when the reader goes away, with 141, as shells have it, without a word.
    """
    job = Job(source="-", **job_fields(options | {"model": model}))
    try:
        raise typer.Exit(
            _run(
                job,
                _options(to, matrix, color_range, chroma_location),
                os.isatty(2) if progress is None else progress,
            )
        )
    except KeyboardInterrupt as error:
        ended = isinstance(error, Terminated)
        _say("terminated" if ended else "interrupted")
        raise typer.Exit(143 if ended else 130) from None


def _options(
    to: str | None, matrix: str | None, color_range: str | None, chroma_location: str | None
) -> PipeOptions:
    from vidsr.frame import ChromaLocation, ColorRange, Matrix
    from vidsr.hosts.pipe import PipeOptions

    matrices = {m.value: m for m in Matrix if m is not Matrix.RGB}
    return PipeOptions(
        to=_one_of("--to", to, {"y4m": "y4m", "nut": "nut"}),
        matrix=_one_of("--matrix", matrix, matrices),
        color_range=_one_of("--range", color_range, {r.value: r for r in ColorRange}),
        chroma_location=_one_of("--chroma-location", chroma_location, {c.value: c for c in ChromaLocation}),
    )


def _one_of(option: str, text: str | None, choices: Mapping[str, Any]) -> Any:
    if text is not None and text not in choices:
        raise OptionsError(f"{option} takes {', '.join(choices)}, not '{text}'")
    return None if text is None else choices[text]


def _run(job: Job, options: PipeOptions, shown: bool) -> int:
    from vidsr.hosts.pipe import EXAMPLE, run_pipe
    from vidsr.hosts.standard import Input, Output
    from vidsr.pipeline import Progress

    for number, what in enumerate(("input", "output")):
        if os.isatty(number):
            raise OptionsError(f"standard {what} is a terminal, and frames go through it", hint=EXAMPLE)
    # Frames get the output for themselves: whatever a library prints there goes to stderr from now on.
    frames = os.dup(1)
    os.dup2(2, 1)
    target = Output(frames)
    try:
        with ProgressBar(hidden=not shown) as bar:
            report = run_pipe(
                job,
                options,
                Input(0),
                target,
                progress=lambda done: bar.show(Progress(done, 0, None, "frames")),
                warn=lambda text: _say(f"warning: {text}"),
            )
    except BrokenPipeError:
        if not target.closed_early:
            raise
        return _BROKEN
    finally:
        os.close(frames)
    if shown:
        _say(str(report))
    return 0


def _say(text: str) -> None:
    with suppress(OSError):  # nobody listens
        print(f"vidsr: {one_line(text)}", file=sys.stderr, flush=True)  # noqa: T201
