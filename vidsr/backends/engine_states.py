"""Which kept engines nobody will ask for again, and their removal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vidsr.backends.engine_cache import EngineCache
from vidsr.backends.engine_key import EngineKey, Place
from vidsr.backends.engine_record import Entry

__all__ = ["UNUSED_DAYS", "Pruned", "installed_digests", "outdated_kin", "prune", "stale"]

UNUSED_DAYS = 30.0
"""An engine of a model that is not installed, such as somebody's own file, counts as stale after so long."""

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """An engine that is to go, or has gone."""

    entry: Entry
    reason: str
    removed: bool


def installed_digests() -> dict[str, frozenset[str]]:
    """Return the digests of the installed models' files, by the models' ids.

    Raises:
        ModelError: A card is wrong.
    """
    from vidsr.models.lookup import list_models

    return {m.spec.id: frozenset(file.sha256 for file in m.spec.files.values()) for m in list_models()}


def stale(
    entry: Entry,
    places: Sequence[Place] | None,
    installed: Mapping[str, frozenset[str]],
    *,
    now: float | None = None,
) -> str:
    """Return why nobody will ask for an engine again, in words; empty: somebody may.

    Args:
        entry: The engine.
        places: Where engines run here. None: that is not known, so runtime and driver are not judged.
        installed: See `installed_digests`.
        now: Seconds since 1970; None: the clock's.
    """
    if entry.record is None:
        return ""
    key = entry.record.key
    why = _moved(key, places or ())
    if why:
        return why
    if key.model in installed:
        fits = entry.record.about.model_sha256 in installed[key.model]
        return "" if fits else f"the installed {key.model} is another by now"
    days = ((time.time() if now is None else now) - entry.used) / _DAY
    if days > UNUSED_DAYS:
        return f"{key.model} is not installed, and it was not used for {days:.0f} days"
    return ""


def outdated_kin(cache: EngineCache, key: EngineKey) -> str:
    """Return why an engine of this graph on this GPU does not count any more; empty: none is there."""
    for entry in cache.all():
        if entry.record is None:
            continue
        one = entry.record.key
        if (one.graph, one.shapes, one.precision) == (key.graph, key.shapes, key.precision):
            why = _moved(one, (key.place,))
            if why:
                return why
    return ""


def prune(
    cache: EngineCache,
    places: Sequence[Place] | None,
    installed: Mapping[str, frozenset[str]],
    *,
    remove: bool,
    older: float | None = None,
) -> list[Pruned]:
    """Find what is broken, stale or unused, and remove it if asked to; what is being built stays.

    Args:
        cache: Where.
        places: As for `stale`.
        installed: As for `stale`.
        remove: Whether to remove, not only to tell.
        older: Days without use after which an engine goes, whatever it is; None: use does not matter.

    Raises:
        OutputError: Something cannot be removed.
    """
    found = []
    for entry in list(cache.verify()):  # before anything is removed
        days = (time.time() - entry.used) / _DAY
        reason = entry.problem or stale(entry, places, installed)
        if not reason and older is not None and days >= older:
            reason = f"it was not used for {days:.0f} days"
        if reason:
            found.append(Pruned(entry, reason, removed=remove and cache.remove(entry.name)))
    return found


def _moved(key: EngineKey, places: Sequence[Place]) -> str:
    """Return what has changed on the GPU that an engine was made for, in words; empty: nothing."""
    kind = (key.device, key.capability, key.runtime)
    same = [place for place in places if (place.device, place.capability, place.runtime) == kind]
    if not same or key.place in same:
        return ""  # another machine's that shares the folder, or one that fits
    here = same[0]
    if key.driver != here.driver:
        return f"the driver was {key.driver}, is {here.driver}"
    return f"{key.runtime} was {key.runtime_version}, is {here.runtime_version}"
