"""Metadata that is carried along: titles, languages, chapters; and what of it only described the old file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vidsr.frame import OtherStream

if TYPE_CHECKING:
    from vidsr.video.muxer import Timeline

__all__ = ["container_tags", "lost_of_streams", "lost_tags", "shifted_chapters", "stream_tags"]

# True of the old file's container and streams, not of the new one's.
_STALE = frozenset("major_brand minor_version compatible_brands encoder handler_name vendor_id".split())
_STALE |= frozenset("duration bps number_of_frames number_of_bytes source_id".split())
# What FFmpeg's muxers write into a file and its demuxer finds there; other keys need a mode in which
# players no longer find these.
_MP4_KEYS = frozenset(
    "title artist album_artist album composer date comment genre copyright description synopsis lyrics"
    " show episode_id episode_sort season_number network grouping keywords track disc media_type"
    " creation_time hd_video gapless_playback compilation location".split()
)
_MOV_KEYS = frozenset(
    "title artist album date comment genre copyright creation_time make model location".split()
)
_FILE_KEYS = {"mp4": _MP4_KEYS, "mov": _MOV_KEYS}
_APPLE_LOCATION = "com.apple.quicktime.location.iso6709"
# Of streams; `timecode` is decided by itself, and of an attached picture nothing else is said.
_STREAM_KEYS = frozenset({"title", "language"})
_ELSEWHERE = frozenset({"timecode", "creation_time", "filename", "mimetype", "rotate", "alpha_mode"})

_MATROSKA_FLAGS = frozenset(
    "default dub original comment forced hearing_impaired visual_impaired attached_pic".split()
)
_FLAGS = {
    "mp4": frozenset(
        "default dub comment forced hearing_impaired visual_impaired captions descriptions"
        " attached_pic".split()
    ),
    "mov": frozenset({"default"}),
    "matroska": _MATROSKA_FLAGS,
    "webm": _MATROSKA_FLAGS,
}
_VTT_FLAGS = frozenset("default forced captions descriptions metadata".split())
# The first is about the coding of the picture, the second how QuickTime marks pictures of chapters.
_NO_FLAGS = frozenset({"multilayer", "timed_thumbnails"})


def container_tags(tags: Mapping[str, str], form: str) -> dict[str, str]:
    """Return the file's tags that the new file keeps."""
    kept = _kept(tags)
    known = _FILE_KEYS.get(form)
    if known is None:
        return kept
    found = {key: value for key, value in kept.items() if key.lower() in known}
    for key, value in kept.items():
        # FFmpeg writes a place to four decimals of a degree; without this it would be lost altogether.
        if key.lower() == _APPLE_LOCATION and "location" not in found:
            found["location"] = value
    return found


def lost_tags(tags: Mapping[str, str], form: str) -> list[str]:
    """Return the names of the file's tags that the new file has no place for."""
    kept, written = _kept(tags), container_tags(tags, form)
    lost = kept.keys() - written.keys() - {key for key in kept if key.lower() == "timecode"}
    # MP4 states some tags once more with the language as a suffix: location-eng.
    return sorted(key for key in lost if kept[key] != written.get(key.rpartition("-")[0]))


def stream_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a stream's tags that the new stream keeps; MP4 reads a title as ``name``."""
    kept = {key: value for key, value in _kept(tags).items() if key.lower() != "timecode"}
    if "name" in kept:
        kept.setdefault("title", kept.pop("name"))
    return kept


def lost_of_streams(other: OtherStream, form: str) -> list[str]:
    """Return what of a stream's tags and dispositions `form` has no place for."""
    tags = {key.lower(): value for key, value in stream_tags(other.tags).items()}
    lost = []
    if form in _FILE_KEYS:
        lost = sorted(tags.keys() - _STREAM_KEYS - _ELSEWHERE)
        language = tags.get("language", "und")
        if not (len(language) == 3 and language.isascii() and language.isalpha()):
            lost.append(f"the language {language}")
    flags = _VTT_FLAGS if form == "webm" and other.kind == "subtitle" else _FLAGS[form]
    return [*lost, *(f'"{name}"' for name in other.dispositions if name not in flags | _NO_FLAGS)]


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
