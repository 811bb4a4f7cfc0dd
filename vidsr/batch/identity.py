"""What an entry of a batch is recognised by in a later run: its source, its options and vidsr's version.

Whoever runs the entry adds what only its plan knows: the model's digest and the runtime's versions.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from vidsr import records
from vidsr.errors import SourceError
from vidsr.identity import differences as spelled
from vidsr.identity import file_sha256, own_version, source_identity
from vidsr.job import Job
from vidsr.sources import Source, is_sequence, numbered, without_password

__all__ = ["differences", "fingerprint"]

_NOT_RESULT = frozenset(
    "source output overwrite discard allow_network verify threads on_error reuse hwaccel".split()
)
"""Fields of `Job` that a finished result does not depend on, or that have a place of their own. `on_error` is
one, as in an unfinished job's plan: who turns to concealing wants what failed done again, not all."""


def fingerprint(
    job: Job, source: Source, *, full_hash: bool, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Return what decides an entry's result, as far as no medium has to be opened; for JSON.

    Args:
        job: With all options.
        source: Its source. A file is known by size, time, head and tail; a numbered sequence by the name,
            size and time of each picture; an address by itself.
        full_hash: Whether all of a file is read.
        progress: Called with the number of bytes read since its last call.

    Raises:
        SourceError: It cannot be read.
    """
    options = records.to_mapping(job, keep_none=True)
    return {
        "source": _source(source, full_hash=full_hash, progress=progress),
        "options": {key: value for key, value in options.items() if key not in _NOT_RESULT},
        "vidsr": own_version(),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Spell out how two fingerprints differ: "the source changed; crf was 18, is 20"; empty: not at all.

    Where both know the whole file's hash, a file that was only moved or touched has not changed.
    """
    texts = [] if _same_source(old["source"], new["source"]) else ["the source changed"]
    texts.append(spelled(old["options"], new["options"]))
    same_name = old["options"].get("model") == new["options"].get("model")
    if same_name and old.get("model") != new.get("model"):
        texts.append("the model changed")
    before, now = (
        {key: value for key, value in record.items() if key not in ("source", "options", "model")}
        for record in (old, new)
    )
    texts.append(spelled(before, now))
    return "; ".join(filter(None, texts))


def _source(source: Source, *, full_hash: bool, progress: Callable[[int], None] | None) -> dict[str, Any]:
    if isinstance(source, str):
        return {"name": without_password(source)}
    if not is_sequence(source):
        whole = {"sha256": file_sha256(source, progress)} if full_hash else {}
        return {**source_identity(source), **whole}
    digest, count, size = hashlib.sha256(), 0, 0
    try:
        for picture in numbered(source):
            status = picture.stat()
            said = file_sha256(picture, progress) if full_hash else str(status.st_mtime_ns)
            digest.update(os.fsencode(f"{picture.name}\0{status.st_size}\0{said}\0"))
            count, size = count + 1, size + status.st_size
    except OSError as error:
        raise SourceError(f"cannot read this ({error.strerror})", path=source) from error
    if not count:
        raise SourceError("there is no such file, and no picture of this pattern", path=source)
    kind = "sha256" if full_hash else "list_sha256"
    return {"name": source.name, "bytes": size, "pictures": count, kind: digest.hexdigest()}


def _same_source(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if "sha256" in old and "sha256" in new:
        return bool(old["sha256"] == new["sha256"])
    # One of them may know more than the other.
    return all(old[key] == new[key] for key in old.keys() & new.keys())
