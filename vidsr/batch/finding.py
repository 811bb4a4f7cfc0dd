"""Which files of a folder are media, in which order, and which a glob means; links in a circle end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from vidsr.errors import SourceError

__all__ = [
    "MEDIA_SUFFIXES",
    "PICTURE_SUFFIXES",
    "TEMPORARY_SUFFIXES",
    "Walk",
    "absolute",
    "fixed_part",
    "has_magic",
    "is_media",
    "is_temporary",
    "natural_key",
    "path_key",
    "real_place",
]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""Pictures that vidsr writes, and so those whose results stay what they are."""

MEDIA_SUFFIXES = PICTURE_SUFFIXES | frozenset(
    ".3g2 .3gp .apng .asf .avi .dv .f4v .flv .gif .ivf .m1v .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4"
    " .mpe .mpeg .mpg .mpv .mts .mxf .nut .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .wtv .y4m".split()
)
"""What is taken from a folder; anything else is taken where it is named."""

TEMPORARY_SUFFIXES = (".part", ".tmp", ".temp", ".crdownload", ".download", ".!qb", ".partial", ".aria2")
"""What programs call files that they have not finished, in lower case."""

_WORK_FOLDER = ".vidsr"  # beside each unfinished result
_BROKEN_OFF = ".partial."  # vidsr's name for what it made of a source that breaks off
_MAGIC = re.compile(r"[*?[]")
_ANY_FOLDERS = "**"


def natural_key(text: str) -> tuple[object, ...]:
    """Return a sorting key by which e2 comes before e10, whatever the case; no two texts have the same."""
    parts = re.split(r"(\d+)", text, flags=re.ASCII)
    # Numbers as text without leading zeros and its length: they may have more digits than int() takes.
    numbers = [(len(digits := part.lstrip("0")), digits) for part in parts[1::2]]
    words = [part.casefold() for part in parts[::2]]
    mixed: list[object] = [words[0]]
    for number, word in zip(numbers, words[1:], strict=True):
        mixed += [number, word]
    return (tuple(mixed), text)


def path_key(path: Path) -> tuple[tuple[object, ...], ...]:
    """Return a sorting key of a path: folder by folder, each naturally."""
    return tuple(natural_key(part) for part in path.parts)


def absolute(path: Path) -> Path:
    """Return a path from the root of the file system, without ``..``, its last part never followed."""
    whole = Path.cwd() / path
    if ".." not in whole.parts:
        return whole
    if whole.name == "..":
        return Path(os.path.realpath(whole))
    # Only the file system knows where .. leads to behind a link.
    return Path(os.path.realpath(whole.parent)) / whole.name


def real_place(path: Path) -> Path:
    """Return where a name really lies: links in its folders are followed, the last part is not."""
    return Path(os.path.realpath(path.parent)) / path.name


def is_temporary(name: str) -> bool:
    """Return whether a file's name says that nobody should touch it: hidden, or not finished."""
    return name.startswith(".") or _BROKEN_OFF in name or name.lower().endswith(TEMPORARY_SUFFIXES)


def is_media(name: str) -> bool:
    """Return whether a folder's file of this name is taken."""
    return not is_temporary(name) and os.path.splitext(name)[1].lower() in MEDIA_SUFFIXES  # noqa: PTH122


def has_magic(text: str) -> bool:
    """Return whether a word can be a glob."""
    return _MAGIC.search(text) is not None


def fixed_part(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """Return a glob's folder without any wildcard, and the parts behind it."""
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts) - 1)
    return absolute(Path(*parts[:first])), parts[first:]


@dataclass(slots=True)
class Walk:
    """Looks into one folder; each real folder in it once, whichever links lead to it."""

    notes: list[str] = field(default_factory=list)
    """Folders that could not be read, in words."""
    _root: Path | None = None
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def folder(self, root: Path, *, recursive: bool) -> list[Path]:
        """Return the media of a folder, sorted naturally.

        Raises:
            SourceError: The folder itself cannot be read.
        """
        return sorted(self._media(root, recursive=recursive, taken=is_media), key=path_key)

    def glob(self, pattern: Path) -> list[Path]:
        """Return the files that a glob means, sorted naturally; ``**`` is any number of folders.

        Hidden files are only meant by a part that begins with a dot, and other files than media only by a
        last part that names their suffix.

        Raises:
            SourceError: The folder before the first wildcard cannot be read.
        """
        root, parts = fixed_part(pattern)
        if not root.is_dir():
            return []
        self._root = root
        last = parts[-1]
        named = not has_magic(os.path.splitext(last)[1] or "*")  # noqa: PTH122

        def taken(name: str) -> bool:
            if last == _ANY_FOLDERS:
                return is_media(name)
            hidden = name.startswith(".") and last.startswith(".")
            fits = is_media(name) or hidden or (named and not is_temporary(name))
            return fits and fnmatchcase(name, last)

        found: set[Path] = set()
        for folder in self._folders(root, parts[:-1]):
            found.update(self._media(folder, recursive=last == _ANY_FOLDERS, taken=taken))
        return sorted(found, key=path_key)

    def _folders(self, root: Path, parts: tuple[str, ...]) -> Iterator[Path]:
        """Yield the folders that all parts of a glob but its last one mean."""
        if not parts:
            yield root
            return
        part, rest = parts[0], parts[1:]
        if part == _ANY_FOLDERS:
            while rest and rest[0] == _ANY_FOLDERS:
                rest = rest[1:]
            for folder in self.below(root):
                yield from self._folders(folder, rest)
        elif not has_magic(part):
            if (root / part).is_dir():
                yield from self._folders(root / part, rest)
        else:
            for entry in self._entries(root):
                shown = part.startswith(".") or not entry.name.startswith(".")
                if shown and fnmatchcase(entry.name, part) and _is_folder(entry):
                    yield from self._folders(root / entry.name, rest)

    def below(self, root: Path) -> Iterator[Path]:
        """Yield a folder and all in it; those that only a link leads to come last.

        Raises:
            SourceError: The folder itself cannot be read.
        """
        if self._root is None:
            self._root = root
        self._seen.clear()
        linked = [root]
        while linked:
            plain = [linked.pop(0)]
            while plain:
                folder = plain.pop()
                if not self._is_new(folder):
                    continue
                yield folder
                for entry in self._entries(folder):
                    if _is_folder(entry) and not entry.name.startswith("."):
                        (linked if entry.is_symlink() else plain).append(folder / entry.name)

    def _media(self, root: Path, *, recursive: bool, taken: Callable[[str], bool]) -> Iterator[Path]:
        if self._root is None:
            self._root = root
        for folder in self.below(root) if recursive else (root,):
            for entry in self._entries(folder):
                if taken(entry.name) and _is_file(entry):
                    yield folder / entry.name

    def _is_new(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError:  # it went, or is a link in a circle
            return False
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: natural_key(entry.name))
        except OSError as error:
            if folder == self._root:
                raise SourceError(f"cannot read this folder ({error.strerror})", path=folder) from error
            note = f"{folder}: cannot read this folder ({error.strerror}); it is left out"
            if note not in self.notes:
                self.notes.append(note)
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and not entry.name.endswith(_WORK_FOLDER)
    except OSError:  # a link in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
