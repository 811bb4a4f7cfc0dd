"""Compiled engines in the user's cache: each is a file with a record beside it.

Nobody is given an engine whose record is not that of the key asked for, or whose bytes are not the record's:
runtimes read engines unchecked. What does not fit is refused with a reason, and built again.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vidsr import records
from vidsr.atomic import write_atomically
from vidsr.backends.engine_key import EngineKey, Place
from vidsr.backends.engine_record import (
    ENGINE,
    RECORD,
    About,
    Engine,
    EngineRecord,
    Entry,
    RefusedError,
    check_key,
    check_size,
    read_engine,
    read_record,
)
from vidsr.backends.tensorrt.gate import GateResult
from vidsr.caches import cache_file
from vidsr.errors import OutputError
from vidsr.identity import own_version
from vidsr.locks import lock_folder

__all__ = ["EngineCache"]

_WORK, _PARTIAL = ".building", ".partial"
_DIGEST_BYTES = 32
_HINT = "free some space if the disk is full; XDG_CACHE_HOME can name another folder"


class EngineCache:
    """A folder of engines, shared by all processes of a user."""

    def __init__(self, folder: Path | None = None) -> None:
        """Take a folder; it is made when something is kept.

        Args:
            folder: None: ``engines`` in the user's cache.

        Raises:
            OutputError: This user has no home.
        """
        where = folder or cache_file("engines")
        if where is None:
            raise OutputError(
                "engines cannot be kept: this user has no home", hint="set XDG_CACHE_HOME to a folder"
            )
        self.folder = where
        self.refused = ""
        """Why the last `get` found nothing although something was there; empty: nothing was."""

    def get(self, key: EngineKey) -> Engine | None:
        """Return the engine of a key, checked; None: there is none that can be used, see `refused`."""
        self.refused = ""
        try:
            record = read_record(self.folder, key.name)
            if record is None:
                return None
            check_key(record, key)
            data = read_engine(self.folder, key.name, record)
        except RefusedError as why:
            self.refused = str(why)
            return None
        with suppress(OSError):
            os.utime(self._path(key.name, RECORD))
        return Engine(record, self._path(key.name, ENGINE), data)

    @contextmanager
    def building(
        self, key: EngineKey, waiting: Callable[[str], object] = lambda _: None
    ) -> Iterator[Engine | None]:
        """Keep others from building the same engine; yield it if somebody else has built it meanwhile.

        Args:
            key: The engine's.
            waiting: Told, once, for what this process waits, if it does.

        Raises:
            OutputError: The folder cannot be written.
        """
        with self._locked(key.name, waiting):
            self.sweep(key.name)
            yield self.get(key)

    @contextmanager
    def workspace(self, key: EngineKey) -> Iterator[Path]:
        """Yield an empty folder for building, removed afterwards; for whoever is `building`.

        Raises:
            OutputError: It cannot be made.
        """
        folder = self._path(key.name, f".{os.getpid()}{_WORK}")
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, key: EngineKey, data: bytes, gate: GateResult, about: About) -> Engine:
        """Keep an engine; for whoever is `building` it.

        Raises:
            OutputError: It cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        record = EngineRecord(
            key=key, sha256=sha256, bytes=len(data), gate=gate, about=about, vidsr=own_version()
        )
        path = self._path(key.name, ENGINE)
        # The record comes last: until then an engine counts as broken.
        write_atomically(path, data, hint=_HINT)
        text = json.dumps(records.to_mapping(record), indent=1) + "\n"
        write_atomically(self._path(key.name, RECORD), text, hint=_HINT)
        return Engine(record, path, data)

    def all(self) -> Iterator[Entry]:
        """Yield what there is, by name, without reading the engines."""
        yield from map(self._entry, self._names())

    def verify(self) -> Iterator[Entry]:
        """Yield what there is, with every engine's bytes checked."""
        for entry in self.all():
            if entry.record is None or entry.problem:
                yield entry
                continue
            try:
                read_engine(self.folder, entry.name, entry.record)
                yield entry
            except RefusedError as why:
                yield Entry(entry.name, entry.record, entry.bytes, entry.used, str(why))

    def remove(self, name: str) -> bool:
        """Remove what there is under a name; False: somebody is building it.

        Raises:
            OutputError: It cannot be removed.
        """
        try:
            with self._locked(name):
                self.sweep(name)
                for ending in (RECORD, ENGINE):
                    try:
                        self._path(name, ending).unlink(missing_ok=True)
                    except OSError as error:
                        raise OutputError(
                            f"cannot remove this ({error.strerror})", path=error.filename
                        ) from error
        except BlockingIOError:
            return False
        return True

    def sweep(self, name: str) -> None:
        """Remove what killed builders left of an engine; for whoever has its lock."""
        for left in self.folder.glob(f"{glob.escape(name)}.*"):
            if left.suffix == _WORK:
                shutil.rmtree(left, ignore_errors=True)
            elif left.suffix == _PARTIAL:
                with suppress(OSError):
                    left.unlink()

    def timing(self, place: Place) -> bytes | None:
        """Return what the runtime keeps of its measurements on a kind of GPU; None: nothing that is whole."""
        try:
            data = self._timing_path(place).read_bytes()
        except OSError:
            return None
        digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        return rest if rest and hashlib.sha256(rest).digest() == digest else None

    def keep_timing(self, place: Place, data: bytes) -> None:
        """Keep such measurements; of two builders at once the later one's stay.

        Raises:
            OutputError: They cannot be written.
        """
        if data:
            write_atomically(self._timing_path(place), hashlib.sha256(data).digest() + data, hint=_HINT)

    def _timing_path(self, place: Place) -> Path:
        key = EngineKey.at(place, model="timing", graph="", shapes="", precision="")
        return self.folder / f"timing_{key.digest[:12]}.cache"

    def _path(self, name: str, ending: str) -> Path:
        return self.folder / f"{name}{ending}"

    def _names(self) -> list[str]:
        try:
            files = list(self.folder.iterdir())
        except OSError:
            return []
        found = {f.name.removesuffix(end) for f in files for end in (ENGINE, RECORD) if f.suffix == end}
        left = {f.name.rsplit(".", 2)[0] for f in files if f.suffix == _WORK}
        left |= {f.name.rsplit(".", 3)[0] for f in files if f.suffix == _PARTIAL}
        return sorted(found | left)

    def _entry(self, name: str) -> Entry:
        record, problem, size, used = None, "", 0, 0.0
        with suppress(OSError):
            size = self._path(name, ENGINE).stat().st_size
            used = self._path(name, ENGINE).stat().st_mtime
        with suppress(OSError):
            used = self._path(name, RECORD).stat().st_mtime
        try:
            record = read_record(self.folder, name)
            if record is None:
                return Entry(name, None, 0, used or time.time(), "a building was broken off, or goes on")
            check_size(self.folder, name, record)
            if record.key.name != name:
                raise RefusedError(f"its record is of {record.key.name}")
        except RefusedError as why:
            problem = str(why)
        return Entry(name, record, size, used, problem)

    @contextmanager
    def _locked(self, name: str, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
        """Hold an engine's lock; without `waiting` it raises BlockingIOError rather than wait."""
        locks = self.folder / "locks"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            locks.mkdir(mode=0o700, exist_ok=True)
            lock = self._lock(locks, f"{name}.lock", waiting)
        except BlockingIOError:
            raise
        except OSError as error:
            raise _unwritable(locks, error) from error
        with lock:
            with suppress(OSError):  # only told to those who wait
                lock.truncate(0)
                lock.write(str(os.getpid()).encode())
                lock.flush()
            yield

    def _lock(self, locks: Path, name: str, waiting: Callable[[str], object] | None) -> IO[bytes]:
        try:
            return lock_folder(locks, name=name)
        except BlockingIOError:
            if waiting is None:
                raise
        who = ""
        with suppress(OSError):
            who = (locks / name).read_text(encoding="utf-8", errors="replace")[:20]
        waiting(f"waiting for process {who or '?'}, which builds {name.removesuffix('.lock')}")
        try:
            return lock_folder(locks, wait=True, name=name)
        except BlockingIOError as error:  # a file system without locks
            raise _unwritable(locks, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"engines cannot be kept here ({error.strerror})", path=path, hint=_HINT)
