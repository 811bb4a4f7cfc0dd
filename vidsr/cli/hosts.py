"""Verbs that other packages add to the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from vidsr import plugins

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
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        elif found is not None:
            app.command(name)(found)


def _no_host(value: Any) -> str:
    return "" if callable(value) else "it is neither a function nor a typer.Typer"
