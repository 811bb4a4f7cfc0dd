"""``vidsr upscale``: one file."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from vidsr.cli.job_options import JOB_OPTIONS, job_fields
from vidsr.cli.outcome import told
from vidsr.cli.progress import ProgressBar
from vidsr.job import DEFAULT_SCALE, Job

__all__ = ["upscale"]

_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Job)}
_MODEL = "Model"
_VIDEO = "Encoding"
_PART = "Part of the source"
_RUN = "Running"


def upscale(
    source: Annotated[str, typer.Argument(help="A video, a picture, or a pattern like shot_%04d.png.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The result: .mp4 .mkv .mov .webm, a picture, out_%04d.png, or null: to measure only."
            " Default: beside the source, clip_2x.mp4, .mkv or .mov.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            help="auto (ecbsr, by how the source was compressed), a network, a model's name, or a file.onnx.",
            rich_help_panel=_MODEL,
        ),
    ] = _DEFAULTS["model"],
    scale: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--scale",
            help=f"How many times larger: 2, 1.5, 3/2. Default: {DEFAULT_SCALE}.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Instead of --scale, as it is shown: 1920x1080, 1920x or x1080.", rich_help_panel=_MODEL
        ),
    ] = None,
    model_range: Annotated[
        int | None,
        typer.Option(help="For a file.onnx without a card: 1 or 255 for white.", rich_help_panel=_MODEL),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="auto, or one that 'vidsr doctor' lists.", rich_help_panel=_MODEL)
    ] = _DEFAULTS["backend"],
    device: Annotated[
        str,
        typer.Option(
            "-d",
            "--device",
            help="The backend's device; of kernel a set of instructions: avx2, ...",
            rich_help_panel=_MODEL,
        ),
    ] = _DEFAULTS["device"],
    precision: Annotated[
        str,
        typer.Option(help="auto (f16 on GPUs, bf16 or f32), f32, bf16, f16 or int8.", rich_help_panel=_MODEL),
    ] = _DEFAULTS["precision"],
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="int8 where the model offers it: up to 0.1 dB lost.", rich_help_panel=_MODEL
        ),
    ] = False,
    tile: Annotated[
        str,
        typer.Option(
            "-t", "--tile", help="Side of a tile in pixels; 0: whole frames; auto.", rich_help_panel=_MODEL
        ),
    ] = _DEFAULTS["tile"],
    chroma: Annotated[
        str, typer.Option(help="How colour is enlarged: bicubic or nearest.", rich_help_panel=_MODEL)
    ] = _DEFAULTS["chroma"],
    deinterlace: Annotated[
        str,
        typer.Option(
            help="auto: frames flagged interlaced; off: none; frame: all; field: all, at twice the rate;"
            " idet: frame or off, by a look at the picture.",
            rich_help_panel=_VIDEO,
        ),
    ] = _DEFAULTS["deinterlace"],
    hwaccel: Annotated[
        str,
        typer.Option(
            help="What decodes: none, the CPU; cuda, an NVIDIA GPU; auto, the GPU where it works. The same"
            " samples; damage within pictures is told by the CPU only.",
            rich_help_panel=_RUN,
        ),
    ] = _DEFAULTS["hwaccel"],
    codec: Annotated[
        str,
        typer.Option(
            "-c",
            "--codec",
            help="An encoder: libx264, hevc, av1, ...; on an NVIDIA GPU h264_nvenc, hevc_nvenc, av1_nvenc.",
            rich_help_panel=_VIDEO,
        ),
    ] = _DEFAULTS["codec"],
    crf: Annotated[
        float | None,
        typer.Option(
            help="Quality; smaller is better. Default: 18 for x264; cq for nvenc.", rich_help_panel=_VIDEO
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="The encoder's speed. Default: medium for x264, p5 (of p1 to p7) for nvenc.",
            rich_help_panel=_VIDEO,
        ),
    ] = None,
    pix_fmt: Annotated[
        str | None, typer.Option(help="Pixel format. Default: the source's.", rich_help_panel=_VIDEO)
    ] = None,
    encoder_option: Annotated[
        list[str] | None,
        typer.Option("-e", help="A further encoder option, key=value.", rich_help_panel=_VIDEO),
    ] = None,
    video_stream: Annotated[
        int | None,
        typer.Option(
            help="Index of the video to enlarge, as 'vidsr probe' lists them. Default: the first.",
            rich_help_panel=_PART,
        ),
    ] = None,
    on_error: Annotated[
        str,
        typer.Option(
            help="Where the source is damaged: stop (what is made so far is kept as .partial), skip what is"
            " damaged, or conceal it.",
            rich_help_panel=_PART,
        ),
    ] = _DEFAULTS["on_error"],
    drop: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out a stream, by its index, or all of a kind: audio, subtitle, attachment, cover,"
            " video (further ones), data.",
            rich_help_panel=_VIDEO,
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Begin here: seconds or H:MM:SS.", rich_help_panel=_PART)
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="Stop here: seconds or H:MM:SS.", rich_help_panel=_PART)
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Stop after so many frames.", rich_help_panel=_PART)
    ] = None,
    threads: Annotated[
        int,
        typer.Option(help="CPU threads for the network; 0: as is fastest.", rich_help_panel=_RUN),
    ] = _DEFAULTS["threads"],
    encoder_threads: Annotated[
        int, typer.Option(help="Threads of the encoder; 0: as is fastest.", rich_help_panel=_RUN)
    ] = _DEFAULTS["encoder_threads"],
    reuse: Annotated[
        str,
        typer.Option(
            help="auto: what equals the last frame is not computed again; off. The result is the same.",
            rich_help_panel=_RUN,
        ),
    ] = _DEFAULTS["reuse"],
    segment_frames: Annotated[
        int,
        typer.Option(help="Least number of frames between points to resume at.", rich_help_panel=_RUN),
    ] = _DEFAULTS["segment_frames"],
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", help="Replace the output.", rich_help_panel=_RUN)
    ] = False,
    discard: Annotated[
        bool,
        typer.Option("--discard", help="Forget an earlier job's unfinished work.", rich_help_panel=_RUN),
    ] = False,
    verify: Annotated[
        str,
        typer.Option(
            help="packets: check count and times of all frames; full: decode all.", rich_help_panel=_RUN
        ),
    ] = _DEFAULTS["verify"],
    allow_network: Annotated[
        bool,
        typer.Option(
            "--allow-network",
            help="Take https://host/clip.mp4 as a source, and open what a playlist refers to.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Try two seconds, tell what would be done and how long it takes; write nothing.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="No progress bar.", rich_help_panel=_RUN)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Enlarge a video or picture; sound, subtitles, chapters, times and tags are kept.

    Interrupted, the same command continues where it was.
    """
    given = {name: value for name, value in locals().items() if name in JOB_OPTIONS}
    job = Job(source=source, output=output, **job_fields(given))
    if plan:
        _print_plan(job, as_json=as_json)
        return
    from vidsr.pipeline import run

    with ProgressBar(hidden=no_progress) as bar:
        report = run(job, progress=bar.show)
    if as_json:
        from vidsr import records

        typer.echo(json.dumps(records.to_mapping(report), indent=1))
    else:
        typer.echo(told(report))


def _print_plan(job: Job, *, as_json: bool) -> None:
    """Print what a job would do; in JSON with the keys of `vidsr.forecast.Forecast`, all of them always."""
    from vidsr import records
    from vidsr.cli.plan import told as foretold
    from vidsr.forecast import foresee

    forecast = foresee(job)
    typer.echo(
        json.dumps(records.to_mapping(forecast, keep_none=True), indent=1) if as_json else foretold(forecast)
    )
