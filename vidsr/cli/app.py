"""The verbs of the command line."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from vidsr.cli import (
    batch,
    bench,
    clean,
    doctor,
    engines,
    evaluate,
    export,
    models,
    pipe,
    preview,
    probe,
    train,
    upscale,
)

__all__ = ["app"]

app = typer.Typer(
    name="vidsr",
    help="Video super-resolution: larger, sharper video with its sound, subtitles and times.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("upscale")(upscale.upscale)
app.add_typer(batch.app, name="batch")
app.command("pipe")(pipe.pipe)
app.command("preview")(preview.preview)
app.command("probe")(probe.probe)
app.add_typer(models.app, name="models")
app.add_typer(engines.app, name="engines")
app.command("evaluate")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("train")(train.train)
app.command("export")(export.export)
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"vidsr {version('vidsr')}")
        raise typer.Exit


@app.callback()
def _options(
    log_level: Annotated[
        str, typer.Option(help="How much to log on stderr: debug, info, warning or error.")
    ] = "warning",
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        raise typer.BadParameter(f"'{log_level}' is not debug, info, warning or error")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
