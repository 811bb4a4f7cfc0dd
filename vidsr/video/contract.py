"""The colour contract: how a source is read, what is written of it, and which tags find no place."""

from __future__ import annotations

from vidsr.color import MATRIX_NAMES, PRIMARIES, TRANSFERS, chroma_offsets, layout_name, tag_name
from vidsr.frame import ChromaLocation, ColorInfo, Matrix, VideoInfo
from vidsr.video.encoders import EncoderSettings

__all__ = ["read_as", "unmarked", "written_as"]

# Encoders that store where chroma lies, and which places; without a word it is taken to lie at the left.
_STORED_PLACES = dict.fromkeys(("libx264", "libx264rgb", "libx265"), frozenset(ChromaLocation))
_STORED_PLACES |= {"libsvtav1": frozenset({ChromaLocation.LEFT, ChromaLocation.TOPLEFT})}
_VP9_MATRICES = frozenset({0, 1, 2, 5, 6, 7, 9})
_HDR_TRANSFERS = (16, 18)


def read_as(info: VideoInfo) -> str:
    """Say how a source's code values are read, and what of that is a guess."""
    color = info.color

    def said(name: str, value: str) -> str:
        return f"{value} (guessed)" if name in color.guessed else value

    if info.pixel_format.family == "gray":
        parts = [f"{said('range', color.range)} range gray"]
    elif color.matrix is Matrix.RGB:
        parts = ["RGB"]
    else:
        parts = [f"{said('matrix', color.matrix)} matrix", f"{said('range', color.range)} range"]
    if info.pixel_format.subsampled:
        parts.append(f"chroma {said('chroma_location', color.chroma_location)}")
    return ", ".join([*parts, *_appearance(color), *([str(info.hdr)] if info.hdr.static else [])])


def written_as(info: VideoInfo, settings: EncoderSettings, *, pictures: bool) -> str:
    """Say what is written: layout, depth, and everything that tells how code values become colour."""
    color, pixels = settings.color, settings.planes
    parts = [settings.pixel_format, f"{layout_name(pixels)} of {pixels.bit_depth} bits"]
    if pixels.family == "yuv":
        parts.append(f"matrix {tag_name(MATRIX_NAMES, color.matrix_code)}")
    untagged = " (untagged)" if "range" in color.guessed else ""
    parts.append(f"{color.range} range{untagged}")
    if pixels.subsampled:
        parts.append(f"chroma {color.chroma_location}")
    parts += [] if pictures and settings.codec != "png" else _appearance(color)
    parts += [str(info.hdr)] if info.hdr.static and not pictures else []
    return ", ".join(parts)


def _appearance(color: ColorInfo) -> list[str]:
    """Return primaries and transfer."""
    if color.primaries == color.transfer == 2:
        return ["primaries and transfer untagged"]
    return [
        f"primaries {tag_name(PRIMARIES, color.primaries)}",
        f"transfer {tag_name(TRANSFERS, color.transfer)}",
    ]


def unmarked(info: VideoInfo, settings: EncoderSettings, *, pictures: bool) -> list[str]:
    """Return what is true of the result but cannot be stored in it, a sentence each."""
    color, pixels, codec = settings.color, settings.planes, settings.codec
    found = []
    if pictures:
        found += ["pictures have no place for HDR10's static data: it is lost"] if info.hdr.static else []
        if color.transfer in _HDR_TRANSFERS and codec != "png":
            transfer = tag_name(TRANSFERS, color.transfer)
            found.append(f"{codec} cannot be tagged as {transfer}: the picture will look pale")
        if info.rotation or info.display_matrix is not None:
            found.append("pictures have no place for a rotation: it is lost, and they lie as they are stored")
        return found
    if pixels.subsampled:
        places = _STORED_PLACES.get(codec, frozenset({ChromaLocation.LEFT}))
        shifts = pixels.chroma_shifts
        offsets = {chroma_offsets(place, *shifts) for place in places}
        if chroma_offsets(color.chroma_location, *shifts) not in offsets:
            found.append(f"{codec} cannot be tagged with where chroma lies ({color.chroma_location})")
    if codec == "libvpx-vp9" and pixels.family == "yuv" and color.matrix_code not in _VP9_MATRICES:
        matrix = tag_name(MATRIX_NAMES, color.matrix_code)
        found.append(f"{codec} cannot be tagged with the matrix {matrix}: players will guess")
    only_range = (color.matrix_code, color.primaries, color.transfer) == (2, 2, 2)
    if codec == "ffv1" and pixels.family == "yuv" and only_range and color.range == "full":
        found.append(f"{codec} cannot be tagged with full range alone: players will take it for limited")
    return found
