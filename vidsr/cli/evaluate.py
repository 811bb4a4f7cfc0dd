"""``vidsr evaluate``: models' figures on folders of pictures and on compressed clips."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.errors import OptionsError, OutputError

if TYPE_CHECKING:
    from vidsr.evaluation.results import Results
    from vidsr.evaluation.scores import Coding
    from vidsr.frame import VideoInfo

__all__ = ["evaluate", "measuring_bar"]

_CLIPS = "Clips"
_OUT = "Results"


def evaluate(
    sources: Annotated[
        list[Path], typer.Argument(help="Folders of high-resolution pictures, clips, and folders of clips.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            help="A network, a name, a file.onnx, or auto; several times: several. Default: ecbsr.",
        ),
    ] = None,
    scale: Annotated[int, typer.Option("-s", "--scale", help="How many times larger.")] = 2,
    backend: Annotated[str, typer.Option(help="auto, or one that 'vidsr doctor' lists.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="auto, f32, bf16, f16 or int8. Default: f32 for pictures, auto for clips."),
    ] = None,
    tile: Annotated[str, typer.Option(help="auto, 0 (whole frames) or a tile's side in pixels.")] = "auto",
    crf: Annotated[
        str, typer.Option(help="Qualities to compress at; none: not at all.", rich_help_panel=_CLIPS)
    ] = "none,18,23,28,33",
    codec: Annotated[
        str,
        typer.Option("-c", "--codec", help="An encoder: libx264, libx265, ...", rich_help_panel=_CLIPS),
    ] = "libx264",
    preset: Annotated[
        str | None,
        typer.Option(help="The encoder's. Default: medium for x264 and x265.", rich_help_panel=_CLIPS),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Only so many of each clip.", rich_help_panel=_CLIPS)
    ] = None,
    every: Annotated[int, typer.Option(help="SSIM: one frame of so many.", rich_help_panel=_CLIPS)] = 4,
    vmaf: Annotated[
        bool, typer.Option("--vmaf", help="VMAF as well; needs vidsr[vmaf].", rich_help_panel=_CLIPS)
    ] = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="No progress bar.", rich_help_panel=_CLIPS)
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="An HTML file with tables, curves and crops.", rich_help_panel=_OUT),
    ] = None,
    write_card: Annotated[
        bool,
        typer.Option("--write-card", help="Note the figures in the models' cards.", rich_help_panel=_OUT),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.", rich_help_panel=_OUT)] = False,
) -> None:
    """Measure models on pictures and on compressed clips, on luma.

    Pictures, by the protocol of the published tables: PSNR and SSIM; 'float' is unrounded luma in and out,
    as published; 'planes' is integer luma in and out, as in video.

    Clips: each is shrunk, coded, decoded, enlarged by every model, by bicubic and by Lanczos, and compared
    with what it was: PSNR, SSIM, XPSNR, VMAF, bits, and a verdict on each model. '-m auto': the models
    that auto chooses from, and its choice.
    """
    from vidsr.backends import choose_backend
    from vidsr.evaluation.cards import check_card
    from vidsr.evaluation.results import Results
    from vidsr.evaluation.scores import Coding
    from vidsr.evaluation.sources import name_models, parse_crfs, sort_sources
    from vidsr.video.probe import probe

    if precision not in (None, "auto", "f32", "bf16", "f16", "int8"):
        raise OptionsError(f"--precision takes auto, f32, bf16, f16, int8, not '{precision}'")
    if tile != "auto" and not tile.isdecimal():
        raise OptionsError(f"--tile takes auto, 0 or a size in pixels, not '{tile}'")
    if preset is None and codec in ("libx264", "libx265"):
        preset = "medium"
    crfs = parse_crfs(crf)
    coding = Coding(scale=scale, crfs=crfs, codec=codec, preset=preset, frames=frames, every=every, vmaf=vmaf)
    folders, clips = sort_sources(sources)
    infos = [probe(clip) for clip in clips]
    _check_extras(report, vmaf=vmaf and bool(clips))
    models, automatic = name_models(model or ["ecbsr"], scale)
    if precision == "int8":
        models = {name: found.at("int8") for name, found in models.items()}
    if write_card:
        for found in models.values():
            check_card(found)
    results = Results(models, coding, automatic, keep_crops=report is not None)
    chosen, _ = choose_backend(backend)
    with measuring_bar(infos, coding, hidden=no_progress) as progress:
        results.measure(
            folders,
            infos,
            chosen,
            precision=precision,  # type: ignore[arg-type]
            tile=tile,
            progress=progress,
        )
    typer.echo(json.dumps(results.to_mapping(), indent=1) if as_json else _told(results))
    if report is not None:
        from vidsr.evaluation.report import write_report

        write_report(results, report)
    if write_card:
        for card in results.write_cards():
            typer.echo(card, err=as_json)


def _check_extras(report: Path | None, *, vmaf: bool) -> None:
    """Refuse before an hour's work what could not be done after it."""
    from vidsr.evaluation.plots import check_plots
    from vidsr.evaluation.vmaf import check_vmaf

    if vmaf:
        check_vmaf()
    if report is not None:
        check_plots()
        if not report.parent.is_dir():
            raise OutputError("there is no such folder", path=report.parent, hint="make it first")
        if report.is_dir():
            raise OptionsError("this is a folder", path=report, hint="name a file, such as report.html")


@contextmanager
def measuring_bar(
    clips: Sequence[VideoInfo], coding: Coding, *, hidden: bool
) -> Iterator[Callable[[str, int], object]]:
    """Show a progress bar on stderr, on something that is no terminal a line every ten seconds.

    Yields:
        What is to be told a clip's name and the number of its frames measured since the last call.
    """
    from tqdm import tqdm

    most = coding.frames or 1 << 30
    with tqdm(
        total=sum(min(info.estimated_frames or 0, most) for info in clips) * len(coding.crfs),
        unit=" frames",
        disable=hidden or not clips,
        leave=False,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        dynamic_ncols=True,
    ) as bar:

        def progress(name: str, frames: int) -> None:
            bar.set_description_str(name, refresh=False)
            bar.update(frames)

        yield progress


def _told(results: Results) -> str:
    from vidsr.evaluation.tables import (
        auto_table,
        clip_table,
        describe_coding,
        gain_table,
        markdown,
        mean_clip,
        picture_table,
    )
    from vidsr.evaluation.verdicts import judge, judge_auto

    blocks = []
    for name, scores in results.pictures.items():
        title = f"## {name}, {results.coding.scale}x: PSNR-Y in dB / SSIM-Y"
        blocks += [title, markdown(picture_table(scores))]
    clips = results.clips
    if clips:
        blocks.append(f"## Clips\n\nEach was {describe_coding(results.coding)}.")
    for clip in clips:
        width, height = clip.size
        title = f"### {clip.name}, {width}x{height}, {clip.frames} frames"
        blocks += [title, markdown(clip_table(clip))]
    if len(clips) > 1:
        mean = mean_clip(clips)
        blocks += [f"### {mean.name}", markdown(clip_table(mean))]
    for verdict in judge(clips, list(results.models)):
        title = f"### {verdict.model}: dB of PSNR-Y over the better of bicubic and Lanczos"
        blocks += [title, markdown(gain_table(clips, verdict.model)), str(verdict)]
    if auto := judge_auto(clips, results.automatic):
        blocks += ["### What auto takes", markdown(auto_table(auto)), str(auto)]
    return "\n\n".join(blocks)
