"""What to measure, from what was named: folders of pictures, clips, models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vidsr.choice import automatic_model
from vidsr.errors import OptionsError, SourceError
from vidsr.job import AUTO
from vidsr.models.lookup import Model, find_model, named_model, scales_of
from vidsr.sources import is_pattern
from vidsr.video.still import PICTURE_SUFFIXES

__all__ = ["CLIP_SUFFIXES", "Kind", "name_models", "parse_crfs", "sort_sources"]

CLIP_SUFFIXES = frozenset({".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm", ".y4m"})

Kind = Literal["clean", "video"]
"""What a model is for; see `ModelSpec.kind`."""

KINDS: tuple[Kind, ...] = ("clean", "video")

_MOST_CRF = 63  # of VP9 and AV1; x264 and x265 end at 51


def sort_sources(paths: Sequence[Path]) -> tuple[dict[str, Path], list[Path]]:
    """Return folders of pictures by their name in tables, and clips.

    A folder that holds pictures is measured as pictures; one that holds clips and no picture stands for its
    clips. A folder called HR is named after the one around it.

    Raises:
        SourceError: A path is missing, or a folder holds neither.
        OptionsError: A single picture was named, or two sources have one name.
    """
    folders: dict[str, Path] = {}
    clips: list[Path] = []
    for path in paths:
        if path.is_dir():
            suffixes = {p: p.suffix.lower() for p in sorted(path.rglob("*"))}
            found = [p for p, suffix in suffixes.items() if suffix in CLIP_SUFFIXES]
            if PICTURE_SUFFIXES & set(suffixes.values()):
                absolute = path.resolve()
                name = absolute.parent.name if absolute.name.lower() == "hr" else absolute.name
                if name in folders:
                    raise OptionsError(
                        f"two folders are called '{name}'", path=path, hint="measure them apart"
                    )
                folders[name] = path
            elif found:
                clips += found
            else:
                raise SourceError("this folder holds no pictures and no clips", path=path)
        elif not path.exists() and not is_pattern(path):
            raise SourceError("no such folder or clip", path=path)
        elif path.suffix.lower() in PICTURE_SUFFIXES and not is_pattern(path):
            raise OptionsError("a single picture says little", path=path, hint="name its folder")
        else:
            clips.append(path)
    stems = [clip.stem.lower() for clip in clips]
    for clip, stem in zip(clips, stems, strict=True):
        if stems.count(stem) > 1:
            raise OptionsError(
                f"two clips are called '{stem}'", path=clip, hint="rename one, or measure them apart"
            )
    return folders, clips


def name_models(names: Sequence[str], scale: int) -> tuple[dict[str, Model], dict[Kind, str]]:
    """Return the models that `names` mean, each once, by their names in tables, and what auto takes.

    That name is the id; of several files with one id, all but the first have their folder's name added.
    `AUTO` stands for the models that it chooses from; if it was named, their names are returned by kind.

    Raises:
        ModelError: As `find_model`.
        OptionsError: Two files cannot be told apart.
    """
    found: dict[str, Model] = {}
    automatic: dict[Kind, str] = {}
    for name in names:
        if name == AUTO:
            for kind in KINDS:
                automatic[kind] = _add(found, automatic_model(kind, scale))
        else:
            _add(found, _find(name, scale))
    return found, automatic


def _find(name: str, scale: int) -> Model:
    """Return a model of that scale, or one that works at any."""
    model = named_model(name)
    if model is None and scales_of(name) == [1]:
        model = find_model(name, 1)
    return model if model is not None and model.spec.input == "target" else find_model(name, scale)


def _add(found: dict[str, Model], model: Model) -> str:
    for label, other in found.items():
        if model.path.resolve() == other.path.resolve():
            return label
    label = model.spec.id
    if label in found:
        label = f"{label}@{model.path.resolve().parent.name}"
    if label in found:
        raise OptionsError(f"two models are called {label}", path=model.path, hint="measure them apart")
    found[label] = model
    return label


def parse_crfs(text: str) -> tuple[float | None, ...]:
    """Return the qualities of a list such as "none,18,23": numbers, and None for "none"; each once.

    Raises:
        OptionsError: It is no such list.
    """
    found: list[float | None] = []
    for part in text.split(","):
        word = part.strip().lower()
        try:
            value = None if word == "none" else float(word)
        except ValueError:
            value = -1.0
        if value is not None and not 0 <= value <= _MOST_CRF:
            raise OptionsError(
                f"--crf takes numbers from 0 to {_MOST_CRF} and none, not '{part.strip()}'",
                hint="write a list such as none,18,23,28,33",
            )
        if value not in found:
            found.append(value)
    return tuple(found)
