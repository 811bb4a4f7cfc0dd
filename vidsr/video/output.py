"""Whether an output may be written: refusals before any work."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from vidsr.errors import OptionsError, OutputError
from vidsr.job import Job
from vidsr.sources import is_pattern, numbered
from vidsr.video.encoders import PICTURE_CODECS
from vidsr.video.work import clear_remains, half_named

__all__ = ["check_kind", "check_writable", "was_named"]

_ANOTHER = "name another output"
_CLOCK_SECONDS = 0.05  # by which a file's time may be behind: kernels take it from their last tick


def check_writable(job: Job, output: Path) -> None:
    """Refuse an output that could not be written now, or would replace what it must not.

    Raises:
        OptionsError: It is a folder, the source, or there already.
        OutputError: Its folder is missing or cannot be written.
    """
    folder = output.parent
    if not folder.is_dir():
        raise OutputError("there is no such folder", path=folder, hint="make it, or name another output")
    if output.is_dir():
        raise OptionsError("this is a folder", path=output, hint="name a file in it")
    source = job.source
    if isinstance(source, Path) and (
        output == source or (output.exists() and source.exists() and output.samefile(source))
    ):
        raise OptionsError("the output would replace the source", path=output, hint="name another output")
    going_on = half_named(output) and not job.discard  # the pictures that are there are this job's
    existing = None if job.overwrite or going_on else _existing(output)
    if existing is not None:
        raise OptionsError("this file exists", path=existing, hint="add --overwrite to replace it")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write here ({error.strerror})", path=folder) from error


def _existing(output: Path) -> Path | None:
    """Return a file that has the output's name, or that of any picture of its sequence."""
    if output.suffix.lower() in PICTURE_CODECS and is_pattern(output):
        return next(numbered(output), None)
    return output if os.path.lexists(output) else None  # a link to nothing is something, too


def was_named(output: Path, since: float) -> bool:
    """Return whether a job that was begun at `since` (unix seconds) has ended but for telling so.

    Its result was written since then and has its name, and its work is deleted.

    Raises:
        OutputError: The work is gone, and the result is not there.
    """
    if not clear_remains(output):
        return False
    named = _existing(output)
    if named is None or named.lstat().st_mtime < since - _CLOCK_SECONDS:
        raise OutputError("the work folder is gone", path=output, hint="run the same command again")
    return True


def check_kind(output: Path) -> None:
    """Refuse what is there and is no file; a link to one is replaced itself, not what it points to.

    Raises:
        OptionsError: It is a device, pipe or socket.
        OutputError: Its name cannot be one.
    """
    try:
        mode = output.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot write this ({reason})", path=output, hint=_ANOTHER) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OptionsError(
            "this is a device, pipe or socket, and the result gets its name only when it is whole",
            path=output,
            hint="name a file, or null: to write nothing",
        )
