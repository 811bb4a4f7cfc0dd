"""What other packages add to vidsr: models, backends and hosts, by Python's entry points.

A plug-in is loaded when something asks for it. One that cannot be loaded, is not what its group holds, or has
a name that is taken is told of once, as a warning that names it and its package, and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BACKENDS", "HOSTS", "MODELS", "Problem", "forget", "load", "names", "packages", "problems"]

MODELS = "vidsr.models"
"""A folder with models and their cards: its path, a package, or a function that returns a path or several."""
BACKENDS = "vidsr.backends"
"""A `vidsr.backends.base.Backend`, called as its entry point is."""
HOSTS = "vidsr.hosts"
"""A verb of the command line: a function with typer's annotations, or a ``typer.Typer``."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A plug-in that is left out."""

    group: str
    name: str
    package: str
    """Of the distribution, with its version."""
    reason: str


_problems: dict[tuple[str, str], Problem] = {}
_loaded: dict[tuple[str, str], Any] = {}


def names(group: str, taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of a group's plug-ins, those left out that are known to be broken.

    Args:
        group: `MODELS`, `BACKENDS` or `HOSTS`.
        taken: Names that are vidsr's own.
    """
    found = []
    for name, entry in _entries(group).items():
        if name in taken:
            _refuse(entry, "its name is one of vidsr's own")
        if (group, name) not in _problems:
            found.append(name)
    return tuple(found)


def load(group: str, name: str, wrong: Callable[[Any], str] = lambda _: "") -> Any | None:
    """Return what a plug-in's entry point names; None: it is left out, see `problems`.

    Args:
        group: The group.
        name: One of `names`.
        wrong: Returns why an object is not what the group holds, in words; empty: it is.
    """
    key, entry = (group, name), _entries(group).get(name)
    if entry is None or key in _problems:
        return None
    if key not in _loaded:
        try:
            found = entry.load()
            why = wrong(found)
        except Exception as error:  # noqa: BLE001 - somebody else's code may raise anything
            said = " ".join(str(error).split())
            why = f"{type(error).__name__}: {said}" if said else type(error).__name__
        except SystemExit as error:
            why = f"it ends the program ({error})"
        if why:
            _refuse(entry, why)
            return None
        _loaded[key] = found
    return _loaded[key]


def problems() -> tuple[Problem, ...]:
    """Return the plug-ins that were found to be broken so far."""
    return tuple(_problems.values())


def packages(group: str) -> dict[str, str]:
    """Return for each plug-in's name the distribution that it is of, with its version."""
    return {name: _package(entry) for name, entry in _entries(group).items()}


def forget() -> None:
    """Forget what was found: for tests."""
    _entries.cache_clear()
    _problems.clear()
    _loaded.clear()


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in found and entry.value != found[entry.name].value:
            other = _package(found[entry.name])
            _log.warning("%s", _told(entry, f"{other} has a plug-in of the same name"))
            continue
        found[entry.name] = entry
    return found


def _refuse(entry: EntryPoint, why: str) -> None:
    key = (entry.group, entry.name)
    if key not in _problems:
        _problems[key] = Problem(entry.group, entry.name, _package(entry), why)
        _log.warning("%s", _told(entry, why))


def _told(entry: EntryPoint, why: str) -> str:
    return f"the plug-in '{entry.name}' ({entry.group}, of {_package(entry)}) is left out: {why}"


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
