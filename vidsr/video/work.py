"""The work folder beside an output: what is finished of it, so that the same command continues."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from vidsr.atomic import write_atomically
from vidsr.errors import OptionsError, OutputError
from vidsr.identity import differences
from vidsr.locks import lock_folder
from vidsr.video.parts import (
    Part,
    folder_of,
    read_cuts,
    read_part,
    read_parts,
    write_cuts,
    write_part,
)

__all__ = [
    "Unfinished",
    "WorkFolder",
    "clear_remains",
    "find_unfinished",
    "give_name",
    "half_named",
]

_NAMING = "naming"


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
    path = folder_of(output)
    if not path.is_dir():
        return None
    if (path / "lock").exists():
        _lock(path, output).close()
    if not (path / "plan.json").exists():
        return None
    if discard:
        return Unfinished(path, 0)
    parts, _ = _left_over(path, json.loads(json.dumps(plan)))
    return Unfinished(path, sum(len(part.pts) for part in parts.values()))


class WorkFolder:
    """``<output>.vidsr/``: the plan, finished segments with their records, and the joined file.

    Attributes:
        path: The folder.
        numbered: Finished segments by number.
        cuts: Where segments begin, in ticks of the source; (): each is cut as it is made, in order.
    """

    def __init__(
        self, output: Path, plan: Mapping[str, Any], *, discard: bool = False, shared: bool = False
    ) -> None:
        """Make the folder, or take up what an interrupted run of the same plan left in it.

        Args:
            output: The result's final name.
            plan: Everything that decides its bytes.
            discard: Forget what is there.
            shared: Work beside others who do the same, each on segments of their own. The folder must be
                there.

        Raises:
            OptionsError: It holds unfinished work of another plan, or another process works in it.
            OutputError: It cannot be made or read.
        """
        self.path = folder_of(output)
        self.numbered: dict[int, Part] = {}
        self.cuts: tuple[int, ...] = ()
        self._shared = shared
        # Two containers may have one name and the same numbers of processes.
        self._mine = f"~{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}" if shared else ""
        try:
            self.path.mkdir(exist_ok=True)
        except FileExistsError as error:
            hint = "it is where unfinished work is kept; move it away"
            raise OutputError("this is no folder", path=self.path, hint=hint) from error
        except OSError as error:
            raise OutputError(f"cannot write here ({error.strerror})", path=output.parent) from error
        self._lock: IO[bytes] | None = _lock(self.path, output, shared=shared)
        try:
            self._take_up(json.loads(json.dumps(plan)), discard=discard)
        except BaseException:
            # An earlier job's work stays, whatever it was refused for; a folder made just now goes.
            self._let_go(keep=(self.path / "plan.json").exists())
            raise

    @property
    def parts(self) -> list[Part]:
        """Finished segments in order; without those in which nothing is shown."""
        return [self.numbered[number] for number in sorted(self.numbered) if self.numbered[number].pts]

    @property
    def frames(self) -> int:
        """Frames in the finished segments."""
        return sum(len(part.pts) for part in self.numbered.values())

    @property
    def naming(self) -> bool:
        """Whether an earlier run was giving names when it ended: a missing part has its final name."""
        return (self.path / _NAMING).exists()

    def begin_naming(self) -> None:
        """Note that all parts are whole and checked, and get their final names from now on."""
        write_atomically(self.path / _NAMING, "")

    def set_cuts(self, cuts: tuple[int, ...]) -> None:
        """Decide where segments begin, before the first is made.

        Raises:
            OutputError: It cannot be noted.
        """
        write_cuts(self.path, cuts)
        self.cuts = cuts

    def segment_path(self, suffix: str, number: int | None = None) -> Path:
        """Return where a segment is written; the next one unless its number is given."""
        number = len(self.numbered) if number is None else number
        return self.path / f"{number:06d}{self._mine}{suffix}"

    def record(self, part: Part, number: int | None = None) -> None:
        """Note that a segment is whole; from now on a new run does not make it again.

        Raises:
            OutputError: It cannot be noted.
        """
        number = len(self.numbered) if number is None else number
        if self._shared:
            with lock_folder(self.path, wait=True, name="record.lock"):
                part = self._first_of(part, number)
        else:
            write_part(self.path, number, part)
        self.numbered[number] = part

    def _first_of(self, part: Part, number: int) -> Part:
        """Return a segment as all workers know it: this one, unless another has made it meanwhile."""
        there = read_part(self.path, number)
        if there is not None:
            part.path.unlink(missing_ok=True)
            return there
        name = self.path / f"{number:06d}{part.path.suffix}"
        try:
            if part.pts:
                part.path.replace(name)
        except OSError as error:
            raise OutputError(f"cannot write here ({error.strerror})", path=name) from error
        part = replace(part, path=name)
        write_part(self.path, number, part)
        return part

    def release(self) -> None:
        """Let go of the folder; it stays if it holds finished work, and goes if it does not."""
        self._let_go(keep=bool(self.numbered or self.cuts) or self._shared)

    def _let_go(self, *, keep: bool) -> None:
        if self._lock is not None:
            if not keep:
                shutil.rmtree(self.path, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Delete the folder: the result has its final name."""
        with suppress(OSError):  # first of all: who is killed amid the rest has left nothing to go on from
            (self.path / "plan.json").unlink()
        shutil.rmtree(self.path, ignore_errors=True)
        self.numbered, self.cuts = {}, ()
        self.release()

    def _take_up(self, plan: dict[str, Any], *, discard: bool) -> None:
        file = self.path / "plan.json"
        if self._shared and not file.exists():
            raise OutputError("the work folder is gone", path=self.path, hint="run the same command again")
        if file.exists() and not discard:
            self.numbered, self.cuts = _left_over(self.path, plan)
        if self._shared:
            return
        kept = {
            "plan.json",
            "lock",
            *([_NAMING] if self.numbered else []),
            *(["cuts.json"] if self.cuts else []),
        }
        kept |= {n for k, part in self.numbered.items() for n in (part.path.name, f"{k:06d}.json")}
        for stray in self.path.iterdir():
            if stray.name not in kept:
                with suppress(OSError):
                    stray.unlink()
        write_atomically(file, json.dumps(plan, indent=1, sort_keys=True))


