"""``vidsr train``: one recipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsr.errors import TrainingError

if TYPE_CHECKING:
    from vidsr.training.loop import Progress

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
) -> None:
    """Train a network, or go on with an interrupted run. Needs the extra 'train'.

    Leaves checkpoint.pt, history.csv and curve.png; 'vidsr export' makes a model of them.
    """
    import_torch()
    import torch
    from tqdm import tqdm

    if processes > 1 and "RANK" not in os.environ:
        from vidsr.training.distributed import launch

        raise typer.Exit(launch([sys.executable, "-m", "vidsr", *sys.argv[1:]], processes))
    from vidsr.cores import usable_cores
    from vidsr.training.loop import train as train_network
    from vidsr.training.recipe import Recipe

    torch.set_num_threads(threads or usable_cores())
    plan = Recipe.load(recipe)
    if block is not None:
        plan = plan.with_block(block)
    folder = run or Path("runs") / "-".join([recipe.stem, block] if block else [recipe.stem])
    leads = os.environ.get("RANK", "0") == "0"  # of the processes that were launched
    with tqdm(
        total=plan.optimizer.steps, unit=" steps", smoothing=0.05, dynamic_ncols=True, disable=not leads
    ) as bar:

        def report(progress: Progress) -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix_str(f"loss {progress.loss:.3f}")
            if progress.psnr is not None:
                bar.write(f"step {progress.step}: {progress.psnr:.3f} dB on the validation pictures")

        made = train_network(
            plan, data, folder, cache=cache, steps=steps, report=report, say=bar.set_postfix_str
        )
    if leads:
        typer.echo(made)


def import_torch() -> None:
    """Import torch, or say how to get it.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise TrainingError("torch is not installed", hint="pip install 'vidsr[train]'") from error
