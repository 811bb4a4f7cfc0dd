"""``vidsr bench``: how fast networks and the whole pipeline are here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsr.errors import OptionsError
from vidsr.job import MAX_SCALE, MAX_THREADS, Job, parse_size

if TYPE_CHECKING:
    from vidsr.benching.results import NetworkReport, PipelineReport

__all__ = ["bench"]

_PIPELINE = "The whole pipeline"
_RUN = "Running"
_SIZE = "960x540"
_SECONDS = 3.0
_ROUNDS, _PIPELINE_ROUNDS = 7, 3
_FRAMES = 240
_REFRESH = 0.5  # seconds between two looks of the bar at the same thing


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="A network, a model's name, or a file.onnx. Default: ecbsr's."),
    ] = None,
    scale: Annotated[
        int | None, typer.Option("-s", "--scale", help="Where a name leaves it open. Default: 2.")
    ] = None,
    size: Annotated[str | None, typer.Option(help=f"Of the frames. Default: {_SIZE}.")] = None,
    pixel_format: Annotated[
        str | None,
        typer.Option("--format", help="Of the frames: yuv420p10le, gbrp, gray, ... Default: yuv420p."),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="One that 'vidsr doctor' lists; several times: several. Default: those of auto."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="f32, bf16, ...; several times: several. Default: all that a backend has."),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "-d", "--device", help="The backend's device; of kernel a set of instructions: avx2, ..."
        ),
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads for the network; 0: all cores.")] = 0,
    seconds: Annotated[
        float | None,
        typer.Option(
            help=f"How long each combination is timed, all rounds together. Default: {_SECONDS:g}.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help=f"In each, every combination has a turn. Default: {_ROUNDS}; {_PIPELINE_ROUNDS} of a clip.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    no_memory: Annotated[
        bool,
        typer.Option(
            "--no-memory", help="Do not measure memory, which takes a process each.", rich_help_panel=_RUN
        ),
    ] = False,
    pipeline: Annotated[
        str | None,
        typer.Option(
            metavar="CLIP",
            help="Instead of networks: decode, enlarge and encode this clip, and tell what each stage did.",
            rich_help_panel=_PIPELINE,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help=f"Of the clip, at most. Default: {_FRAMES}.", rich_help_panel=_PIPELINE),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option("-c", "--codec", help="As for 'vidsr upscale'.", rich_help_panel=_PIPELINE),
    ] = None,
    crf: Annotated[
        float | None, typer.Option(help="As for 'vidsr upscale'.", rich_help_panel=_PIPELINE)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="As for 'vidsr upscale'.", rich_help_panel=_PIPELINE)
    ] = None,
    encoder_option: Annotated[
        list[str] | None,
        typer.Option("-e", help="A further encoder option, key=value.", rich_help_panel=_PIPELINE),
    ] = None,
    encoder_threads: Annotated[
        int | None,
        typer.Option(help="Threads of the encoder. Default: all cores.", rich_help_panel=_PIPELINE),
    ] = None,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="No progress bar.", rich_help_panel=_RUN)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.", rich_help_panel=_RUN)] = False,
) -> None:
    """Measure how fast networks are here, beside what the processor itself can do.

    Every model runs on every backend in every precision, in turns, on frames
    with noise in them; what cannot be done is listed with the reason.

    With --pipeline the whole way of a clip is measured instead, without encoding
    and with it; no file is left.
    """
    _check(scale, threads, seconds, rounds, precision or [])
    networks_only = {"--size": size, "--format": pixel_format, "--seconds": seconds, "--no-memory": no_memory}
    encoding = {
        "frames": frames,
        "codec": codec,
        "crf": crf,
        "preset": preset,
        "encoder_option": encoder_option or None,
        "encoder_threads": encoder_threads,
    }
    common = {"scale": scale, "device": device, "threads": threads}
    with _bar(hidden=no_progress) as progress:
        if pipeline is None:
            _refuse({_option(name): value for name, value in encoding.items()}, "needs --pipeline CLIP")
            wanted = {
                "models": models or [],
                "size": _size(size or _SIZE),
                "pixel_format": pixel_format or "yuv420p",
                "backends": backend or [],
                "precisions": precision or [],
                "seconds": seconds or _SECONDS,
                "rounds": rounds or _ROUNDS,
                "memory": not no_memory,
                **common,
                "scale": scale or 2,
            }
            report: NetworkReport | PipelineReport = _networks(wanted, progress)
        else:
            _refuse(networks_only, "is not for --pipeline: a clip is what it is, and runs to its end")
            single = {
                "model": _one("model", models),
                "backend": _one("--backend", backend),
                "precision": _one("--precision", precision),
            }
            given = common | single | encoding | {"frames": _FRAMES if frames is None else frames}
            report = _clip(pipeline, given, rounds or _PIPELINE_ROUNDS, progress)
    _print(report, as_json=as_json)


def _networks(wanted: dict[str, Any], progress: Callable[[str, float], None]) -> NetworkReport:
    from vidsr.benching.networks import Wanted, measure_networks

    return measure_networks(Wanted(**wanted), progress=progress)


def _clip(
    source: str, given: dict[str, Any], rounds: int, progress: Callable[[str, float], None]
) -> PipelineReport:
    from vidsr.benching.passages import measure_pipeline
    from vidsr.cli.job_options import job_fields

    scale = None if given["scale"] is None else str(given["scale"])
    return measure_pipeline(
        Job(source=source, **job_fields(given | {"scale": scale})), rounds, progress=progress
    )


def _print(report: NetworkReport | PipelineReport, *, as_json: bool) -> None:
    from vidsr import records
    from vidsr.benching.results import NetworkReport
    from vidsr.cli.bench_tables import networks_told, pipeline_told
    from vidsr.cli.listing import terminal_width

    if as_json:
        typer.echo(json.dumps(records.to_mapping(report, keep_none=True), indent=1))
    elif isinstance(report, NetworkReport):
        typer.echo(networks_told(report, terminal_width()))
    else:
        typer.echo(pipeline_told(report, terminal_width()))
    if isinstance(report, NetworkReport) and all(row.refused is not None for row in report.rows):
        raise typer.Exit(1)


def _check(
    scale: int | None, threads: int, seconds: float | None, rounds: int | None, precisions: list[str]
) -> None:
    from typing import get_args

    from vidsr.backends.base import Precision

    if scale is not None and not 1 <= scale <= MAX_SCALE:
        raise OptionsError(f"--scale must be 1 to {MAX_SCALE}, not {scale}")
    if not 0 <= threads <= MAX_THREADS:
        raise OptionsError(f"--threads must be 0 to {MAX_THREADS}, not {threads}")
    if rounds is not None and not 1 <= rounds <= 1000:
        raise OptionsError(f"--rounds must be 1 to 1000, not {rounds}")
    if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= 3600):
        raise OptionsError(f"--seconds must be more than 0 and at most 3600, not {seconds:g}")
    for one in precisions:
        if one not in get_args(Precision):
            raise OptionsError(f"--precision takes {', '.join(get_args(Precision))}, not '{one}'")


def _size(text: str) -> tuple[int, int]:
    width, height = parse_size(text)
    if width is None or height is None:
        raise OptionsError(f"--size needs both sides here, not '{text}'", hint=f"write {_SIZE}")
    return width, height


def _option(name: str) -> str:
    return "-e" if name == "encoder_option" else f"--{name.replace('_', '-')}"


def _refuse(given: dict[str, Any], why: str) -> None:
    for option, value in given.items():
        if value is not None and value is not False:
            raise OptionsError(f"{option} {why}", hint="leave it out")


def _one(what: str, given: list[str] | None) -> str:
    if given and len(given) > 1:
        raise OptionsError(
            f"--pipeline takes one {what}, not {len(given)}", hint="measure one after the other"
        )
    return given[0] if given else "auto"


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield what to call with what comes next and the share that is done; a bar where there is a terminal."""
    from tqdm import tqdm

    bar = tqdm(
        total=1.0,
        bar_format="{percentage:3.0f}% |{bar:20}| {elapsed}  {desc}",
        dynamic_ncols=True,
        leave=False,
        disable=True if hidden else None,
    )
    with bar:
        shown, last = 0.0, ""

        def show(what: str, share: float) -> None:
            nonlocal shown, last
            if what == last and monotonic() - shown < _REFRESH:
                return  # what is measured must not wait for a terminal
            shown, last = monotonic(), what
            bar.set_description_str(what, refresh=False)
            bar.n = min(1.0, share)
            bar.refresh()

        yield show
