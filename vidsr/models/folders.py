"""Where models are looked for."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from vidsr import plugins
from vidsr.errors import ModelError
from vidsr.models.card import load_card

__all__ = ["engine_folders"]

_NO_FOLDER = "it names no folder that is there"
_NO_CARD = "there is no card (.toml) in what it names"


def engine_folders() -> list[Path]:
    """Return the folders with models: the installed package's, the checkout's, then those of plug-ins."""
    return _own_folders() + [folder for name in plugins.names(plugins.MODELS) for folder in _added(name)]


def _own_folders() -> list[Path]:
    package = Path(__file__).resolve().parents[1]
    folders = [package / "engines"]
    # Beside an installed package lies site-packages, whose `engines` would be somebody else's.
    if (package.parent / "pyproject.toml").is_file():
        folders.append(package.parent / "engines")
    return [folder for folder in folders if folder.is_dir()]


def _added(name: str) -> list[Path]:
    """Return the folders that a plug-in names."""
    found = plugins.load(plugins.MODELS, name, lambda value: _wrong(_folders_of(value)))
    return [] if found is None else _folders_of(found)


def _wrong(folders: list[Path]) -> str:
    """Return why the models in a plug-in's folders cannot be taken; empty: they can.

    A network's name decides what ``--model NETWORK`` and ``auto`` mean, at which scales: those of vidsr's own
    stay as they are.
    """
    cards = [card for folder in folders for card in sorted(folder.glob("*.toml"))]
    if not cards:
        return _NO_CARD if folders else _NO_FOLDER
    own = {load_card(card).network for folder in _own_folders() for card in folder.glob("*.toml")}
    for card in cards:
        try:
            spec = load_card(card)
        except ModelError as error:
            return str(error)
        # After the scale comes the network, and then, by the rules of names, "-" and a variant.
        for name in (spec.network, spec.id.split("-")[1]):
            if name in own:
                return f"{card}: the network '{name}' is vidsr's own: call it otherwise"
    return ""


def _folders_of(value: Any) -> list[Path]:
    """Return the folders that there are of what a plug-in's entry point names."""
    if callable(value):
        value = value()
    if isinstance(value, ModuleType):
        value = list(value.__path__)
    several = [value] if isinstance(value, str | Path) else value
    return [folder for folder in map(Path, several) if folder.is_dir()]
