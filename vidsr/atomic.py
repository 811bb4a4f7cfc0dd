"""Files that are whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidsr.errors import OutputError

__all__ = ["write_atomically"]

_HINT = "free some space if the disk is full, and run the same command: it continues"


def write_atomically(path: Path, data: str | bytes, *, hint: str = _HINT) -> None:
    """Write a file that is whole or not there; text becomes UTF-8.

    Args:
        path: The file.
        data: All of it.
        hint: What to do where the disk refuses.

    Raises:
        OutputError: The disk refused.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write here ({error.strerror})", path=path, hint=hint) from error
