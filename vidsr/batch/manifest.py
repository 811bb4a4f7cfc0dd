"""A batch in a TOML file: defaults, files, and what is different for some of them.

    max_tries = 3
    workers = 2

    [defaults]                  # any option of `vidsr.job.Job` but source and output
    scale = 2
    codec = "libx265"
    encoder_options = { tune = "grain" }
    output = "2x/{stem}_{target}{suffix}"    # a template, see `vidsr.batch.templates`

    [[files]]
    source = "season"           # a file, a folder or a glob
    recursive = true

    [[files]]
    source = "season/e3.mkv"    # also in the folder above: this entry is the one that counts
    crf = 16

Names are relative to the manifest's folder: sources, outputs, and models that end in ``.onnx``.

Of several values for one option the first of these counts: the command line's, the file's own,
``[defaults]``, vidsr's default. So the command line wins over all of the manifest, as in other tools.
``encoder_options`` are merged key by key. ``scale`` and ``size`` both say how large: whichever counts
displaces the other.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidsr import records
from vidsr.batch.finding import absolute
from vidsr.errors import OptionsError
from vidsr.job import Job
from vidsr.sources import is_address

__all__ = ["Manifest", "ManifestFile", "job_options", "load_manifest", "merge", "source_of"]

_OPTIONS = {k: v for k, v in typing.get_type_hints(Job).items() if k not in ("source", "output")}
_TOP = {"max_tries": int, "workers": int, "defaults": dict[str, Any], "files": tuple[dict[str, Any], ...]}
_DEFAULTS = {"output": str, **_OPTIONS}
_FILE = {"source": str, "recursive": bool, **_DEFAULTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One entry of ``[[files]]``."""

    where: str
    """Its place, for errors: ``files[2]``."""
    source: str
    """A file, a folder, a glob or an address, as it was written."""
    recursive: bool | None = None
    """None: as the command line says."""
    output: str | None = None
    """A template; the entry's own, or that of ``[defaults]``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Job`, with ``[defaults]`` merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest says, checked."""

    path: Path
    """Absolute."""
    files: tuple[ManifestFile, ...]
    max_tries: int | None = None
    workers: int | None = None


def job_options(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return options by name, as text and numbers, as fields of `Job` with its types.

    Raises:
        ValueError: An unknown key or a value of the wrong type.
    """
    return records.typed(_OPTIONS, data, where)


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of both; where both say something, `over` counts."""
    merged = dict(under)
    if over.keys() & {"scale", "size"}:
        merged.pop("scale", None)
        merged.pop("size", None)
    merged.update(over)
    if "encoder_options" in under and "encoder_options" in over:
        merged["encoder_options"] = {**under["encoder_options"], **over["encoder_options"]}
    return merged


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest; nothing of what it names is looked at.

    Raises:
        OptionsError: It is missing or wrong.
    """
    path = absolute(path)
    data = records.load_mapping(path, error=OptionsError)
    try:
        top = records.typed(_TOP, data)
        for name in ("max_tries", "workers"):
            if top.get(name, 1) < 1:
                raise ValueError(f"'{name}' must be 1 or more, not {top[name]}")
        defaults = records.typed(_DEFAULTS, top.get("defaults", {}), "defaults.")
        output = defaults.pop("output", None)
        _check(defaults, "defaults")
        entries = [_entry(i, entry, defaults, output, path) for i, entry in enumerate(top.get("files", ()))]
    except ValueError as error:
        raise OptionsError(str(error), path=path) from error
    except OptionsError as error:
        raise OptionsError(error.message, path=path, hint=error.hint) from error
    if not entries:
        raise OptionsError("names no files", path=path, hint="add [[files]] with source = 'a file or folder'")
    return Manifest(
        path=path, files=tuple(entries), max_tries=top.get("max_tries"), workers=top.get("workers")
    )


def _entry(
    index: int, data: Mapping[str, Any], defaults: Mapping[str, Any], output: str | None, manifest: Path
) -> ManifestFile:
    where = f"files[{index}]"
    values = records.typed(_FILE, data, f"{where}.")
    if not values.get("source"):
        raise ValueError(f"the key '{where}.source' is missing")
    own = {key: value for key, value in values.items() if key in _OPTIONS}
    options = merge(defaults, own)
    _check(options, where)
    model = options.get("model", "")
    if model.lower().endswith(".onnx"):
        options["model"] = str(manifest.parent / model)
    return ManifestFile(
        where=where,
        source=values["source"],
        recursive=values.get("recursive"),
        output=values.get("output", output),
        options=options,
    )


def _check(options: Mapping[str, Any], where: str) -> None:
    """Let `Job` look at values of the right type: at their range, and whether they go together."""
    try:
        Job(source="x", **options)
    except OptionsError as error:
        raise OptionsError(f"{where}: {error.message}", hint=error.hint) from error


def source_of(manifest: Manifest, entry: ManifestFile) -> str:
    """Return an entry's source as a word from the root of the file system, or the address that it is."""
    return entry.source if is_address(entry.source) else str(manifest.path.parent / entry.source)
