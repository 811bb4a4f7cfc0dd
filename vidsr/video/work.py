"""The work folder beside an output: what is finished of it, so that the same command continues."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vidsr.errors import OptionsError, OutputError
from vidsr.frame import VideoInfo
from vidsr.identity import differences, source_identity
from vidsr.locks import lock_folder
from vidsr.sources import without_password
from vidsr.video.muxer import Part
from vidsr.video.opening import open_info

__all__ = [
    "Unfinished",
    "WorkFolder",
    "address_identity",
    "find_unfinished",
    "give_name",
    "half_named",
    "source_identity",
]

_NAMING = "naming"
_LONGEST_NAME = 255  # bytes of a file name, on most file systems


def address_identity(info: VideoInfo) -> dict[str, Any]:
    """Return what a source on a network is recognised by: its address and what the probe saw of it.

    What a server says of a file's version does not come through FFmpeg, so a file that was replaced by one of
    the same size, codec and length is not noticed.
    """
    with open_info(info) as container:
        size = int(container.size)
    return {
        "name": without_password(info.path),
        "bytes": size,
        "seen": f"{info.container} {info.codec} {info.width}x{info.height} {info.source_format}"
        f" {info.duration} s, {info.estimated_frames} frames",
    }


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What an interrupted job left beside its output."""

    path: Path
    """The folder."""
    frames: int
    """In finished segments that the job would go on from; 0 where they would be forgotten."""


def find_unfinished(output: Path, plan: Mapping[str, Any], *, discard: bool) -> Unfinished | None:
    """Return the work that a job would continue (or, with `discard`, forget); touches nothing.

    Raises:
        OptionsError, OutputError: As `WorkFolder`.
    """
    path = _folder_of(output)
    if not path.is_dir():
        return None
    if (path / "lock").exists():
        _lock(path, output).close()
    if not (path / "plan.json").exists():
        return None
    if discard:
        return Unfinished(path, 0)
    parts = _left_over(path, json.loads(json.dumps(plan)))
    return Unfinished(path, sum(len(part.pts) for part in parts))


class WorkFolder:
    """``<output>.vidsr/``: the plan, finished segments with their records, and the joined file.

    Attributes:
        path: The folder.
        parts: Finished segments in order.
    """

    def __init__(self, output: Path, plan: Mapping[str, Any], *, discard: bool) -> None:
        """Make the folder, or take up what an interrupted run of the same plan left in it.

        Raises:
            OptionsError: It holds unfinished work of another plan, or another process works in it.
            OutputError: It cannot be made or read.
        """
        self.path = _folder_of(output)
        self.parts: list[Part] = []
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write here ({error.strerror})", path=output.parent) from error
        self._lock: IO[bytes] | None = _lock(self.path, output)
        try:
            self._take_up(json.loads(json.dumps(plan)), discard=discard)
        except BaseException:
            # An earlier job's work stays, whatever it was refused for; a folder made just now goes.
            self._let_go(keep=(self.path / "plan.json").exists())
            raise

    @property
    def frames(self) -> int:
        """Frames in the finished segments."""
        return sum(len(part.pts) for part in self.parts)

    @property
    def naming(self) -> bool:
        """Whether an earlier run was giving names when it ended: a missing part has its final name."""
        return (self.path / _NAMING).exists()

    def begin_naming(self) -> None:
        """Note that all parts are whole and checked, and get their final names from now on."""
        _write_atomically(self.path / _NAMING, "")

    def segment_path(self, suffix: str) -> Path:
        """Return where the next segment is written."""
        return self.path / f"{len(self.parts):06d}{suffix}"

    def record(self, part: Part) -> None:
        """Note that a segment is whole; from now on a new run does not make it again."""
        entry = {
            "file": part.path.name,
            "bytes": part.path.stat().st_size,
            "start": part.start,
            "pts": part.pts,
            "reorder": part.reorder,
            "shifts": part.shifts,
        }
        _write_atomically(part.path.with_suffix(".json"), json.dumps(entry))
        self.parts.append(part)

    def release(self) -> None:
        """Let go of the folder; it stays if it holds finished work, and goes if it does not."""
        self._let_go(keep=bool(self.parts))

    def _let_go(self, *, keep: bool) -> None:
        if self._lock is not None:
            if not keep:
                shutil.rmtree(self.path, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Delete the folder: the result has its final name."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.parts = []
        self.release()

    def _take_up(self, plan: dict[str, Any], *, discard: bool) -> None:
        file = self.path / "plan.json"
        if file.exists() and not discard:
            self.parts = _left_over(self.path, plan)
        kept = {"plan.json", "lock", *([_NAMING] if self.parts else [])}
        kept |= {name for part in self.parts for name in (part.path.name, part.path.stem + ".json")}
        for stray in self.path.iterdir():
            if stray.name not in kept:
                with suppress(OSError):
                    stray.unlink()
        _write_atomically(file, json.dumps(plan, indent=1, sort_keys=True))


def _folder_of(output: Path) -> Path:
    name = output.name
    if len(os.fsencode(name)) + len(".vidsr") > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{os.fsencode(name)[:200].decode(errors='ignore')}~{digest}"
    return output.with_name(name + ".vidsr")


def half_named(output: Path) -> bool:
    """Return whether a job was giving a sequence's pictures their names when it ended."""
    return (_folder_of(output) / _NAMING).exists()


def give_name(path: Path, target: Path) -> None:
    """Give a whole and checked file its final name, once the disk has it.

    Raises:
        OutputError: It cannot have it.
    """
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # some file systems tell only now that they are full
        path.replace(target)
    except OSError as error:
        raise OutputError(f"cannot give it its name ({error.strerror})", path=target) from error


def _lock(folder: Path, output: Path) -> IO[bytes]:
    try:
        return lock_folder(folder)
    except BlockingIOError as error:
        raise OptionsError(
            "another vidsr is working on this output", path=folder, hint="wait for it, or stop it"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write here ({error.strerror})", path=output.parent) from error


def _left_over(folder: Path, plan: Mapping[str, Any]) -> list[Part]:
    """Return the finished segments of an interrupted job, which must have had the same plan."""
    try:
        earlier = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        spelled = differences(earlier, plan)
        if spelled:
            raise OptionsError(
                f"unfinished work of another job ({spelled})",
                path=folder,
                hint="repeat that job's command to finish it, or add --discard to start anew",
            )
        return _finished(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"this unfinished work cannot be read ({error})",
            path=folder,
            hint="add --discard to start anew",
        ) from error


def _finished(folder: Path) -> list[Part]:
    """Return the segments that are whole, up to the first gap."""
    parts: list[Part] = []
    while (record := folder / f"{len(parts):06d}.json").exists():
        entry = json.loads(record.read_text(encoding="utf-8"))
        path = folder / entry["file"]
        if path.exists():
            if path.stat().st_size != entry["bytes"]:
                break
        elif not (folder / _NAMING).exists():
            break
        parts.append(
            Part(path, entry["start"], tuple(entry["pts"]), entry["reorder"], tuple(entry["shifts"]))
        )
    return parts


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write here ({error.strerror})",
            path=path,
            hint="free some space if the disk is full, and run the same command: it continues",
        ) from error
