"""``vidsr models``: what there is to choose from, and how more comes in."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from vidsr.cli.quantise import quantise
from vidsr.cli.train import import_torch
from vidsr.errors import OptionsError

__all__ = ["app"]

app = typer.Typer(help="List, describe, import and quantise models.", no_args_is_help=True)
app.command()(quantise)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the models that --model takes, with their size, speed and quality.

    kMAC/px: thousands of multiplications a low-resolution pixel, counted in
    the network's file. The speed follows from that number alone: "real time"
    up to 12.5 (25 frames of 960x540 a second on two cores with bf16), "fast"
    up to 25, "slow" up to 125, "very slow" above.

    int8: whether --precision int8 and --fast have a file of the model.

    Set5, Set14: PSNR-Y in dB by the card, of unrounded luma.
    """
    from vidsr.cli.listing import entry_of, table, terminal_width
    from vidsr.models.lookup import list_models

    found = [entry_of(model) for model in list_models()]
    if as_json:
        typer.echo(json.dumps([entry.to_mapping() for entry in found], indent=1))
        return
    typer.echo(table(found, terminal_width()))
    typer.echo("* what --model NETWORK takes at that scale; 'vidsr models show NAME' tells more")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A network, a model's name, or a file.onnx.")],
    scale: Annotated[int, typer.Option("-s", "--scale", help="Scale, where the name leaves it open.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Print a model's card, and check its file against it."""
    from vidsr import records
    from vidsr.models.lookup import find_model

    prefix = name.partition("x-")[0]
    model = find_model(name, int(prefix) if prefix.isdecimal() else _own_scale(name, scale))
    _ = model.proto
    if as_json:
        typer.echo(json.dumps(records.to_mapping(model.spec), indent=1))
    else:
        typer.echo(f"# {model.path}\n{records.dump(model.spec)}".rstrip())


@app.command("import")
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(help="A .pth file of a network that vidsr knows: ECBSR, RFDN, IMDN.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the .onnx and .toml.")] = Path(),
    name: Annotated[
        str, typer.Option(metavar="VARIANT", help="Last part of the model's name. Default: its sizes.")
    ] = "",
    value_range: Annotated[
        str,
        typer.Option(
            "--range",
            help="Largest value that the checkpoint works on: 1, 255, or auto: as its authors published it.",
        ),
    ] = "auto",
    license_: Annotated[
        str, typer.Option("--license", metavar="SPDX", help="Licence of the weights, for the card.")
    ] = "",
    kind: Annotated[str, typer.Option(help="What it was trained for: clean or video.")] = "clean",
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", help="Replace a model of the same name.")
    ] = False,
) -> None:
    """Make a model of somebody's checkpoint, without running anything in it. Needs the extra 'train'.

    The network is told from names and shapes. The range matters: a wrong one costs 6 to 13 dB, silently.
    """
    ranges = {"auto": None, "1": 1, "255": 255}
    if value_range not in ranges:
        raise OptionsError(f"--range takes auto, 1, 255, not '{value_range}'")
    if kind not in ("clean", "video"):
        raise OptionsError(f"--kind takes clean, video, not '{kind}'")
    import_torch()
    from vidsr.networks.imported import ImportOptions, import_checkpoint

    made = import_checkpoint(
        checkpoint,
        output,
        ImportOptions(
            name=name,
            value_range=ranges[value_range],  # type: ignore[arg-type]
            license=license_,
            kind=kind,  # type: ignore[arg-type]
            overwrite=overwrite,
        ),
    )
    typer.echo(made.card)
    typer.echo(f"{made.spec.id}: {made.spec.description}, {made.weights} weights")
    typer.echo(f"{made.range_reason}" + ("; --range says otherwise" if value_range == "auto" else ""))
    scale = made.spec.scale if made.spec.input == "low" else 1.5
    typer.echo(f"use it: vidsr upscale clip.mp4 --scale {scale} --model {shlex.quote(str(made.model))}")


def _own_scale(name: str, scale: int) -> int:
    """Return a file's own scale: whoever names a file need not know it."""
    if not name.lower().endswith(".onnx") or not Path(name).is_file():
        return scale
    from vidsr.models.lookup import spec_of_file

    return spec_of_file(Path(name)).scale
