"""``vidsr clean``: what interrupted jobs left, listed and removed."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsr.errors import OptionsError, one_line

if TYPE_CHECKING:
    from vidsr.video.leftovers import Leftover, Removal

__all__ = ["clean"]


def clean(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that hold results, names of results, or work folders.", metavar="PATH..."
        ),
    ],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
    older: Annotated[
        float, typer.Option(metavar="DAYS", help="Only what nothing was written to for so many days.")
    ] = 0.0,
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Look into folders within folders, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON; removes only with --yes.")] = False,
) -> None:
    """Remove the work folders of interrupted jobs (result.mp4.vidsr) that nobody needs any more.

    Without --yes they are listed, and it asks if it can. What was finished in
    them is lost: the same vidsr upscale command would begin anew.

    A folder goes only if it holds a job's record and nothing that vidsr did not
    make. One in which a vidsr works stays. Links are not followed.
    """
    from vidsr.video.leftovers import find_leftovers, remove_leftover

    if not (math.isfinite(older) and older >= 0):
        raise OptionsError(f"--older takes days, 0 or more, not {older:g}")
    failed = False

    def unreadable(path: Path, error: OSError) -> None:
        nonlocal failed
        failed = True
        typer.echo(f"vidsr: {one_line(str(path))}: cannot look into it ({error.strerror})", err=True)

    found = [
        one for one in find_leftovers(paths, recursive=recursive, failed=unreadable) if one.age() >= older
    ]
    removable = [one for one in found if one.state == "left"]
    if not as_json:
        for one in found:
            typer.echo(_told(one))
        if not found:
            typer.echo("nothing is left over" + (f" that is older than {older:g} days" if older else ""))
    removals: dict[Path, Removal] = {}
    if removable and (yes or (not as_json and _agreed(removable))):
        removals = {one.path: remove_leftover(one.path) for one in removable}
    freed = sum(removal.bytes for removal in removals.values())
    for path, removal in removals.items():
        if removal.failure:
            failed = True
            typer.echo(f"vidsr: {one_line(str(path))}: not removed ({removal.failure})", err=True)
    if as_json:
        typer.echo(
            json.dumps({"folders": [_plain(o, removals) for o in found], "freed_bytes": freed}, indent=1)
        )
    elif removable:
        typer.echo(_outcome(removals, freed))
    if failed:
        raise typer.Exit(1)


def _told(one: Leftover) -> str:
    from vidsr.cli.layout import bytes_in_words

    frames = "frames not known" if one.frames is None else f"{one.frames} frames finished"
    text = f"{one.output}: of {one.source}, {frames}, {bytes_in_words(one.bytes)}, {_age(one.age())} old"
    if one.batch:
        text += ", of a batch"
    if one.reason:
        text += f"; stays: {one.reason}"
    return one_line(text)


def _agreed(removable: list[Leftover]) -> bool:
    from vidsr.cli.layout import bytes_in_words

    if not (sys.stdin and sys.stdin.isatty()):
        return False
    total = bytes_in_words(sum(one.bytes for one in removable))
    typer.echo(f"Remove {_folders(len(removable))}, {total}? [y/N] ", nl=False, err=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _outcome(removals: dict[Path, Removal], freed: int) -> str:
    from vidsr.cli.layout import bytes_in_words

    if not removals:
        asked = sys.stdin and sys.stdin.isatty()
        return "nothing removed" if asked else "nothing removed; add --yes"
    gone = sum(not removal.failure for removal in removals.values())
    return f"removed {_folders(gone)}: {bytes_in_words(freed)} freed"


def _plain(one: Leftover, removals: dict[Path, Removal]) -> dict[str, Any]:
    from vidsr import records

    removal = removals.get(one.path)
    told = records.to_mapping(one, keep_none=True) | {"age_days": round(one.age(), 4)}
    if removal is None:
        return told | {"removed": False}
    return told | {"removed": not removal.failure, "reason": removal.failure}


def _folders(count: int) -> str:
    return f"{count} work folder{'' if count == 1 else 's'}"


def _age(days: float) -> str:
    for unit, size in (("day", 1.0), ("hour", 1 / 24), ("minute", 1 / 1440)):
        if days >= size:
            count = int(days / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "under a minute"
