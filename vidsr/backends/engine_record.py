"""What lies beside an engine, and what is checked before anybody is given the engine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from vidsr import records
from vidsr.backends.engine_key import EngineKey
from vidsr.backends.tensorrt.gate import GateResult
from vidsr.identity import differences

__all__ = [
    "ENGINE",
    "RECORD",
    "About",
    "Engine",
    "EngineRecord",
    "Entry",
    "RefusedError",
    "check_key",
    "check_size",
    "read_engine",
    "read_record",
]

ENGINE, RECORD = ".engine", ".json"
"""Endings of the two files."""

_MOST_RECORD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a record tells beside the key, for people and for finding out what nobody needs any more."""

    model_sha256: str
    """Of the model's file."""
    pixel_format: str
    result: str
    """Size of what comes out, such as 1920x1080."""
    build_seconds: float
    in_flight: int = 2
    """Frames at once that it is fastest with on its GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """What lies beside an engine."""

    key: EngineKey
    sha256: str
    """Of the engine."""
    bytes: int
    gate: GateResult
    about: About
    vidsr: str
    """Version that made it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine whose bytes are those of its record."""

    record: EngineRecord
    path: Path
    data: bytes = field(repr=False)
    """What was checked: the file is not read a second time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What there is under a name, whole or not."""

    name: str
    record: EngineRecord | None
    """None: there is none that can be read."""
    bytes: int
    used: float
    """When it was last used, in seconds since 1970."""
    problem: str = ""
    """Why it is refused; empty: nothing is known against it."""


class RefusedError(Exception):
    """An entry that cannot be used, and why."""


def read_record(folder: Path, name: str) -> EngineRecord | None:
    """Return the record under a name; None: there is neither a record nor an engine.

    Raises:
        RefusedError: It is missing, cannot be read, or is not one.
    """
    try:
        with (folder / f"{name}{RECORD}").open("rb") as file:
            text = file.read(_MOST_RECORD_BYTES + 1)
        found = json.loads(text) if len(text) <= _MOST_RECORD_BYTES else None
        if not isinstance(found, dict):
            raise RefusedError("its record is not one of vidsr's")
        return records.from_mapping(EngineRecord, found)
    except FileNotFoundError:
        if (folder / f"{name}{ENGINE}").exists():
            raise RefusedError("its record is missing") from None
        return None
    except OSError as error:
        raise RefusedError(f"its record cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise RefusedError(f"its record is damaged ({error})") from error


def check_key(record: EngineRecord, key: EngineKey) -> None:
    """Check that a record is of a key.

    Raises:
        RefusedError: It is of another; the message says in what they differ.
    """
    if record.key != key:
        why = differences(records.to_mapping(record.key), records.to_mapping(key))
        raise RefusedError(f"it is another engine ({why})")


def check_size(folder: Path, name: str, record: EngineRecord) -> None:
    """Check that the engine is there and as long as its record says.

    Raises:
        RefusedError: It is not.
    """
    try:
        size = (folder / f"{name}{ENGINE}").stat().st_size
    except FileNotFoundError:
        raise RefusedError("there is a record, but no engine") from None
    except OSError as error:
        raise RefusedError(f"it cannot be read ({error.strerror})") from error
    if size != record.bytes:
        raise RefusedError(f"it has {size} bytes, its record says {record.bytes}")


def read_engine(folder: Path, name: str, record: EngineRecord) -> bytes:
    """Return the engine's bytes, which are those of its record.

    Raises:
        RefusedError: They are not, or cannot be read.
    """
    check_size(folder, name, record)
    try:
        data = (folder / f"{name}{ENGINE}").read_bytes()
    except OSError as error:
        raise RefusedError(f"it cannot be read ({error.strerror})") from error
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise RefusedError("its bytes are not those of its record")
    return data
