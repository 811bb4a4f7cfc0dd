"""An error into the one line and the exit code that the command line ends with."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator

from vidsr.errors import VidsrError, one_line

__all__ = ["ending", "out_of_memory"]

_TRACEBACK = "VIDSR_TRACEBACK"
_MEMORY_HINT = "close other programs, or ask for --tile 256 or a smaller --size; what is finished stays"
# What OpenVINO and its CPU library say of memory they did not get.
_OUT_OF_MEMORY = ("bad_alloc", "cannot allocate memory", "out of memory", "could not create a memory object")


def ending(error: Exception) -> tuple[str, int]:
    """Return the line, without "vidsr: ", and the exit code; with VIDSR_TRACEBACK=1 print the traceback."""
    if os.environ.get(_TRACEBACK, "") not in ("", "0"):
        traceback.print_exception(error)
    if out_of_memory(error):
        stage = next((e.stage for e in _chain(error) if isinstance(e, VidsrError) and e.stage), None)
        notes = [note for e in _chain(error) for note in getattr(e, "__notes__", ())]
        where = f" in the stage '{stage}'" if stage else f" {notes[0]}" if notes else ""
        return one_line(f"out of memory{where}; {_MEMORY_HINT}"), 1
    if isinstance(error, VidsrError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return one_line(f"{name}{error.strerror}; set {_TRACEBACK}=1 to see where"), 1
    notes = getattr(error, "__notes__", [])
    said = "; ".join(filter(None, [str(error)[:300], *notes]))
    return one_line(
        f"unexpected {type(error).__name__}" + (f" ({said})" if said else "") + ", a fault in vidsr;"
        f" please report it with what {_TRACEBACK}=1 prints"
    ), 1


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that it was made of, says that memory could not be had."""
    for one in _chain(error):
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM):
            return True
        if isinstance(one, RuntimeError | VidsrError) and any(w in str(one).lower() for w in _OUT_OF_MEMORY):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
