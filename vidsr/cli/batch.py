"""``vidsr batch``: many files, whatever happens meanwhile."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from vidsr.cli.batch_state import cancel, retry, status
from vidsr.cli.job_options import JOB_OPTIONS, job_fields, with_options_of
from vidsr.cli.upscale import upscale
from vidsr.errors import OptionsError

__all__ = ["app"]

_PLAN = "Batch"
_OWN = ("source", "output", "plan", "no_progress", "as_json")  # of upscale's; a batch has its own or none


class _Group(typer.core.TyperGroup):
    """Takes `vidsr batch WORDS...` for `vidsr batch run WORDS...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Enlarge many files: 'vidsr batch FOLDER' does it, and again it goes on where it was."
    " 'vidsr batch run --help' lists all options.",
)


def run(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, globs in quotes, addresses, manifests (*.toml), or -: a list on stdin.",
            metavar="WORDS...",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Template of the results' names, such as 'out/{stem}_{target}{suffix}'. Fields:"
            " {folder} {root} {subfolder} {name} {stem} {target} {model} {codec} {suffix}."
            " Default: beside the source.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(help="A folder for all results; sub-folders are kept.", rich_help_panel=_PLAN),
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option("-r", "--recursive", help="Take what is in sub-folders, too.", rich_help_panel=_PLAN),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the batch's plan. Default: .vidsr-batch, where all results are below.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            help="Processes that work at once; auto: what is measured to be best.", rich_help_panel=_PLAN
        ),
    ] = "auto",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Work on a Ray cluster: ray://HOST:10001, auto (the one that this machine is in) or local.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    gpus: Annotated[
        float,
        typer.Option(help="With --cluster: each worker's share of GPUs, such as 0.5.", rich_help_panel=_PLAN),
    ] = 0.0,
    max_tries: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="So often is a part of a job tried before the job fails. Default: 3.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
    hash_: Annotated[
        str,
        typer.Option(
            "--hash",
            help="How sources are recognised. quick: size, time, head and tail; full: all bytes.",
            rich_help_panel=_PLAN,
        ),
    ] = "quick",
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Words are folders; take what comes in, once it stopped growing.",
            rich_help_panel=_PLAN,
        ),
    ] = False,
    poll: Annotated[
        bool,
        typer.Option(
            "--poll", help="With --watch on a network's disk: look every two seconds.", rich_help_panel=_PLAN
        ),
    ] = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="No progress bar.", rich_help_panel=_PLAN)
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print events, one JSON object a line; see docs/batch.md.", rich_help_panel=_PLAN
        ),
    ] = False,
    **options: Any,
) -> None:
    """Enlarge many files. What is done is skipped, what failed is tried again.

    Interrupted or killed, the same command goes on where it was; several may work on one batch at once.
    Exit code 3: some jobs failed, the others are done. All further options are those of 'vidsr upscale'.
    """
    from vidsr.batch.run import BatchOptions, run_batch
    from vidsr.cli.batch_progress import BatchBar, JsonLines

    typed = {
        name: value for name, value in options.items() if name in JOB_OPTIONS and _was_typed(context, name)
    }
    batch = BatchOptions(
        words=tuple(words),
        recursive=recursive,
        job=job_fields(typed),
        output=output,
        output_dir=output_dir,
        state=state,
        workers=_workers(workers),
        max_tries=max_tries,
        full_hash=_full(hash_),
        cluster=_cluster(cluster, gpus),
        gpus=gpus,
        watch=watch,
        poll=poll,
    )
    with JsonLines() if as_json else BatchBar(hidden=no_progress) as viewer:
        result = run_batch(batch, viewer)
        viewer.end(result)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise OptionsError(f"--workers takes auto or a number from 1 to 1024, not '{text}'")
    return int(text)


def _cluster(address: str | None, gpus: float) -> str | None:
    if address is None and gpus:
        raise OptionsError("--gpus is for a cluster", hint="add --cluster, or take --device")
    if address is not None and address not in ("auto", "local") and not address.startswith("ray://"):
        raise OptionsError(f"--cluster takes ray://HOST:PORT, auto or local, not '{address}'")
    return address


def _full(text: str) -> bool:
    if text not in ("quick", "full"):
        raise OptionsError(f"--hash takes quick or full, not '{text}'")
    return text == "full"


_LENT = [name for name in inspect.signature(upscale).parameters if name not in _OWN]
app.command("run")(with_options_of(upscale, _LENT)(run))
app.command("status")(status)
app.command("retry")(retry)
app.command("cancel")(cancel)
