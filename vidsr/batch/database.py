"""The file of a batch's plan: opened, checked, locked as its file system allows, changed in transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from vidsr.batch.filesystems import is_network
from vidsr.errors import OptionsError, OutputError, VidsrError
from vidsr.locks import lock_folder

__all__ = ["FILE_NAME", "VERSION", "Database"]

FILE_NAME = "batch.sqlite3"
VERSION = 1
"""Of the schema, as the file's ``user_version``."""

_APPLICATION = 0x76647372  # "vdsr": tells a batch from other programs' databases (PRAGMA application_id)
_BUSY_S = 60.0  # a transaction takes milliseconds; on a disk that is busy with video perhaps seconds
_REFUSED_S = 1.0  # where there may be one driver, another one holds its lock for hours: no use in waiting
# SQLite's smallest page. It takes a file that is shorter for an empty one, and writes over it.
_LEAST_BYTES = 512

# AUTOINCREMENT: a number is never used again, so that who held a task that is gone holds no other.
_SCHEMA = (
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        position INTEGER NOT NULL,
        key TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        job TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting'
            CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
        tries INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        frames INTEGER,
        output TEXT,
        memory INTEGER NOT NULL DEFAULT 0,
        report TEXT,
        began REAL,
        ended REAL
    )""",
    """CREATE TABLE tasks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job INTEGER NOT NULL REFERENCES jobs (id),
        kind TEXT NOT NULL CHECK (kind IN ('plan', 'segment', 'join')),
        number INTEGER NOT NULL DEFAULT 0,
        begin_pts INTEGER,
        end_pts INTEGER,
        frames INTEGER,
        made INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'leased', 'done')),
        worker TEXT,
        host TEXT,
        lease REAL NOT NULL DEFAULT 0,
        tries INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        UNIQUE (job, kind, number)
    )""",
    "CREATE INDEX tasks_by_state ON tasks (state)",
    """CREATE TABLE workers (
        id TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        pid INTEGER,
        begun REAL NOT NULL,
        beat REAL NOT NULL,
        job INTEGER
    )""",
    """CREATE TABLE notes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job INTEGER NOT NULL REFERENCES jobs (id),
        note TEXT NOT NULL
    )""",
)


class Database:
    """One process's connection. Its threads may share it: one transaction runs at a time.

    On a local disk the journal is a write-ahead log, and many processes read and write. That log needs memory
    which all of them share ("WAL does not work over a network filesystem", SQLite's own page on it), so there
    it is a rollback journal, and whoever opens the file locks it until it is closed.
    """

    def __init__(self, folder: Path, *, create: bool, network: bool | None) -> None:
        """Open the file.

        Args:
            folder: Where it is.
            create: Whether to make folder and file where they are missing.
            network: Whether the folder is on a network file system; None: look.

        Raises:
            OptionsError: There is no batch, or a newer vidsr's, or something else; or another process has it
                and there may be only one.
            OutputError: It cannot be opened or written.
        """
        self.path = folder / FILE_NAME
        self._pid = os.getpid()
        self._turn = threading.RLock()
        self._lock: IO[bytes] | None = None
        if not create and not self.path.exists():
            raise _no_batch(folder)
        try:
            if create:
                folder.mkdir(parents=True, exist_ok=True)
            self.network = is_network(folder) if network is None else network
            self._lock = lock_folder(folder) if self.network else None
        except BlockingIOError as error:
            raise _in_use(folder) from error
        except OSError as error:
            raise OutputError(f"cannot write here ({error.strerror})", path=folder) from error
        try:
            self._connect(create=create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; again is allowed."""
        with self._turn:
            if (connection := getattr(self, "_connection", None)) is not None:
                connection.close()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Make one transaction of what is done inside: all of it, or where an error leaves it nothing.

        Args:
            durable: Whether it must outlive a power cut. Where not, a write-ahead log does not wait for the
                disk; the file stays whole either way.

        Raises:
            OutputError: It cannot be written.
        """
        quick = not durable and not self.network
        with self._turn:
            if quick:
                self._pragma("synchronous = NORMAL")
            try:
                with self._transaction("BEGIN IMMEDIATE") as connection:
                    yield connection
            finally:
                if quick:
                    self._pragma("synchronous = FULL")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read inside as if nobody wrote.

        Raises:
            OutputError: It cannot be read.
        """
        with self._turn, self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._pid:
            raise RuntimeError("SQLite's connections do not outlive a fork: open a Store in each process")
        connection = self._connection
        try:
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
                raise  # a mistake in here
            raise self._failure(error) from error
        finally:
            # Also after Ctrl-C, which may come between any two lines.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def _failure(self, error: sqlite3.Error) -> VidsrError:
        if _code(error) == sqlite3.SQLITE_BUSY:
            return OutputError(
                f"another process has held this for {_BUSY_S:g} s", path=self.path, hint="see what it does"
            )
        hint = "free some space" if _code(error) == sqlite3.SQLITE_FULL else None
        return OutputError(f"the batch's plan cannot be read or written ({error})", path=self.path, hint=hint)

    def _connect(self, *, create: bool) -> None:
        # An address, because only it can say that nothing is to be made; it takes any bytes in a name.
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        size = self.path.stat().st_size if self.path.exists() else 0
        if 0 < size < _LEAST_BYTES and not self.path.with_name(f"{FILE_NAME}-journal").exists():
            raise self._foreign("this is no database")
        try:
            self._connection = sqlite3.connect(
                address,
                uri=True,
                timeout=_REFUSED_S if self.network else _BUSY_S,
                isolation_level=None,  # transactions begin where this file says so
                check_same_thread=False,
            )
            self._connection.row_factory = sqlite3.Row
            self._pragma("synchronous = FULL")
            self._pragma("foreign_keys = ON")
            if self.network:
                self._pragma("locking_mode = EXCLUSIVE")
            self._check(create=create)
            self._set_journal("delete" if self.network else "wal")
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_NOTADB:
                raise self._foreign("this is no database") from error
            if _code(error) == sqlite3.SQLITE_BUSY and self.network:
                raise _in_use(self.path.parent) from error
            raise self._failure(error) from error

    def _check(self, *, create: bool) -> None:
        """Make the tables in an empty file; refuse another's. Takes the lock that a driver keeps."""
        connection = self._connection
        connection.execute("BEGIN EXCLUSIVE" if self.network else "BEGIN IMMEDIATE")
        try:
            version = self._pragma("user_version")
            if self._pragma("application_id") != _APPLICATION:
                if version or self._pragma("schema_version"):
                    raise self._foreign("this database is another program's")
                if not create:
                    raise _no_batch(self.path.parent)
                for statement in _SCHEMA:
                    connection.execute(statement)
                self._pragma(f"application_id = {_APPLICATION}")
                self._pragma(f"user_version = {VERSION}")
            elif version != VERSION:
                raise OptionsError(
                    f"this batch is of another version of vidsr (its form is {version}, not {VERSION})",
                    path=self.path,
                    hint="use that version, or another folder for the batch's state",
                )
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _set_journal(self, mode: str) -> None:
        # While another process does the same, SQLite refuses at once instead of waiting.
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                got = self._pragma(f"journal_mode = {mode}")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or self.network or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
                continue
            if got != mode:
                raise OutputError(
                    f"this file system does not bear the journal '{mode}' of SQLite (it remains '{got}')",
                    path=self.path,
                    hint="put the batch's state on a local disk",
                )
            return

    def _pragma(self, text: str) -> object:
        with closing(self._connection.execute(f"PRAGMA {text}")) as cursor:
            row = cursor.fetchone()
        return None if row is None else row[0]

    def _foreign(self, what: str) -> OptionsError:
        return OptionsError(what, path=self.path, hint="take another folder for the batch's state")


def _code(error: sqlite3.Error) -> int:
    """Return the primary one of SQLite's codes: the lowest 8 bits."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _no_batch(folder: Path) -> OptionsError:
    return OptionsError("there is no batch here", path=folder, hint="name the folder of a batch's state")


def _in_use(folder: Path) -> OptionsError:
    return OptionsError(
        "another vidsr is working on this batch, and on a network file system only one may",
        path=folder,
        hint="wait for it, or stop it",
    )
