"""``vidsr train``: one recipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.errors import OptionsError, TrainingError

if TYPE_CHECKING:
    from vidsr.training.loop import Progress
    from vidsr.training.recipe import Recipe

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as those in vidsr/training/recipes.")],
    data: Annotated[Path, typer.Option(help="The folder that the recipe's folders are in.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Where checkpoint and curve go. Default: runs/RECIPE, or runs/RECIPE-BLOCK."),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(help="ECBSR's blocks, instead of the recipe's: ecb, plain, repvgg, acb or dbb."),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where degraded pictures are kept.")] = Path("runs/cache"),
    steps: Annotated[
        int | None, typer.Option(help="Stop after this step; the schedule stays the recipe's.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores.")] = 0,
    processes: Annotated[
        int, typer.Option(help="Processes that share each batch, one a GPU; on a CPU one is best.")
    ] = 1,
    publish: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Then measure the model on what the recipe's table 'evaluation' names, and put it, with the"
            " figures in its card, into this folder.",
        ),
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only degrade the pictures, and tell where they are kept.")
    ] = False,
) -> None:
    """Train a network, or go on with an interrupted run. Needs the extra 'train'.

    Leaves checkpoint.pt, history.csv and curve.png. Of a finished run, --publish
    makes a model with measured figures; 'vidsr export' makes one without, of
    any run.
    """
    from vidsr.training.recipe import Recipe

    plan = Recipe.load(recipe)
    if block is not None:
        plan = plan.with_block(block)
    if prepare:
        if publish is not None:
            raise OptionsError("--prepare trains nothing, so there is nothing to --publish")
        _prepare(plan, data, cache)
        return
    if publish is not None and steps is not None and steps < plan.optimizer.steps:
        raise OptionsError(
            f"--steps {steps} ends before the recipe's {plan.optimizer.steps}: what is not finished is not"
            " published",
            hint="leave out --steps or --publish",
        )
    import_torch()
    import torch

    from vidsr.cores import usable_cores

    torch.set_num_threads(threads or usable_cores())
    leads = os.environ.get("RANK", "0") == "0"  # of the processes that were launched
    measurement = None
    if publish is not None and leads:
        from vidsr.training.measure import plan_measurement

        measurement = plan_measurement(plan, data, publish)
    if processes > 1 and "RANK" not in os.environ:
        from vidsr.training.distributed import launch

        raise typer.Exit(launch([sys.executable, "-m", "vidsr", *sys.argv[1:]], processes))
    folder = run or Path("runs") / "-".join([recipe.stem, block] if block else [recipe.stem])
    made = _train(plan, data, folder, cache, steps, shown=leads)
    if leads:
        typer.echo(made)
    if publish is not None and measurement is not None:
        from vidsr.cli.evaluate import measuring_bar
        from vidsr.training.measure import publish_measured

        with measuring_bar(measurement.clips, measurement.coding, hidden=False) as progress:
            card = publish_measured(folder, plan, measurement, publish, progress=progress)
        typer.echo(card)


def _train(plan: Recipe, data: Path, folder: Path, cache: Path, steps: int | None, *, shown: bool) -> Path:
    """Train with a progress bar; return the checkpoint."""
    from tqdm import tqdm

    from vidsr.training.loop import train as train_network
    from vidsr.training.optim import LOSSES
    from vidsr.training.run import steps_done

    unit = LOSSES[plan.optimizer.loss].unit
    with tqdm(
        total=plan.optimizer.steps,
        initial=steps_done(folder, plan),
        unit=" steps",
        smoothing=0.05,
        dynamic_ncols=True,
        disable=not shown,
    ) as bar:

        def report(progress: Progress) -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix_str(f"loss {progress.loss:.3f} {unit}")
            if progress.psnr is not None:
                bar.write(f"step {progress.step}: {progress.psnr:.3f} dB on the validation pictures")

        return train_network(
            plan, data, folder, cache=cache, steps=steps, report=report, say=bar.set_postfix_str
        )


def _prepare(plan: Recipe, data: Path, cache: Path) -> None:
    """Fill the store of patches, and print its folder and size."""
    from tqdm import tqdm

    from vidsr.training.data import prepare

    with tqdm(bar_format="{desc}", leave=False) as line:
        store = prepare(plan, data, cache, report=line.set_description_str)
    typer.echo(
        f"{store.folder}: {store.bytes / 1e6:.1f} MB, {len(store.sizes)} pictures,"
        f" {store.megapixels:.1f} megapixels"
    )


def import_torch() -> None:
    """Import torch, or say how to get it.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise TrainingError("torch is not installed", hint="pip install 'vidsr[train]'") from error
