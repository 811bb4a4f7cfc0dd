"""``vidsr engines``: compiled engines, built ahead of time, listed, checked and removed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsr.errors import BackendError, BackendUnavailableError, OptionsError, VidsrError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidsr.backends.engine_recipe import EngineRecipe
    from vidsr.backends.engine_record import Entry

__all__ = ["app"]

app = typer.Typer(help="Build, list, verify and prune compiled engines of GPUs.", no_args_is_help=True)

_AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command()
def build(
    what: Annotated[
        list[str],
        typer.Argument(
            help="Models as --model of upscale takes them, or recipes: files that end in .toml.",
            metavar="MODEL...|RECIPE.toml...",
        ),
    ],
    scale: Annotated[int | None, typer.Option("-s", "--scale", help="Their scale. Default: 2.")] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="WxH", help="Size of the frames that go in; may be repeated."),
    ] = None,
    dynamic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MIN,OPT,MAX",
            help="One engine for all sizes from MIN to MAX, fastest at OPT; may be repeated.",
        ),
    ] = None,
    pix_fmt: Annotated[
        list[str] | None,
        typer.Option(metavar="FORMAT", help="Pixel format of the frames; may be repeated. Default: yuv420p."),
    ] = None,
    matrix: Annotated[
        str | None, typer.Option(help="Their matrix: bt601, bt709, bt2020, ... Default: bt709.")
    ] = None,
    range_: Annotated[
        str | None, typer.Option("--range", help="Their range: limited, full. Default: limited.")
    ] = None,
    chroma_location: Annotated[
        str | None, typer.Option(help="Where their chroma lies: left, center, topleft, ... Default: left.")
    ] = None,
    chroma: Annotated[
        str | None, typer.Option(help="How their chroma is enlarged: bicubic, nearest. Default: bicubic.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Backend to build for. Default: tensorrt.")] = None,
    device: Annotated[str | None, typer.Option(help="Its device. Default: its first.")] = None,
    precision: Annotated[str | None, typer.Option(help="Default: the backend's usual one.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Build even what is there already.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Show no progress.")] = False,
) -> None:
    """Build engines now, so that the first job need not wait for them.

    An engine fits one model, size and format of frames, one kind of GPU and
    one driver. Each is compared with float32 on the CPU before it is kept.
    Recipes name many at once; vidsr brings live.toml and 1080p.toml along.
    """
    per_model = {
        "scale": scale,
        "sizes": size or None,
        "dynamic": dynamic or None,
        "formats": pix_fmt or None,
        "matrix": matrix,
        "range": range_,
        "chroma_location": chroma_location,
        "chroma": chroma,
    }
    overall = {"backend": backend, "device": device, "precision": precision}
    recipes = _recipes(what, _given(per_model), _given(overall))
    from vidsr.cli.engine_building import build_all

    failed = 0
    for recipe in recipes:
        try:
            failed += build_all(recipe, again=again, hidden=no_progress, echo=_echo, complain=_complain)
        except BackendUnavailableError as error:  # nothing is wrong with the command: not the exit code 2
            raise BackendError(error.message, hint=error.hint) from error
    if failed:
        raise typer.Exit(1)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _recipes(what: list[str], per_model: dict[str, Any], overall: dict[str, Any]) -> list[EngineRecipe]:
    """Return the recipes that are named, or one for the models that are named."""
    import dataclasses

    from vidsr import records
    from vidsr.backends.engine_recipe import EngineRecipe, find_recipe, load_recipe

    files = [word for word in what if word.lower().endswith(".toml")]
    if files and len(files) < len(what):
        raise OptionsError("models and recipes cannot be mixed", hint="run the command once for each")
    if files:
        if per_model:
            named = ", ".join(name.replace("_", "-") for name in per_model)
            raise OptionsError(f"a recipe says this itself: {named}", hint="leave it out, or edit the recipe")
        return [dataclasses.replace(load_recipe(find_recipe(word)), **overall) for word in files]
    try:
        entries = [{"model": word, **per_model} for word in what]
        return [records.from_mapping(EngineRecipe, {**overall, "engines": entries})]
    except ValueError as error:
        raise OptionsError(str(error), hint="'vidsr engines build --help' tells more") from error


@app.command("list")
def list_(as_json: _AsJson = False) -> None:
    """List the engines that are kept, and say which of them nobody will ask for again."""
    from vidsr.backends.engine_cache import EngineCache

    cache = EngineCache()
    found = list(cache.all())
    states = _states(found)
    if as_json:
        plain = [_plain(one, state) for one, state in zip(found, states, strict=True)]
        typer.echo(json.dumps({"folder": str(cache.folder), "engines": plain}, indent=1))
        return
    for one, state in zip(found, states, strict=True):
        _echo(_told(one, state))
    _echo(f"{len(found)} in {cache.folder}" if found else f"there are no engines in {cache.folder}")


@app.command()
def verify(as_json: _AsJson = False) -> None:
    """Read every engine, and compare it with its record; exit with 1 if one is damaged.

    Damaged engines are not used in any case: jobs build them anew.
    """
    from vidsr.backends.engine_cache import EngineCache

    found = list(EngineCache().verify())
    damaged = [one for one in found if one.problem]
    if as_json:
        typer.echo(json.dumps([{"name": o.name, "problem": o.problem} for o in found], indent=1))
    else:
        for one in damaged:
            _echo(f"{one.name}: {one.problem}")
        _echo(f"{len(found) - len(damaged)} of {len(found)} engines are whole")
    if damaged:
        raise typer.Exit(1)


@app.command()
def prune(
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Remove; without it they are only listed.")
    ] = False,
    older: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Remove also what was not used for so many days.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Remove engines that are damaged, or that nobody will ask for again.

    These are engines for another driver or runtime than this machine's same GPU
    has now, of installed models that have changed since, and of models that are
    not installed and that were not used for 30 days. What is being built stays.
    """
    import math

    from vidsr.backends.ahead import places_here
    from vidsr.backends.engine_cache import EngineCache
    from vidsr.backends.engine_states import installed_digests
    from vidsr.backends.engine_states import prune as pruned
    from vidsr.cli.layout import bytes_in_words

    if older is not None and not (math.isfinite(older) and older >= 0):
        raise OptionsError(f"--older takes days, 0 or more, not {older:g}")
    found = pruned(EngineCache(), places_here(), installed_digests(), remove=yes, older=older)
    freed = sum(one.entry.bytes for one in found if one.removed)
    if as_json:
        plain = [{"name": o.entry.name, "reason": o.reason, "removed": o.removed} for o in found]
        typer.echo(json.dumps({"engines": plain, "freed_bytes": freed}, indent=1))
        return
    for one in found:
        stays = "; stays: somebody is building it" if yes and not one.removed else ""
        _echo(f"{one.entry.name}: {one.reason}{stays}")
    if not found:
        _echo("there is nothing to prune")
    elif yes:
        _echo(f"removed {sum(one.removed for one in found)}: {bytes_in_words(freed)} freed")
    else:
        _echo("nothing removed; add --yes")


