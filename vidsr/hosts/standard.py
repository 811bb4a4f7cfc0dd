"""Standard input and output as streams of bytes: read and written where the frames lie."""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["Input", "Output"]

_PIPE_BYTES = 1 << 20
"""What a pipe is to hold: with Linux's 64 KiB both ends wake each other 16 times as often."""
_LOOK_MS = 100


class Input:
    """A file descriptor to read from, by one thread; another may `stop` it.

    Attributes:
        count: Bytes read so far.
        tail: The last bytes that `read` has given, at most 12.
    """

    def __init__(self, number: int) -> None:
        """Take a descriptor, which stays the caller's."""
        self.count = 0
        self.tail = b""
        self._number = number
        self._back = b""
        self._stopped = threading.Event()
        self._poll = select.poll()
        self._poll.register(number, select.POLLIN)
        _widen(number)

    def stop(self) -> None:
        """Let this and every further reading find the end, at once."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def fill(self, into: memoryview) -> int:
        """Fill a buffer of bytes; return how many there were before the end.

        Raises:
            OSError: It cannot be read.
        """
        done = min(len(self._back), len(into))
        into[:done], self._back = self._back[:done], self._back[done:]
        while done < len(into):
            # Not simply a read: nobody could end one that waits for a program which sends nothing.
            while not self._poll.poll(_LOOK_MS):
                if self._stopped.is_set():
                    return done
            got = os.readv(self._number, [into[done:]])
            if not got or self._stopped.is_set():
                break
            done += got
        self.count += done
        return done

    def read(self, most: int = -1) -> bytes:
        """Return so many bytes, fewer at the end; as files have it, for PyAV."""
        buffer = bytearray(_PIPE_BYTES if most < 0 else most)
        data = bytes(memoryview(buffer)[: self.fill(memoryview(buffer))])
        self.tail = (self.tail + data[-12:])[-12:]
        return data

    def give_back(self, data: bytes) -> None:
        """Let bytes that were read be read once more."""
        self._back = data + self._back
        self.count -= len(data)


class Output:
    """A file descriptor to write to.

    Attributes:
        closed_early: Whether whoever read it has gone away.
    """

    def __init__(self, number: int) -> None:
        """Take a descriptor, which stays the caller's."""
        self.closed_early = False
        self._number = number
        _widen(number)

    def write_all(self, parts: Sequence[memoryview | bytes]) -> None:
        """Write buffers one after another, all of them.

        Raises:
            BrokenPipeError: Whoever read it has gone away.
            OSError: It cannot be written.
        """
        left = [memoryview(part) for part in parts if len(part)]
        while left:
            try:
                done = os.writev(self._number, left)
            except BrokenPipeError:
                self.closed_early = True
                raise
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if left:
                left[0] = left[0][done:]

    def write(self, data: bytes) -> int:
        """Write all of it; as files have it, for PyAV."""
        self.write_all([data])
        return len(data)


def _widen(number: int) -> None:
    """Let a pipe hold more; what is no pipe stays as it is, and so does one whose owner has no room left."""
    with suppress(OSError, AttributeError):  # not on every system
        fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
