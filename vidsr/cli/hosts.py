"""Verbs that other packages add to the command line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import typer

from vidsr import plugins
from vidsr.errors import VidsrError

__all__ = ["add_hosts"]


def add_hosts(app: typer.Typer, arguments: Sequence[str]) -> None:
    """Add the verbs that a command line may mean: the one it names, or all where help is asked for.

    Args:
        app: The command line, with vidsr's own verbs.
        arguments: What was typed.
    """
    own = {command.name for command in app.registered_commands} | {g.name for g in app.registered_groups}
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb in own:
        return
    taken = {str(name) for name in own}
    for name in plugins.names(plugins.HOSTS, taken):
        if verb is not None and verb != name and not {"-h", "--help"} & set(arguments):
            continue
        found = plugins.load(plugins.HOSTS, name, _no_host)
        called = f"the plug-in '{name}' (of {plugins.packages(plugins.HOSTS)[name]})"
        if isinstance(found, typer.Typer):
            for command in found.registered_commands:
                command.callback = command.callback and _blamed(command.callback, called)
            app.add_typer(found, name=name)
        elif found is not None:
            app.command(name)(_blamed(found, called))


def _no_host(value: Any) -> str:
    """Return why an object is no verb; raise what typer has to say about its parameters."""
    import typer.main

    alone = value
    if not isinstance(value, typer.Typer):
        if not callable(value):
            return "it is neither a function nor a typer.Typer"
        alone = typer.Typer()
        alone.command()(value)
    typer.main.get_command(alone)
    return ""


def _blamed(verb: Callable[..., Any], called: str) -> Callable[..., Any]:
    """Return a verb whose own faults are told as such, and not as vidsr's."""

    @functools.wraps(verb)
    def run(*values: Any, **options: Any) -> Any:
        try:
            return verb(*values, **options)
        except (VidsrError, OSError, MemoryError):
            raise
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("typer", "click"):
                raise  # how a command ends, or what is wrong with how it was typed
            said = " ".join(str(error).split())
            why = f"{type(error).__name__}: {said}" if said else type(error).__name__
            raise VidsrError(f"{called} failed: {why}", hint="VIDSR_TRACEBACK=1 prints where") from error

    return run
