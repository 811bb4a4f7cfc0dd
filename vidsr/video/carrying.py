"""Which of a source's other streams go into the result, and how: decided before the first frame."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from vidsr.errors import OptionsError
from vidsr.frame import OtherStream, VideoInfo
from vidsr.job import DROP_KINDS
from vidsr.video.containers import CONTAINERS, Container, Fate, fate_in
from vidsr.video.latm import unconvertible_latm
from vidsr.video.subtitles import unconvertible
from vidsr.video.tags import lost_of_streams, lost_tags
from vidsr.video.timecode import Timecode, find_timecode
from vidsr.video.timing import seen_rate

__all__ = ["CarryPlan", "choose_suffix", "dropped_indices", "name_of", "plan_streams"]

# What players find in an MP4 file; the muxer also takes Vorbis, PCM and a DVD's subtitles.
_PLAYED = {
    "audio": frozenset("aac mp3 mp2 ac3 eac3 alac opus flac dts".split()),
    "subtitle": frozenset({"mov_text", "ttml"}),
}


@dataclass(frozen=True, slots=True)
class CarryPlan:
    """Which of the source's other streams go into the result, and how."""

    container: Container
    copied: tuple[int, ...] = ()
    """Stream indices whose packets are copied as they are."""
    converted: tuple[tuple[int, str], ...] = ()
    """(stream index, codec) of text subtitles, and of AAC in LATM, that change their form."""
    left_out: dict[int, str] = field(default_factory=dict)
    """Why, by stream index."""
    timecode: Timecode | None = None
    """Of the source's first frame, in frames of the result; None: there is none that can be written."""
    notes: tuple[str, ...] = ()

    @property
    def carried(self) -> frozenset[int]:
        """Indices of all streams that have packets in the result."""
        return frozenset(self.copied) | {index for index, _ in self.converted}


def name_of(other: OtherStream) -> str:
    """Return "stream 2 (subtitle, ass)"."""
    kind = "cover art" if other.cover else other.kind
    known = other.codec if other.codec not in ("none", "bin_data") else other.tag or "unknown"
    return f"stream {other.index} ({kind}, {other.tags.get('mimetype', known)})"


def dropped_indices(info: VideoInfo, drop: Collection[int | str]) -> frozenset[int]:
    """Return the indices that `drop` means: of streams, or of all streams of a kind.

    Raises:
        OptionsError: Nothing of that index or kind is there, or it is the video that is enlarged.
    """
    found: set[int] = set()
    for asked in drop:
        wanted = [o.index for o in info.others if asked in (o.index, str(o.index), _kind(o))]
        if not wanted:
            raise _nothing_to_drop(info, str(asked))
        found.update(wanted)
    return frozenset(found)


def choose_suffix(info: VideoInfo, *, drop: Collection[int | str] = ()) -> tuple[str, str]:
    """Return the container for a result that was given no name, and why.

    .mp4 where it holds every stream as it is and players find them there, else .mkv, else .mov.
    """
    gone = dropped_indices(info, drop)
    others = [other for other in info.others if other.index not in gone]
    misfits = {suffix: _first_misfit(info, others, suffix) for suffix in (".mp4", ".mkv", ".mov")}
    if misfits[".mp4"] is None:
        none = [o for o in others if fate_in(CONTAINERS[".mp4"], info, o).how == "left out"]
        but = ", but for data that no container holds" if none else ""
        return ".mp4", f".mp4 holds every stream as it is{but}"
    why = f".mp4 would not hold {name_of(misfits['.mp4'])} as it is"
    if misfits[".mkv"] is not None and misfits[".mov"] is None:
        return ".mov", f"{why}, nor .mkv {name_of(misfits['.mkv'])}"
    return ".mkv", why


def plan_streams(
    info: VideoInfo, output: Path, *, drop: Collection[int | str] = (), fields: bool = False
) -> CarryPlan:
    """Decide for each of the source's other streams how it gets into `output`.

    Args:
        info: The source.
        output: The result; its suffix names the container.
        drop: What to leave out: indices of streams, or kinds of `DROP_KINDS`.
        fields: Whether each field becomes a frame.

    Raises:
        OptionsError: `output` names no container, or one that cannot hold a stream.
    """
    suffix = output.suffix.lower()
    container = CONTAINERS.get(suffix)
    if container is None:
        known = ", ".join(CONTAINERS)
        raise OptionsError(
            f"'{output.suffix}' is no container that vidsr writes", path=output, hint=f"use {known}"
        )
    gone = dropped_indices(info, drop)
    others = [other for other in info.others if other.index not in gone]
    fates = {other.index: fate_in(container, info, other) for other in others}
    _refuse(info, output, others, fates)
    notes = []
    for other in others:
        fate = fates[other.index]
        if fate.how == "converted":
            _check_conversion(info, output, other, fate.detail)
            notes.append(f"{name_of(other)} is converted to {fate.detail}")
        elif fate.how == "left out":
            notes.append(f"{name_of(other)} is left out: {fate.detail}")
    timecode, lost = _timecode(info, container, fields=fields)
    notes += [f"{suffix} {text}" for text in (*lost, *_lost(info, others, fates, container))]
    return CarryPlan(
        container,
        tuple(index for index, fate in fates.items() if fate.how == "copied"),
        tuple((index, fate.detail) for index, fate in fates.items() if fate.how == "converted"),
        {i: fate.detail for i, fate in fates.items() if fate.how in ("kept", "left out")}
        | dict.fromkeys(gone, "asked for by --drop"),
        timecode,
        tuple(notes),
    )


