"""A queue that is a folder: files as they come in, each when it has stopped growing.

File events only tell where to look; what is there is what the file system says. So an event that is lost
costs time and no file: all folders are read again every minute.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vidsr.batch.finding import Walk, absolute, is_media, path_key
from vidsr.errors import BackendUnavailableError, SourceError

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

__all__ = ["watch_folders"]

_LOOK_S = 1.0  # between two looks at a file that grows, and the longest that the caller waits
_TICK_S = 0.1  # how soon the end is noticed
_RESCAN_S = 60.0  # what a lost event costs; a folder of thousands of files is read in milliseconds
_POLL_S = 2.0  # watchdog's polling reads all folders this often
_Look = tuple[int, int]  # a file's size in bytes and time of change in ns


def watch_folders(
    folders: Sequence[Path],
    *,
    recursive: bool,
    stop: threading.Event,
    settle_s: float = 5.0,
    poll: bool = False,
) -> Iterator[Path | None]:
    """Yield the media that are in the folders and those that come in, until `stop` is set.

    A file is yielded once its size and time have not changed for `settle_s`, it is not empty, and, as far as
    ``/proc`` tells, no process of this user has it open for writing. It is yielded again when another file
    has its place: one of another size or time. Names of unfinished files (hidden, ``.part``, ``.crdownload``,
    ...) are passed over until they are renamed. Work folders and results are passed over, too, only as far as
    their names say: whoever plans what is yielded knows the rest.

    Args:
        folders: Where to look.
        recursive: Whether sub-folders count.
        stop: Ends the iteration within a moment.
        settle_s: Seconds.
        poll: Read the folders every two seconds instead of being told by the kernel, which does not know
            what other machines write on a network file system.

    Yields:
        A file; None after each second in which there was none, for the caller's other business.

    Raises:
        BackendUnavailableError: watchdog is not installed.
        SourceError: A folder is missing, goes away, or cannot be watched.
    """
    try:
        import watchdog.observers  # noqa: F401 - asked for now, not at the first file
    except ImportError as error:
        raise BackendUnavailableError(
            "--watch needs watchdog, which is not installed", hint="run: pip install 'vidsr[watch]'"
        ) from error
    watched = [_Folder.of(absolute(folder)) for folder in folders]
    return _Watcher(watched, recursive, settle_s).run(stop, poll=poll)


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    real: str
    identity: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> _Folder:
        try:
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(20, "this is no folder")
        except OSError as error:
            raise SourceError(
                f"this folder cannot be watched ({error.strerror})", path=path, hint="check the path"
            ) from error
        return cls(path, os.path.realpath(path), (status.st_dev, status.st_ino))

    def check(self) -> None:
        """Notice that the folder went, or that another one has its name, of which no event would come."""
        try:
            status = self.path.stat()
            same = (status.st_dev, status.st_ino) == self.identity
        except OSError:
            same = False
        if not same:
            raise SourceError(
                "the folder that is watched went away", path=self.path, hint="is its disk still there?"
            )


@dataclass(slots=True)
class _Growing:
    look: _Look
    since: float
    """When it was first seen like this, on the monotonic clock."""


class _Names:
    """Names that something happened to; each once, however long nobody asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, None] = {}

    def put(self, name: str) -> None:
        with self._lock:
            self._names[name] = None

    def take(self) -> list[str]:
        with self._lock:
            names, self._names = list(self._names), {}
        return names


