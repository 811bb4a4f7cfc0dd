"""What decoders attach to a frame: read, and what of it a result goes without."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import av.sidedata.sidedata

from vidsr.hdr import ContentLight, HdrInfo, MasteringDisplay
from vidsr.video.filters import through
from vidsr.video.surface import downloaded

__all__ = ["display_matrix", "hdr_of", "losses", "one_of", "side_data"]

_TYPES = av.sidedata.sidedata.Type
_MOST_TYPES = 64  # FFmpeg 8.1 has 33

_LOST = {
    "DYNAMIC_HDR_PLUS": "HDR10+ dynamic metadata is lost: it cannot be written",
    "DYNAMIC_HDR_VIVID": "HDR Vivid dynamic metadata is lost: it cannot be written",
    "A53_CC": "captions in the video stream (CEA-608/708) are lost: they cannot be written",
    "AMBIENT_VIEWING_ENVIRONMENT": "the description of the viewing environment is lost",
    "SPHERICAL": "the mapping of a spherical (360 degrees) picture is lost: it will be shown flat",
    "ICC_PROFILE": "the ICC colour profile is lost: colours may look different",
}
_DOLBY_LOST = "Dolby Vision metadata{layer} is lost (profile {profile}){look}"


def side_data(frame: av.VideoFrame) -> dict[str, bytes]:
    """Return a frame's side data by FFmpeg's names; types that PyAV has no name for are left out."""
    try:
        entries = _entries(frame)
    except ValueError:  # PyAV 18.1 gives up on all where one is of a type newer than it
        entries = _entries(_with_known_types(frame))
    return {entry.type.name: bytes(entry) for entry in entries}


def _entries(frame: av.VideoFrame) -> list[Any]:
    found = _container(frame)
    # PyAV 18 gives the entries themselves as keys, 19 gives their types.
    return [key if hasattr(key, "type") else found[key] for key in found.keys()]  # noqa: SIM118


def _container(frame: av.VideoFrame) -> Any:
    # frame.side_data would refer to the frame, and the frame to it: both would stay, with the frame's planes,
    # until Python looks for cycles.
    made: Any = av.sidedata.sidedata.SideDataContainer  # whose stub leaves out its argument
    return made(frame)


def one_of(frame: av.VideoFrame, name: str) -> bytes | None:
    """Return a frame's side data of one type; None: it has none, or newer ones that PyAV has no name for."""
    try:
        data = _container(frame).get(name)
    except ValueError:  # see `side_data`
        return None
    return None if data is None else bytes(data)


def _with_known_types(frame: av.VideoFrame) -> av.VideoFrame:
    """Return the frame without the side data that PyAV has no name for."""
    unknown = sorted(set(range(_MOST_TYPES)) - {kind.value for kind in _TYPES})
    return through(
        downloaded(frame), [("sidedata", {"mode": "delete", "type": str(number)}) for number in unknown]
    )


def display_matrix(data: Mapping[str, bytes]) -> tuple[int, ...] | None:
    """Return the 3x3 display matrix of a frame's side data, or None."""
    matrix = data.get("DISPLAYMATRIX")
    return None if matrix is None else struct.unpack("<9i", matrix[:36])


def hdr_of(data: Mapping[str, bytes]) -> HdrInfo:
    """Return what a frame's side data says of HDR.

    Args:
        data: By FFmpeg's names. AVMasteringDisplayMetadata is ten rationals and two flags,
            AVContentLightMetadata two numbers.
    """
    mastering, light = None, None
    if "MASTERING_DISPLAY_METADATA" in data:
        mastering = _mastering(struct.unpack("<22i", data["MASTERING_DISPLAY_METADATA"][:88]))
    if "CONTENT_LIGHT_LEVEL" in data:
        most, average = struct.unpack("<2I", data["CONTENT_LIGHT_LEVEL"][:8])
        light = ContentLight(most, average) if 0 < max(most, average) < 1 << 16 else None
    return HdrInfo(mastering, light, _dolby_vision(data))


def _mastering(values: tuple[int, ...]) -> MasteringDisplay | None:
    rationals, (has_primaries, has_luminance) = values[:20], values[20:]
    if not has_primaries or not has_luminance or 0 in rationals[1::2]:
        return None
    numbers = [Fraction(n, d) for n, d in zip(rationals[::2], rationals[1::2], strict=True)]
    places = [round(value * 50000) for value in numbers[:8]]
    least, most = (round(value * 10000) for value in numbers[8:])
    # What the standard's 16 and 32 bits do not hold is damage.
    if not all(0 <= p < 1 << 16 for p in places) or not 0 <= least <= most < 1 << 32:
        return None
    red, green, blue, white = zip(places[::2], places[1::2], strict=True)
    return MasteringDisplay(
        red=red, green=green, blue=blue, white=white, max_luminance=most, min_luminance=least
    )


def _dolby_vision(data: Mapping[str, bytes]) -> int | None:
    """Return the profile that Dolby Vision metadata is of: FFmpeg's own guess (libavcodec/dovi_rpu.c)."""
    if "DOVI_METADATA" not in data:
        return 0 if "DOVI_RPU_BUFFER" in data else None
    whole = data["DOVI_METADATA"]
    # AVDOVIMetadata begins with the offset of its header, AVDOVIRpuDataHeader.
    (offset,) = struct.unpack_from("@N", whole)
    rpu_profile, full_range = whole[offset + 4], whole[offset + 10]
    el_depth, el_spatial, no_residual = whole[offset + 12], whole[offset + 15], whole[offset + 16]
    if rpu_profile == 0:
        return 5 if full_range else 0
    if rpu_profile == 1:
        two_layers = el_spatial and not no_residual
        return (7 if el_depth == 12 else 4) if two_layers else 8
    return 0


def losses(data: Mapping[str, bytes]) -> list[str]:
    """Return what a result goes without of a frame's side data, a sentence each."""
    found = [text for name, text in _LOST.items() if name in data]
    profile = _dolby_vision(data)
    if profile is not None:
        look = "; its colours (IPT) will look wrong without it" if profile == 5 else ""
        layer = " and its enhancement layer" if profile in (4, 7) else ""
        known = str(profile) if profile else "not known"
        found.append(_DOLBY_LOST.format(layer=layer, profile=known, look=look))
    # Of three dimensions: 0 says that the picture has two.
    if any(data.get("STEREO3D", b"")[:4]):
        found.append("the tag of a stereoscopic (3D) picture is lost")
    if "MASTERING_DISPLAY_METADATA" in data and hdr_of(data).mastering is None:
        found.append("HDR10's description of the mastering display is incomplete and left out")
    return found
