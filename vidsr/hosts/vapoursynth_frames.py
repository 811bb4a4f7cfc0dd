"""VapourSynth's formats, frames and properties in vidsr's words."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from vidsr.color import complete_color
from vidsr.errors import UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorRange, PixelFormat, Planes
from vidsr.models.deploy import FrameFormat
from vidsr.video.formats import LAYOUTS, MATRICES

__all__ = ["form_of", "pixels_of", "planes_of", "reshape"]

_LOCATIONS = dict(enumerate(ChromaLocation))  # the order is VapourSynth's, which is H.273's
_GBR = (1, 2, 0)
"""Of VapourSynth's planes R, G, B those that are G, B, R."""


def pixels_of(clip: Any, vs: Any) -> PixelFormat:
    """Return what a clip's planes are.

    Raises:
        UnsupportedFormatError: They are not integers of 8 to 16 bits, or change on the way.
    """
    form = clip.format
    if not clip.width or not clip.height:
        raise UnsupportedFormatError(
            "the clip's size varies", hint="bring all frames to one size first, with clip.resize"
        )
    if form is None or form.color_family == vs.UNDEFINED:
        raise UnsupportedFormatError(
            "the clip's format varies", hint="bring all frames to one format first, with clip.resize"
        )
    if form.sample_type != vs.INTEGER or not 8 <= form.bits_per_sample <= 16:
        wanted = form.replace(sample_type=vs.INTEGER, bits_per_sample=16).name.upper()
        raise UnsupportedFormatError(
            f"{form.name} is none of the formats of 8 to 16 bit integers",
            hint=f"convert it first: clip.resize.Point(format=vs.{wanted})",
        )
    depth = "" if form.bits_per_sample == 8 else f"{form.bits_per_sample}le"
    if form.color_family == vs.GRAY:
        return PixelFormat.parse(f"gray{depth}")
    if form.color_family == vs.RGB:
        return PixelFormat.parse(f"gbrp{depth}")
    shifts = (form.subsampling_w, form.subsampling_h)
    if shifts not in LAYOUTS:
        raise UnsupportedFormatError(
            f"{form.name}: chroma that is subsampled like this is not handled",
            hint="convert it first: clip.resize.Bicubic(format=vs.YUV444P16)",
        )
    return PixelFormat.parse(f"yuv{LAYOUTS[shifts]}p{depth}")


def form_of(props: Mapping[str, Any], pixels: PixelFormat, size: tuple[int, int], chroma: Any) -> FrameFormat:
    """Return what a frame is by its properties, and by guesses as for files where they do not say.

    Raises:
        UnsupportedFormatError: It is two fields.
    """
    if props.get("_FieldBased"):
        raise UnsupportedFormatError(
            "the frame is two fields, woven",
            hint="deinterlace first, or say that it is progressive: clip.std.SetFieldBased(0)",
        )
    full = props.get("_Range")
    if full is None and "_ColorRange" in props:
        full = not props["_ColorRange"]  # the older name, with the numbers the other way round
    if pixels.family == "gbr":
        full = True
    color = complete_color(
        pixels,
        size,
        matrix=MATRICES.get(props.get("_Matrix", 2)),
        color_range=None if full is None else ColorRange.FULL if full else ColorRange.LIMITED,
        chroma_location=_LOCATIONS.get(props.get("_ChromaLocation", -1)) if pixels.subsampled else None,
        primaries=props.get("_Primaries", 2),
    )
    return FrameFormat(pixels, color.matrix, color.range, color.chroma_location, chroma)


def planes_of(frame: Any, pixels: PixelFormat) -> Planes:
    """Return views of a frame's planes, in vidsr's order."""
    order = _GBR if pixels.family == "gbr" else range(pixels.plane_count)
    return tuple(np.asarray(frame[number]) for number in order)


def reshape(props: Any, shape: Fraction) -> None:
    """Note that pixels are `shape` times as wide for their height as the source's."""
    if shape == 1:
        return
    across, down = props.get("_SARNum", 0), props.get("_SARDen", 0)
    shape *= Fraction(across, down) if across > 0 and down > 0 else 1
    props["_SARNum"], props["_SARDen"] = shape.numerator, shape.denominator