@dataclass(slots=True)
class _Watcher:
    folders: list[_Folder]
    recursive: bool
    settle_s: float
    events: _Names = field(default_factory=_Names)
    growing: dict[Path, _Growing] = field(default_factory=dict)
    yielded: dict[Path, _Look] = field(default_factory=dict)

    def run(self, stop: threading.Event, *, poll: bool) -> Iterator[Path | None]:
        observer = self._observe(poll=poll)
        try:
            quiet = time.monotonic()
            scanned = looked = float("-inf")
            while not stop.is_set():
                now = time.monotonic()
                self._take_events()
                if now >= scanned + _RESCAN_S:
                    scanned = now
                    self._scan()
                if now >= looked + min(_LOOK_S, self.settle_s / 4):
                    looked = now
                    for folder in self.folders:
                        folder.check()
                    for path in self._settled():
                        yield path
                        quiet = time.monotonic()
                        if stop.is_set():
                            return
                if time.monotonic() >= quiet + _LOOK_S:
                    yield None
                    quiet = time.monotonic()
                stop.wait(_TICK_S)
        finally:
            observer.stop()
            observer.join()

    def _observe(self, *, poll: bool) -> BaseObserver:
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer
        from watchdog.observers.polling import PollingObserver

        events = self.events

        class Handler(FileSystemEventHandler):
            """Notes all names that something happened to; runs on watchdog's thread."""

            def on_any_event(self, event: FileSystemEvent) -> None:
                for name in (event.src_path, event.dest_path):
                    if name:
                        events.put(os.fsdecode(name))

        # Of a folder that is made and moved at once watchdog hears twice, and goes on.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        observer: BaseObserver = PollingObserver(timeout=_POLL_S) if poll else Observer()
        handler = Handler()
        folder = self.folders[0]
        try:
            observer.start()
            for folder in self.folders:
                # The real path: inotify does not follow a link.
                observer.schedule(handler, folder.real, recursive=self.recursive)
        except OSError as error:
            observer.stop()
            observer.join()
            hint = "poll instead, or raise fs.inotify.max_user_watches and max_user_instances"
            raise SourceError(
                f"this folder cannot be watched ({error.strerror})", path=folder.path, hint=hint
            ) from error
        return observer

    def _take_events(self) -> None:
        for name in self.events.take():
            for folder in self.folders:
                if name.startswith(folder.real.rstrip("/") + "/"):
                    inside = os.path.relpath(name, folder.real)
                    self._consider(folder, folder.path / inside, inside)

    def _consider(self, folder: _Folder, path: Path, inside: str) -> None:
        *above, last = Path(inside).parts
        hidden = any(part.startswith(".") or part.endswith(".vidsr") for part in above)
        if hidden or (above and not self.recursive):
            return
        if self.recursive and path.is_dir() and not last.startswith(".") and not last.endswith(".vidsr"):
            # Moved in, with all that is in it; gone again perhaps, which is no error below the folder itself.
            self._note(Walk(_root=folder.path).folder(path, recursive=True))
        elif is_media(last):
            self._note([path])

    def _scan(self) -> None:
        for folder in self.folders:
            self._note(Walk().folder(folder.path, recursive=self.recursive))

    def _note(self, paths: list[Path]) -> None:
        """Begin to watch files grow, but for those that were yielded as they are."""
        for path in paths:
            look = _look(path)
            if look is not None and path not in self.growing and self.yielded.get(path) != look:
                self.growing[path] = _Growing(look, time.monotonic())

    def _settled(self) -> list[Path]:
        """Look at all files that grow; return those that do no longer."""
        ready: dict[Path, _Look] = {}
        for path, known in list(self.growing.items()):
            look, now = _look(path), time.monotonic()
            if look is None:
                del self.growing[path]
            elif look != known.look:
                self.growing[path] = _Growing(look, now)
            elif look[0] and now >= known.since + self.settle_s:
                ready[path] = look
        written = _open_for_writing() if ready else frozenset[str]()
        for path, look in list(ready.items()):
            if written and os.path.realpath(path) in written:
                self.growing[path] = _Growing(look, time.monotonic())
                del ready[path]
            else:
                del self.growing[path]
                self.yielded[path] = look
        return sorted(ready, key=path_key)


def _look(path: Path) -> _Look | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _open_for_writing() -> frozenset[str]:
    """Return the names of files that processes of this user have open for writing; none without /proc.

    No file is looked at, only the kernel's list: one on a dead network file system would take for ever.
    """
    found: set[str] = set()
    for process in _names("/proc"):
        if not process.isdecimal():
            continue
        for number in _names(f"/proc/{process}/fd"):
            link = f"/proc/{process}/fd/{number}"
            try:
                # The link's own permissions say what the descriptor was opened for.
                if os.lstat(link).st_mode & stat.S_IWUSR:
                    found.add(os.readlink(link))  # noqa: PTH115 - may be no path at all
            except OSError:  # it was closed
                continue
    return frozenset(found)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted
    except OSError:  # another user's process, one that ended, or no /proc
        return []
