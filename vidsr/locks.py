"""One process at a time in a folder."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import IO, Any

__all__ = ["lock_folder"]


def lock_folder(folder: Path, *, wait: bool = False) -> IO[bytes]:
    """Return an open file whose lock keeps others out of `folder` until it is closed.

    The lock goes with the process, however it ends. Unless told to `wait`, it does not.

    Raises:
        BlockingIOError: Another process has the lock.
        OSError: The folder cannot be written.
    """
    file = (folder / "lock").open("ab")
    try:
        if os.name == "nt":
            msvcrt: Any = importlib.import_module("msvcrt")
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BlockingIOError(error.errno, "another process works in this folder") from error
    return file