def _kind(other: OtherStream) -> str:
    if other.cover:
        return "cover"
    return other.kind if other.kind in DROP_KINDS else "data"


def _nothing_to_drop(info: VideoInfo, asked: str) -> OptionsError:
    kinds = list(dict.fromkeys(_kind(other) for other in info.others))
    indices = ", ".join(str(other.index) for other in info.others)
    there = f"there are {indices}: {', '.join(kinds)}" if kinds else "the video is its only stream"
    if asked == str(info.stream_index):
        return OptionsError(f"--drop {asked}: this is the video that is enlarged", path=info.path, hint=there)
    if asked.isdecimal():
        return OptionsError(f"--drop {asked}: no stream of that index to drop", path=info.path, hint=there)
    return OptionsError(f"--drop {asked}: no stream of that kind to drop", path=info.path, hint=there)


def _first_misfit(info: VideoInfo, others: Collection[OtherStream], suffix: str) -> OtherStream | None:
    container = CONTAINERS[suffix]
    for other in others:
        how = fate_in(container, info, other).how
        if how in ("converted", "refused"):
            return other
        if suffix == ".mp4" and other.codec not in _PLAYED.get(other.kind, {other.codec}):
            return other
        # Players show the first video stream of an MP4 file, and nothing tells that there is another.
        if suffix == ".mp4" and other.kind == "video" and not other.cover:
            return other
    return None


def _refuse(info: VideoInfo, output: Path, others: Collection[OtherStream], fates: dict[int, Fate]) -> None:
    """Raise if a stream has no place, naming all of them and the ways out."""
    misfits = [other for other in others if fates[other.index].how == "refused"]
    if not misfits:
        return
    held = [
        suffix
        for suffix, container in CONTAINERS.items()
        if suffix != ".m4v" and all(fate_in(container, info, o).how != "refused" for o in others)
    ]
    first = ".mkv" if ".mkv" in held else next(iter(held), None)
    drops = " ".join(f"--drop {other.index}" for other in misfits)
    it = "it" if len(misfits) == 1 else "them"
    away = f"add {drops} to leave {it} out"
    raise OptionsError(
        f"{output.suffix} cannot hold {', '.join(map(name_of, misfits))}",
        path=output,
        hint=f"name the output {first}, or {away}"
        if first
        else f"no container that vidsr writes holds all of this source; {away}",
    )


def _check_conversion(info: VideoInfo, output: Path, other: OtherStream, codec: str) -> None:
    """Raise if a stream would lose something on its way into another form."""
    if other.codec == "aac_latm":
        if why := unconvertible_latm(info, other):
            raise OptionsError(
                f"{output.suffix} cannot hold {name_of(other)}, which has {why}",
                path=output,
                hint=f"no container that vidsr writes holds it; add --drop {other.index} to leave it out",
            )
        return
    lost = unconvertible(info, other, codec)
    if not lost:
        return
    hint = f"add --drop {other.index} to leave it out"
    if "matroska" in other.fits:
        hint = f"name the output .mkv, which holds it as it is, or {hint}"
    raise OptionsError(
        f"{output.suffix} cannot hold {name_of(other)}: as {codec} it would lose {lost}",
        path=output,
        hint=hint,
    )


def _timecode(
    info: VideoInfo, container: Container, *, fields: bool
) -> tuple[Timecode | None, tuple[str, ...]]:
    text = find_timecode(info)
    if text is None:
        return None, ()
    rate = info.frame_rate / 2 if info.frame_rate and fields else info.frame_rate
    timecode = Timecode.at(text, rate)
    if timecode.rate is None:  # headers may state any rate: Matroska files say 1000
        rate = seen_rate(info)
        timecode = Timecode.at(text, rate)
    timecode = timecode.doubled() if fields else timecode
    if container.form in ("mp4", "mov") and timecode.rate is None:
        shown = "an unknown rate" if not rate else f"{float(rate):.4g} frames a second"
        return None, (f"has no place for the timecode {text} at {shown}; .mkv has",)
    return timecode, ()


def _lost(
    info: VideoInfo, others: Collection[OtherStream], fates: dict[int, Fate], container: Container
) -> list[str]:
    """Return what of tags and dispositions the container has no place for."""
    has = "; .mkv has" if container.form != "matroska" else ""
    found = []
    if lost := lost_tags(info.metadata, container.form):
        found.append(f"has no place for the tags {', '.join(lost)}{has}")
    if container.form != "matroska" and info.chapter_tags:
        found.append(f"keeps titles of chapters alone, not {', '.join(info.chapter_tags)}{has}")
    carried = [o for o in others if fates[o.index].how in ("copied", "converted") and o.kind != "attachment"]
    main = OtherStream(
        info.stream_index, "video", info.codec, dispositions=info.dispositions, tags=info.stream_tags
    )
    for other in (main, *carried):
        lost = lost_of_streams(other, container.form)
        found += [f"has no place for {', '.join(lost)} of stream {other.index} ({other.kind})"] * bool(lost)
    return found