def _states(found: Sequence[Entry]) -> list[str]:
    from vidsr.backends.ahead import places_here
    from vidsr.backends.engine_states import installed_digests, stale

    if not found:
        return []
    places, installed = places_here(), installed_digests()
    return [one.problem or stale(one, places, installed) for one in found]


def _told(one: Entry, state: str) -> str:
    from vidsr.cli.layout import bytes_in_words

    if one.record is None:
        return f"{one.name}: {state}"
    key, gate, about = one.record.key, one.record.gate, one.record.about
    text = (
        f"{key.model} {key.shapes} {about.pixel_format} {key.precision}: {key.device} (sm {key.capability}),"
        f" {key.runtime} {key.runtime_version}, driver {key.driver}; {bytes_in_words(one.bytes)}, built in"
        f" {about.build_seconds:.1f} s, {gate.psnr_db:.1f} dB"
    )
    return f"{text}; {state}" if state else text


def _plain(one: Entry, state: str) -> dict[str, Any]:
    from vidsr import records

    return {
        "name": one.name,
        "bytes": one.bytes,
        "used": one.used,
        "state": "damaged" if one.problem else "stale" if state else "good",
        "reason": state,
        "record": None if one.record is None else records.to_mapping(one.record, keep_none=True),
    }


def _echo(text: str) -> None:
    from vidsr.errors import one_line

    typer.echo(one_line(text))


def _complain(error: VidsrError) -> None:
    sys.stderr.write(f"vidsr: {error}\n")
