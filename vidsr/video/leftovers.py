"""Work folders that interrupted jobs left: finding them, and removing them.

Beside outputs vidsr leaves nothing else: what it writes before a result has its name lies in the work folder.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vidsr.errors import OptionsError
from vidsr.locks import lock_folder
from vidsr.video.parts import folder_of, read_parts

__all__ = ["Leftover", "Removal", "find_leftovers", "remove_leftover"]

_SUFFIX = ".vidsr"
_RECORD = "plan.json"
_MOST_RECORD = 1 << 20  # bytes; a plan has some hundred
# Everything that a job writes into its work folder; see `WorkFolder`, `VideoSink` and `PictureSink`.
_OURS = re.compile(
    r"plan\.json|cuts\.json|lock|record\.lock|naming"
    r"|(\d{6}|plan|cuts)\.json\.\d+\.partial|naming\.\d+\.partial"
    r"|\d{6}(~.+-\d+-[0-9a-f]{8})?\.\w+(\.partial)?|joined\.\w+",
    re.ASCII,
)
_BLOCK = 512  # bytes that `st_blocks` counts in, whatever the file system's own are

State = Literal["left", "in use", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A work folder, as it was found."""

    path: Path
    output: str
    """The result's name, with its folder; of one that is too long only its beginning."""
    source: str
    """As the job was given it, without its folder; a pattern or an address whole."""
    frames: int | None
    """Finished; None: their records cannot be read."""
    bytes: int
    """That it takes on the disk."""
    changed: float
    """When something in it was last written, in seconds since 1970."""
    batch: bool
    """Whether its segments can be made in any order, as batches have it."""
    state: State
    """left: nobody works in it; in use: a process does; kept: it is not to be touched, for `reason`."""
    reason: str = ""

    def age(self, now: float | None = None) -> float:
        """Return the days since something in it was written."""
        return max(0.0, ((time.time() if now is None else now) - self.changed) / 86400)


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a work folder that was to go."""

    bytes: int
    """Freed on the disk."""
    failure: str = ""
    """Why it, or a part of it, is still there; "": it is gone."""


def find_leftovers(
    paths: Iterable[Path], *, recursive: bool = False, failed: Callable[[Path, OSError], None]
) -> list[Leftover]:
    """Return the work folders that paths mean, each once; links are not followed, nothing is changed.

    Args:
        paths: Folders that hold some, names of outputs, or work folders.
        recursive: Whether to look into folders within folders.
        failed: Told each folder that cannot be looked into.

    Raises:
        OptionsError: A path is a link, or nothing is there.
    """
    found: dict[Path, Leftover] = {}
    for path in paths:
        for folder in _folders(path, recursive, failed):
            key = Path(os.path.realpath(folder))
            if key not in found:
                with suppress(FileNotFoundError):  # its job has ended meanwhile
                    found[key] = _describe(folder)
    return list(found.values())


def remove_leftover(folder: Path) -> Removal:
    """Remove a work folder in which nobody works, after another look at it."""
    freed = 0
    try:
        record, entries = _read(folder)
        if record is None or (strange := _strange(entries)):
            return Removal(0, "it is no work folder any more" if record is None else strange)
        with lock_folder(folder):
            # Records first, so that a job which finds the rest of it takes no segment for whole; the plan,
            # which says that it is vidsr's, last.
            for entry in sorted(_read(folder)[1], key=_turn):
                if reason := _strange([entry]):
                    return Removal(freed, reason)
                status = entry.stat(follow_symlinks=False)
                os.unlink(entry.path)  # noqa: PTH108 - an entry of the folder as it was read
                freed += _size(status) if status.st_nlink == 1 else 0
        folder.rmdir()
    except BlockingIOError:
        return Removal(freed, "a vidsr works in it")
    except OSError as error:
        return Removal(freed, error.strerror or str(error))
    return Removal(freed)


def _turn(entry: os.DirEntry[str]) -> tuple[int, str]:
    name = entry.name
    return 3 if name == "lock" else 2 if name == _RECORD else not name.endswith(".json"), name


def _folders(path: Path, recursive: bool, failed: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """Yield the work folders that a path means."""
    if path.is_symlink():
        raise OptionsError("this is a link, and links are not followed", path=path, hint="name what it is of")
    if path.is_dir():
        if _is_ours(path):
            yield path
        else:
            yield from _within(path, recursive, failed)
        return
    folder = folder_of(path)
    if folder.is_symlink() or not _is_ours(folder):
        if not path.exists():
            raise OptionsError(
                "there is no such file or folder, and no unfinished work of that name",
                path=path,
                hint="name a folder, an output or a work folder",
            )
        return
    yield folder


def _within(folder: Path, recursive: bool, failed: Callable[[Path, OSError], None]) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            below = sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError as error:
        failed(folder, error)
        return
    for path in below:
        if _is_ours(path):
            yield path
        elif recursive:
            yield from _within(path, recursive, failed)


def _is_ours(folder: Path) -> bool:
    """Tell by its record, not by its name alone, whether a folder is a job's."""
    if not folder.name.endswith(_SUFFIX):
        return False
    try:
        return _read(folder)[0] is not None
    except OSError:
        return False


def _read(folder: Path) -> tuple[dict[str, Any] | None, list[os.DirEntry[str]]]:
    """Return a work folder's record, None if it has none, and what is in it."""
    with os.scandir(folder) as listed:
        entries = list(listed)
    for entry in entries:
        if entry.name == _RECORD and entry.is_file(follow_symlinks=False):
            return _record(Path(entry.path)), entries
    return None, entries


def _record(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            plan = json.loads(file.read(_MOST_RECORD))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(plan, dict) and {"vidsr", "source", "encoder", "span"} <= plan.keys()
    return plan if known and isinstance(plan["source"], dict) else None


def _strange(entries: Iterable[os.DirEntry[str]]) -> str:
    """Return why a folder is not only vidsr's; "" if it is."""
    for entry in entries:
        if not _OURS.fullmatch(entry.name):
            return f"'{entry.name}' in it is not of vidsr's making"
        if not entry.is_file(follow_symlinks=False):
            return f"'{entry.name}' in it is no file"
    return ""


def _describe(folder: Path) -> Leftover:
    plan, entries = _read(folder)
    if plan is None:
        raise FileNotFoundError(folder)
    statuses = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    reason = _strange(entries)
    state: State = "kept" if reason else "left"
    if not reason and "lock" in statuses:  # without it nobody has ever worked here since
        try:
            lock_folder(folder).close()
        except BlockingIOError:
            state, reason = "in use", "a vidsr works in it"
        except OSError as error:
            state, reason = "kept", error.strerror or str(error)
    frames = None
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        parts = read_parts(folder, named="naming" in statuses)
        frames = sum(len(part.pts) for part in parts.values())
    written = [s.st_mtime for name, s in statuses.items() if stat.S_ISREG(s.st_mode) and name != "lock"]
    return Leftover(
        path=folder,
        output=str(folder).removesuffix(_SUFFIX),
        source=str(plan["source"].get("name", "")),
        frames=frames,
        bytes=sum(map(_size, statuses.values())),
        changed=max(written),
        batch="cuts.json" in statuses,
        state=state,
        reason=reason,
    )


def _size(status: os.stat_result) -> int:
    blocks = getattr(status, "st_blocks", None)  # Windows does not count them
    return status.st_size if blocks is None else blocks * _BLOCK
