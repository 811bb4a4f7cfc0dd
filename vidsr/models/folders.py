"""Where models are looked for."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from vidsr import plugins

__all__ = ["engine_folders"]

_NO_FOLDER = "it names no folder that is there"


def engine_folders() -> list[Path]:
    """Return the folders with models: the installed package's, the checkout's, then those of plug-ins."""
    package = Path(__file__).resolve().parents[1]
    folders = [package / "engines"]
    # Beside an installed package lies site-packages, whose `engines` would be somebody else's.
    if (package.parent / "pyproject.toml").is_file():
        folders.append(package.parent / "engines")
    folders += [folder for name in plugins.names(plugins.MODELS) for folder in _added(name)]
    return [folder for folder in folders if folder.is_dir()]


def _added(name: str) -> list[Path]:
    """Return the folders that a plug-in names."""
    found = plugins.load(plugins.MODELS, name, lambda value: "" if _folders_of(value) else _NO_FOLDER)
    return [] if found is None else _folders_of(found)


def _folders_of(value: Any) -> list[Path]:
    """Return the folders that there are of what a plug-in's entry point names."""
    if callable(value):
        value = value()
    if isinstance(value, ModuleType):
        value = list(value.__path__)
    several = [value] if isinstance(value, str | Path) else value
    return [folder for folder in map(Path, several) if folder.is_dir()]
