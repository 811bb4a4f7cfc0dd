"""What other packages add to vidsr: models, backends and hosts, by Python's entry points.

A plug-in is loaded when something asks for it. One that cannot be loaded, is not what its group holds, or has
a name that is taken is told of once, as a warning that names it and its package, and left out.

Entry points are read here, from the ``entry_points.txt`` of what is installed in the folders of ``sys.path``:
importing `importlib.metadata` for it takes longer than all the rest of ``vidsr --help``.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class _EntryPoint:
    """A line of an ``entry_points.txt``."""

    group: str
    name: str
    value: str
    """``package.module:attribute``, or a module alone."""
    package: str
    """Of the distribution, with its version."""

    def load(self) -> Any:
        module, _, attributes = self.value.partition(":")
        parts = filter(None, attributes.strip().split("."))
        return reduce(getattr, parts, importlib.import_module(module.strip()))


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
    return {name: entry.package for name, entry in _entries(group).items()}


def forget() -> None:
    """Forget what was found: for tests."""
    _entries.cache_clear()
    _installed.cache_clear()
    _problems.clear()
    _loaded.clear()


@cache
def _entries(group: str) -> dict[str, _EntryPoint]:
    found: dict[str, _EntryPoint] = {}
    for entry in _installed():
        if entry.group != group:
            continue
        if entry.name in found:
            other = found[entry.name].package
            _log.warning("%s", _told(entry, f"{other} has a plug-in of the same name"))
            continue
        found[entry.name] = entry
    return found


@cache
def _installed() -> tuple[_EntryPoint, ...]:
    """Return the entry points for vidsr of all that is installed, in the order of ``sys.path``."""
    packages: set[str] = set()
    found: list[_EntryPoint] = []
    for folder in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(folder or "."))  # noqa: PTH208 - names are all that is wanted
        except OSError:
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            package = re.sub(r"[-_.]+", "-", name.rpartition(".")[0].partition("-")[0]).lower()
            if package in packages:  # the first of a name is the one that Python imports
                continue
            packages.add(package)
            found += _entries_of(Path(folder or ".", name))
    return tuple(found)


def _entries_of(info: Path) -> Iterator[_EntryPoint]:
    """Yield the entry points for vidsr of a distribution, by its folder of metadata."""
    try:
        text = (info / "entry_points.txt").read_bytes().decode(errors="replace")
    except OSError:
        return
    if "vidsr." not in text:
        return
    package, group = _named(info), ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] ")
        elif group in (MODELS, BACKENDS, HOSTS) and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            if equals:
                yield _EntryPoint(group, name.strip(), value.partition("[")[0].strip(), package)


def _named(info: Path) -> str:
    """Return a distribution's name and version."""
    for file in ("METADATA", "PKG-INFO"):
        try:
            text = (info / file).read_bytes().decode(errors="replace")
        except OSError:
            continue
        fields = dict(re.findall(r"^(Name|Version): *(.*?)\s*$", text, re.MULTILINE)[:2])
        if len(fields) == 2:
            return f"{fields['Name']} {fields['Version']}"
    return info.name.rpartition(".")[0].replace("-", " ", 1)


def _refuse(entry: _EntryPoint, why: str) -> None:
    key = (entry.group, entry.name)
    if key not in _problems:
        _problems[key] = Problem(entry.group, entry.name, entry.package, why)
        _log.warning("%s", _told(entry, why))


def _told(entry: _EntryPoint, why: str) -> str:
    return f"the plug-in '{entry.name}' ({entry.group}, of {entry.package}) is left out: {why}"