def half_named(output: Path) -> bool:
    """Return whether a job was giving a sequence's pictures their names when it ended."""
    return (folder_of(output) / _NAMING).exists()


def clear_remains(output: Path) -> bool:
    """Return whether there is no work to go on from; what a `WorkFolder.remove` cut short has left goes."""
    path = folder_of(output)
    if (path / "plan.json").exists():
        return False
    shutil.rmtree(path, ignore_errors=True)
    return True


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


def _lock(folder: Path, output: Path, *, shared: bool = False) -> IO[bytes]:
    try:
        return lock_folder(folder, shared=shared)
    except BlockingIOError as error:
        raise OptionsError(
            "another vidsr is working on this output", path=folder, hint="wait for it, or stop it"
        ) from error
    except OSError as error:
        raise OutputError(f"cannot write here ({error.strerror})", path=output.parent) from error


def _left_over(folder: Path, plan: Mapping[str, Any]) -> tuple[dict[int, Part], tuple[int, ...]]:
    """Return the finished segments of an interrupted job, which must have had the same plan, and its cuts."""
    try:
        earlier = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        spelled = differences(earlier, plan)
        if spelled:
            raise OptionsError(
                f"unfinished work of another job ({spelled})",
                path=folder,
                hint="repeat that job's command to finish it, or add --discard to start anew",
            )
        parts = read_parts(folder, named=(folder / _NAMING).exists())
        cuts = read_cuts(folder)
        if cuts:
            return parts, cuts
        # Made in order, so that nothing behind a gap can be gone on from.
        whole = next((number for number in range(len(parts)) if number not in parts), len(parts))
        return {number: parts[number] for number in range(whole)}, ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"this unfinished work cannot be read ({error})",
            path=folder,
            hint="add --discard to start anew",
        ) from error
