"""``vidsr models``: what there is to choose from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="List and describe models.", no_args_is_help=True)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the models that --model takes, with their size, speed and quality.

    kMAC/px: thousands of multiplications a low-resolution pixel, counted in
    the network's file. The speed follows from that number alone: "real time"
    up to 12.5 (25 frames of 960x540 a second on two cores with bf16), "fast"
    up to 25, "slow" up to 125, "very slow" above.

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


def _own_scale(name: str, scale: int) -> int:
    """Return a file's own scale: whoever names a file need not know it."""
    if not name.lower().endswith(".onnx") or not Path(name).is_file():
        return scale
    from vidsr.models.lookup import spec_of_file

    return spec_of_file(Path(name)).scale
