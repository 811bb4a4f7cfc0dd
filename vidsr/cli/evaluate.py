"""``vidsr evaluate``: a model's figures on folders of pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vidsr.errors import OptionsError

__all__ = ["evaluate"]


def evaluate(
    folders: Annotated[list[Path], typer.Argument(help="Folders of high-resolution pictures.")],
    model: Annotated[str, typer.Option("-m", "--model", help="A network, a name or a file.onnx.")] = "ecbsr",
    scale: Annotated[int, typer.Option("-s", "--scale", help="How many times larger.")] = 2,
    precision: Annotated[str, typer.Option(help="auto, f32 or bf16.")] = "f32",
    write_card: Annotated[
        bool, typer.Option("--write-card", help="Note the means in the model's card.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Measure PSNR and SSIM on luma by the protocol of the published tables.

    'float' is unrounded luma in and out, as published; 'planes' is integer luma in and out, as in video.
    """
    from dataclasses import asdict

    from vidsr.backends import choose_backend
    from vidsr.backends.base import SessionOptions
    from vidsr.backends.openvino import run_interchange
    from vidsr.evaluation.pictures import evaluate_pictures, mean_scores
    from vidsr.models.lookup import find_model
    from vidsr.upscaler import UpscalerOptions

    if precision not in ("auto", "f32", "bf16"):
        raise OptionsError(f"--precision takes auto, f32, bf16, not '{precision}'")
    found = find_model(model, scale)
    backend, _ = choose_backend("openvino")
    options = UpscalerOptions(session=SessionOptions(precision=precision))  # type: ignore[arg-type]
    results = {}
    for folder in folders:
        name = folder.parent.name if folder.name.lower() == "hr" else folder.name
        scores = evaluate_pictures(found, folder, backend, options, run_interchange)
        results[name] = [*scores, mean_scores(scores, "mean")]
    if as_json:
        typer.echo(json.dumps({k: [asdict(s) for s in v] for k, v in results.items()}, indent=1))
    else:
        for name, rows in results.items():
            typer.echo(f"{found.spec.id} on {name}, {scale}x")
            typer.echo(f"  {'picture':16} bicubic   float   ssim   planes")
            for row in rows:
                typer.echo(
                    f"  {row.picture:16} {row.psnr_y_bicubic:7.3f} {row.psnr_y_float:7.3f}"
                    f" {row.ssim_y_float:6.4f} {row.psnr_y_planes:8.3f}"
                )
    if write_card:
        from vidsr.evaluation.cards import note_quality

        means = {name: rows[-1] for name, rows in results.items()}
        typer.echo(note_quality(found, means))
