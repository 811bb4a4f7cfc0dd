"""From the words of ``vidsr batch WORDS...`` to an ordered list of sources.

A word is a file, a folder, a glob, a numbered sequence (``shot_%04d.png``), an address, a manifest
(``*.toml``), or ``-``: one path a line on stdin, files and folders. What is there under the very name counts
before it is taken for a glob or a sequence. From folders only media are taken
(`vidsr.batch.finding.MEDIA_SUFFIXES`); hidden files, unfinished ones, work folders (``*.vidsr``) and what is
left of a source that breaks off (``*.partial.*``) are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from vidsr.batch.finding import Walk, absolute, fixed_part, has_magic, real_place
from vidsr.batch.manifest import Manifest, load_manifest, source_of
from vidsr.errors import OptionsError
from vidsr.sources import Source, is_pattern, numbered, parse_source

__all__ = ["BatchSource", "Inputs", "gather"]

_MOST_TOLD = 10  # of the words that mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSource:
    """One source, where it came from, and what a manifest says about it."""

    source: Source
    """An absolute path, or an address."""
    root: Path
    """The folder, or the fixed part of the glob, that it was found in; its own folder where it was named.
    Absolute."""
    named: bool = True
    """Whether it was named itself, not found in a folder or by a glob."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Job` from a manifest."""
    output: str | None = None
    """A manifest's template."""
    base: Path | None = None
    """What the template is relative to: the manifest's folder. None: no template."""

    @property
    def subfolder(self) -> Path:
        """From the root to the source's folder; ``.`` where they are the same."""
        if isinstance(self.source, str) or not self.source.is_relative_to(self.root):
            return Path()
        return self.source.parent.relative_to(self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All sources of a batch, in order, each once."""

    sources: tuple[BatchSource, ...]
    notes: tuple[str, ...] = ()
    """What the user should know: folders that could not be read."""
    max_tries: int | None = None
    """From the last manifest that says it."""
    workers: int | None = None


def gather(words: Sequence[str], *, recursive: bool = False, stdin: BinaryIO | None = None) -> Inputs:
    """Return the sources that the words mean.

    Args:
        words: As they were typed; what is not UTF-8 in them by surrogates, as Python's `sys.argv` has it.
        recursive: Whether folders mean all in them; a manifest's entries may say otherwise.
        stdin: Where ``-`` reads.

    Raises:
        OptionsError: Words that mean nothing (up to ten are listed), or a manifest that is wrong.
        SourceError: A folder cannot be read.
    """
    found: list[BatchSource] = []
    misses: list[str] = []
    notes: list[str] = []
    manifests: list[Manifest] = []
    for word in words:
        if word == "-":
            if stdin is None:
                raise OptionsError("there is no stdin to read a list from", hint="leave '-' out")
            _listed(stdin.read(), recursive, found, misses, notes)
        elif word.lower().endswith(".toml") and not Path(word).is_dir():
            manifests.append(load_manifest(Path(word)))
            _from_manifest(manifests[-1], recursive, found, misses, notes)
        else:
            _add(word, recursive, found, misses, notes)
    if misses:
        more = f"; and {len(misses) - _MOST_TOLD} more" if len(misses) > _MOST_TOLD else ""
        raise OptionsError(
            f"{'; '.join(misses[:_MOST_TOLD])}{more}",
            hint="check the paths; quote globs, and add --recursive for the files in sub-folders",
        )
    return Inputs(
        sources=_once(found),
        notes=tuple(dict.fromkeys(notes)),
        max_tries=next((m.max_tries for m in reversed(manifests) if m.max_tries), None),
        workers=next((m.workers for m in reversed(manifests) if m.workers), None),
    )


def _add(word: str, recursive: bool, found: list[BatchSource], misses: list[str], notes: list[str]) -> None:
    sources, miss = _expand(word, recursive=recursive, notes=notes)
    found += sources
    if miss:
        misses.append(miss)


def _listed(
    data: bytes, recursive: bool, found: list[BatchSource], misses: list[str], notes: list[str]
) -> None:
    """Add what a list on stdin names: files and folders, one a line, or each ended by a NUL."""
    lines = data.split(b"\0") if b"\0" in data else data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        name = os.fsdecode(line)
        if b"\0" not in data and name.endswith("\r") and not os.path.lexists(name):
            name = name[:-1]  # a list from Windows
        if not name:
            continue
        sources, miss = _expand(name, recursive=recursive, notes=notes, globs=False)
        found += sources
        if miss:
            misses.append(f"line {number} of stdin: {miss}")


def _from_manifest(
    manifest: Manifest, recursive: bool, found: list[BatchSource], misses: list[str], notes: list[str]
) -> None:
    for entry in manifest.files:
        deep = recursive if entry.recursive is None else entry.recursive
        sources, miss = _expand(source_of(manifest, entry), recursive=deep, notes=notes)
        base = None if entry.output is None else manifest.path.parent
        found += [
            replace(source, options=entry.options, output=entry.output, base=base) for source in sources
        ]
        if miss:
            misses.append(f"{manifest.path}: {entry.where}: {miss}")


def _expand(
    word: str, *, recursive: bool, notes: list[str], globs: bool = True
) -> tuple[list[BatchSource], str | None]:
    """Return the sources that a word means, and what is to be said if there are none."""
    if not word:
        return [], "an empty name means nothing"
    if "\0" in word:
        return [], f"'{word}' cannot be a file's name"
    source = parse_source(word)
    if isinstance(source, str):
        return [BatchSource(source=source, root=Path.cwd())], None
    path, walk = absolute(source), Walk(notes)
    if path.is_dir():
        files = walk.folder(path, recursive=recursive)
        miss = None if files else f"{word}: there are no videos or pictures in this folder"
        return _found(files, path), miss
    if os.path.lexists(path):
        if not path.exists():
            return [], f"{word}: this link leads nowhere"
        return [BatchSource(source=path, root=path.parent)], None
    if globs and is_pattern(path) and next(numbered(path), None) is not None:
        return [BatchSource(source=path, root=path.parent)], None
    if globs and has_magic(word):
        root, files = fixed_part(source)[0], walk.glob(source)
        miss = None if files else f"{word}: no file is meant by this"
        return _found(map(absolute, files), root), miss
    return [], f"{word}: there is no such file"


def _found(files: Iterable[Path], root: Path) -> list[BatchSource]:
    return [BatchSource(source=path, root=root, named=False) for path in files]


def _once(found: Iterable[BatchSource]) -> tuple[BatchSource, ...]:
    """Return each source once for each way in which it is asked for, where it came first.

    Who names a file that is also in a folder means this one to be as the name's entry says.
    """
    groups: dict[Source, list[BatchSource]] = {}
    for one in found:
        key = one.source if isinstance(one.source, str) else real_place(one.source)
        groups.setdefault(key, []).append(one)
    kept: list[BatchSource] = []
    for group in groups.values():
        ways: list[BatchSource] = []
        for one in [one for one in group if one.named] or group:
            if not any((one.options, one.output, one.base) == (w.options, w.output, w.base) for w in ways):
                ways.append(one)
        kept += ways
    return tuple(kept)
