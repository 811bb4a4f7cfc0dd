"""``vidsr models quantise``: an int8 file, calibrated, measured, and offered only if it loses little."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.cli.train import import_torch
from vidsr.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidsr.evaluation.gate import Loss

__all__ = ["quantise"]


def quantise(
    name: Annotated[str, typer.Argument(help="A model's name, such as 2x-ecbsr-m4c16, or a file.onnx.")],
    data: Annotated[
        Path, typer.Option(help="The folder that the card's training folders and the evaluation are in.")
    ],
    steps: Annotated[
        int,
        typer.Option(help="Of fine-tuning, where calibration alone loses too much; needs the extra 'train'."),
    ] = 2000,
    without: Annotated[
        list[str],
        typer.Option(
            help="A training folder not to calibrate on, as the card names it: drawings are wider in range"
            " than photographs and cost them precision. Several times: several."
        ),
    ] = [],  # noqa: B006 - typer copies it
    write: Annotated[
        bool,
        typer.Option("--write", help="Put the file beside the model, and its figures in the card."),
    ] = False,
) -> None:
    """Make a model's int8 file, and measure what it loses.

    It is calibrated on the pictures that the model was trained on, and measured
    on Set5, Set14 and five clips. If any of them loses more than 0.1 dB against
    f32, it is fine-tuned with simulated rounding and measured again; if that
    does not help, nothing is written and the command fails.
    """
    from tempfile import TemporaryDirectory

    from vidsr.evaluation.calibration import calibrated, cut_patches, training_folders
    from vidsr.evaluation.cards import check_card
    from vidsr.evaluation.gate import MOST_LOST, measured, passes
    from vidsr.evaluation.offering import offer, staged
    from vidsr.models.lookup import named_model

    model = named_model(name)
    if model is None:
        raise OptionsError(f"no model is called '{name}'", hint="'vidsr models list' tells the names")
    if (model.spec.channels, model.spec.input) != (1, "low"):
        raise OptionsError(f"{model.spec.id} is not a network for luma", hint="those can be quantised")
    if write:
        check_card(model)
    patches = cut_patches(training_folders(model, data, without), model.spec.scale)
    quantised = calibrated(model.proto, patches.some(192))
    with TemporaryDirectory() as staging:
        made = staged(model, quantised.graph, Path(staging))
        losses = measured(model, made, data)
        typer.echo(_told("calibrated", losses))
        if not passes(losses) and steps:
            import_torch()
            from vidsr.training.quantise import fine_tuned

            tuned = fine_tuned(quantised, model.proto, patches, steps=steps)
            made = staged(model, tuned.graph, Path(staging))
            losses = measured(model, made, data)
            typer.echo(_told(f"fine-tuned, {steps} steps", losses))
        if not passes(losses):
            failed = ", ".join(f"{x.name} {x.lost:.3f}" for x in losses if not passes([x]))
            typer.echo(f"not offered: more than {MOST_LOST} dB lost on {failed}", err=True)
            raise typer.Exit(1)
        if write:
            typer.echo(offer(model, made, losses))


def _told(how: str, losses: Sequence[Loss]) -> str:
    wide = max(len(loss.name) for loss in losses)
    lines = [f"{how}: PSNR-Y in dB", f"{'':{wide}}     f32    int8    lost"]
    lines += [f"{x.name:{wide}}  {x.f32:6.3f}  {x.int8:6.3f}  {x.lost:6.3f}" for x in losses]
    return "\n".join(lines)
