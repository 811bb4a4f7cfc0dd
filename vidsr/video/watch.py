"""A source that is changed, replaced or removed while a job reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vidsr.errors import ProbeError, SourceError
from vidsr.sources import Source, is_sequence

__all__ = ["SourceWatch"]

T = TypeVar("T")
_State = tuple[int, int, int, int]
_HINT = "what was finished before stays; put the source back and run the same command, or add --discard"


@dataclass(frozen=True, slots=True)
class SourceWatch:
    """What a source was when the job was planned.

    A frame that is handed on after `check` was decoded from bytes that were read before it: if the file is
    then still the same, so were they. So no segment holds frames of a source that changed meanwhile. Of an
    address nothing is watched.
    """

    path: Path | None
    state: _State | None
    """Device, inode, bytes and time of modification in ns; None: not watched."""

    @classmethod
    def of(cls, source: Source) -> SourceWatch:
        """Begin to watch.

        Raises:
            ProbeError: It cannot be looked at.
        """
        if not isinstance(source, Path) or is_sequence(source):
            return cls(None, None)
        try:
            return cls(source, _state(source))
        except FileNotFoundError:
            return cls(None, None)  # opening it refuses it
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ProbeError(f"cannot open this ({reason})", path=source) from error

    def check(self) -> None:
        """Do nothing if the source is what it was.

        Raises:
            SourceError: It is not.
        """
        if self.path is None:
            return
        try:
            now = _state(self.path)
        except OSError as error:
            raise SourceError(
                f"the source vanished while it was read ({error.strerror})", path=self.path, hint=_HINT
            ) from error
        if now != self.state:
            raise SourceError("the source was changed while it was read", path=self.path, hint=_HINT)

    def over(self, items: Iterator[T]) -> Iterator[T]:
        """Yield what was read from the source, each item after a check, and check after the last."""
        try:
            for item in items:
                self.check()
                held = [item]
                del item  # frames can be large: while one is worked on, it is not held here too
                yield held.pop()
        except SourceError:
            self.check()  # why it could not be decoded
            raise
        self.check()


def _state(path: Path) -> _State:
    status = os.stat(path)  # noqa: PTH116 - as often as there are frames
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
