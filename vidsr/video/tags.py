"""Metadata that is carried along: titles, languages, chapters; and what of it only described the old file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsr.video.muxer import Timeline

__all__ = ["container_tags", "lost_tags", "shifted_chapters", "stream_tags"]

# True of the old file's container and streams, not of the new one's.
_STALE = frozenset("major_brand minor_version compatible_brands encoder handler_name vendor_id".split())
_STALE |= frozenset("duration bps number_of_frames number_of_bytes".split())
# What FFmpeg's MP4 muxer writes; other keys need a mode in which players no longer find these.
_MP4_KEYS = frozenset(
    "title artist album_artist album composer date comment genre copyright description synopsis lyrics"
    " show episode_id network grouping keywords track disc media_type creation_time hd_video gapless_playback"
    " compilation performer make model location".split()
)


def container_tags(tags: Mapping[str, str], form: str) -> dict[str, str]:
    """Return the file's tags that the new file keeps."""
    kept = _kept(tags)
    return {k: v for k, v in kept.items() if form not in ("mp4", "mov") or k.lower() in _MP4_KEYS}


def lost_tags(tags: Mapping[str, str], form: str) -> list[str]:
    """Return the names of the file's tags that the new file has no place for."""
    return sorted(_kept(tags).keys() - container_tags(tags, form).keys())


def stream_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a stream's tags that the new stream keeps; MP4 reads a title as ``name``."""
    kept = _kept(tags)
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    return kept


def shifted_chapters(chapters: Sequence[Any], timeline: Timeline) -> list[Any]:
    """Return the chapters with their times in the result, cut to the stretch that is shown."""
    shifted = []
    for chapter in chapters:
        unit = Fraction(chapter["time_base"])
        begin, end = chapter["start"] * unit, chapter["end"] * unit
        if timeline.begin is not None:
            begin = max(begin, timeline.begin)
        if timeline.end is not None:
            end = min(end, timeline.end)
        if begin < end:
            start = round((begin - timeline.origin) / unit)
            stop = round((end - timeline.origin) / unit)
            shifted.append({**chapter, "start": max(0, start), "end": max(0, stop)})
    return shifted


def _kept(tags: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in tags.items()
        if key.lower() not in _STALE
        and not key.lower().startswith("_statistics")
        and key.lower().split("-")[0] not in ("bps", "duration", "number_of_frames", "number_of_bytes")
    }
