"""What work is recognised by when it is taken up again: the source, this version, and how two records differ.

No library is needed here: what only keeps account of jobs, as a batch does, opens no media.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vidsr.errors import SourceError

__all__ = ["differences", "file_sha256", "own_version", "source_identity"]

_SAMPLE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 22  # large enough for a disk's full speed, small enough for a progress bar that moves


def source_identity(path: Path) -> dict[str, Any]:
    """Return what an input is recognised by: name, size, time, and a digest of its head and tail.

    Raises:
        SourceError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        status = path.stat()
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, status.st_size - _SAMPLE_BYTES))
            digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise SourceError(f"cannot read this ({error.strerror})", path=path) from error
    return {
        "name": path.name,
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "head_and_tail_sha256": digest.hexdigest(),
    }


def file_sha256(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of all of a file, as hexadecimal digits.

    Args:
        path: The file.
        progress: Called with the number of bytes read since its last call.

    Raises:
        SourceError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                if progress is not None:
                    progress(len(chunk))
    except OSError as error:
        raise SourceError(f"cannot read this ({error.strerror})", path=path) from error
    return digest.hexdigest()


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> str:
    """Spell out where two records differ: "crf was 18, is 20"; empty where they do not."""
    texts = []
    for key in sorted(set(earlier) | set(now)):
        old, new = earlier.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            texts.append(differences(old, new, f"{where}{key}."))
        elif old != new:
            texts.append(f"{where}{key} was {_told(old)}, is {_told(new)}")
    return "; ".join(text for text in texts if text)


def _told(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def own_version() -> str:
    """Return vidsr's version."""
    try:
        return version("vidsr")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "not installed"
