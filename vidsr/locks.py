"""One process at a time in a folder."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import IO, Any

__all__ = ["lock_folder"]


def lock_folder(folder: Path, *, wait: bool = False, shared: bool = False, name: str = "lock") -> IO[bytes]:
    """Return an open file whose lock keeps others out of `folder` until it is closed.

    The lock goes with the process, however it ends. Unless told to `wait`, it does not.

    Args:
        folder: Where the lock's file is.
        wait: Whether to wait until the others have gone.
        shared: Keep out only those who want the folder for themselves. Windows has no such lock: there nobody
            is kept out.
        name: Of the file: others do not see each other.

    Raises:
        BlockingIOError: Another process has the lock.
        OSError: The folder cannot be written.
    """
    file = (folder / name).open("ab")
    try:
        if os.name == "nt":
            msvcrt: Any = importlib.import_module("msvcrt")
            if not shared:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file.fileno(), kind if wait else kind | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BlockingIOError(error.errno, "another process works in this folder") from error
    return file
