"""``vidsr export``: from a training run to a model that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.train import import_torch

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, as 'vidsr train' left it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the .onnx and .toml.")],
    default: Annotated[
        bool,
        typer.Option("--default", help="Let --model NETWORK mean this model, even if the recipe does not."),
    ] = False,
) -> None:
    """Fold a trained network into an interchange file with its card. Needs the extra 'train'."""
    import_torch()
    from vidsr.training.publish import publish

    typer.echo(publish(run, output, default=default))
