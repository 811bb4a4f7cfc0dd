"""The header of YUV4MPEG2: ``YUV4MPEG2 W640 H360 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from vidsr.color import complete_color
from vidsr.errors import OptionsError, ProbeError, UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix, PixelFormat

__all__ = ["MAGIC", "Y4mHeader", "make_header", "parse_header"]

MAGIC = b"YUV4MPEG2"
_MAX_PIXELS = 16384 * 16384
_SPACE = re.compile(
    r"(?P<mono>mono)(?P<mono_depth>\d{1,2})?"
    r"|(?P<layout>420|422|444|411|440|410)(?P<place>jpeg|mpeg2|paldv)?(?P<alpha>alpha)?(?:p(?P<depth>\d{1,2}))?"
)
_PLACES = {
    "jpeg": ChromaLocation.CENTER,
    "mpeg2": ChromaLocation.LEFT,
    "paldv": ChromaLocation.TOPLEFT,
}
_SUBSAMPLINGS = {(1, 1): "420", (1, 0): "422", (0, 0): "444", (2, 0): "411", (0, 1): "440", (2, 2): "410"}
_RANGES = {"FULL": ColorRange.FULL, "LIMITED": ColorRange.LIMITED}
_INTERLACED = {"t": "top field first", "b": "bottom field first", "m": "mixed"}


@dataclass(frozen=True, slots=True)
class Y4mHeader:
    """What a stream says of itself."""

    tags: tuple[str, ...]
    """As they were written, in their order, a letter and a value each."""
    width: int
    """Pixels."""
    height: int
    pixel_format: PixelFormat
    rate: Fraction | None
    """Frames a second; None: not said."""
    aspect: Fraction
    """Width of a pixel divided by its height; 0: not said."""
    chroma_location: ChromaLocation | None
    """None: not said."""
    color_range: ColorRange | None
    """The same."""
    interlaced: str
    """In words; "": it is not."""

    def color(self, matrix: Matrix | None = None) -> ColorInfo:
        """Return the colour, guessed where it is not told; of the matrix Y4M never tells."""
        return complete_color(
            self.pixel_format,
            (self.width, self.height),
            matrix=matrix,
            color_range=self.color_range,
            chroma_location=self.chroma_location,
        )

    def told(
        self, *, color_range: ColorRange | None = None, chroma_location: ChromaLocation | None = None
    ) -> Y4mHeader:
        """Return the header with what a user knows better; None: it is right.

        Raises:
            OptionsError: Y4M has no word for where the chroma lies.
        """
        new = self
        if color_range is not None and color_range is not self.color_range:
            kept = [tag for tag in new.tags if not tag.startswith("XCOLORRANGE=")]
            tags = (*kept, f"XCOLORRANGE={color_range.name}")
            new = replace(new, tags=tags, color_range=color_range)
        if chroma_location is not None and self.pixel_format.subsampled:
            new = replace(new, chroma_location=chroma_location)
            pixels = self.pixel_format
            if pixels.chroma_shifts == (1, 1) and pixels.bit_depth == 8 and not pixels.alpha:
                names = {place: name for name, place in _PLACES.items()}
                if chroma_location not in names:
                    raise OptionsError(
                        f"Y4M cannot say that chroma lies at the {chroma_location}",
                        hint=f"it knows {', '.join(names)}; --to nut says nothing of it",
                    )
                kept = [tag for tag in new.tags if tag[0] != "C" and not tag.startswith("XYSCSS=")]
                new = replace(new, tags=(*kept, f"C420{names[chroma_location]}"))
        return new

    def resized(self, size: tuple[int, int], aspect: Fraction) -> Y4mHeader:
        """Return the header of the same stream in another size; an aspect of 0 is left as it is."""

        def changed(tag: str) -> str:
            if tag[0] in "WH":
                return f"{tag[0]}{size['WH'.index(tag[0])]}"
            if tag[0] == "A" and aspect:
                return f"A{aspect.numerator}:{aspect.denominator}"
            return tag

        tags = tuple(map(changed, self.tags))
        if aspect and aspect != 1 and not any(tag[0] == "A" for tag in tags):
            tags = (*tags, f"A{aspect.numerator}:{aspect.denominator}")
        return replace(self, tags=tags, width=size[0], height=size[1], aspect=aspect)

    def line(self) -> bytes:
        """Return it as it is written."""
        return b" ".join([MAGIC, *(tag.encode("latin-1") for tag in self.tags)]) + b"\n"


def parse_header(line: bytes) -> Y4mHeader:
    """Return what a header line says, which is given without its end.

    Raises:
        ProbeError: It is not one, or lacks the size.
        UnsupportedFormatError: Its colour space is not one of integer planes of 8 to 16 bits.
    """
    magic, *tags = line.decode("latin-1").split(" ")
    if magic.encode("latin-1") != MAGIC:
        raise ProbeError(f"this is no Y4M header: {line[:40]!r}")
    tags = [tag for tag in tags if tag]
    said = {tag[0]: tag[1:] for tag in tags if tag[0] != "X"}
    more = dict(tag[1:].partition("=")[::2] for tag in tags if tag[0] == "X")
    sides = [said.get(letter, "") for letter in "WH"]
    if not all(re.fullmatch(r"\d{1,5}", side, re.ASCII) and int(side) for side in sides):
        raise ProbeError(f"the Y4M header has no size: {line[:80]!r}")
    width, height = map(int, sides)
    if width * height > _MAX_PIXELS:
        raise ProbeError(f"the Y4M header says {width}x{height}: no picture is as large")
    space = said.get("C") or more.get("YSCSS", "420jpeg").lower()
    pixels, place = _space(space)
    interlacing = said.get("I", "?")
    return Y4mHeader(
        tags=tuple(tags),
        width=width,
        height=height,
        pixel_format=pixels,
        rate=_ratio(said.get("F", "0:0"), line) or None,
        aspect=_ratio(said.get("A", "0:0"), line),
        chroma_location=place,
        color_range=_RANGES.get(more.get("COLORRANGE", "").upper()),
        interlaced=_INTERLACED.get(interlacing, ""),
    )


def _space(name: str) -> tuple[PixelFormat, ChromaLocation | None]:
    match = _SPACE.fullmatch(name)
    depth = int((match["mono_depth"] or match["depth"] or 8) if match else 0)
    if match is None or not 8 <= depth <= 16 or (match["place"] and match["layout"] != "420"):
        raise UnsupportedFormatError(
            f"the Y4M colour space '{name[:40]}' is unknown",
            hint="C420, C422, C444, C411, C440, C410 and Cmono are known, of 8 to 16 bits, and C444alpha",
        )
    suffix = "" if depth == 8 else f"{depth}le"
    if match["mono"]:
        return PixelFormat.parse(f"gray{suffix}"), None
    stem = f"yuv{'a' if match['alpha'] else ''}{match['layout']}p"
    place = _PLACES.get(match["place"] or "")
    if match["layout"] == "420" and place is None and depth == 8:
        place = ChromaLocation.CENTER  # C420 is an older name of C420jpeg
    return PixelFormat.parse(stem + suffix), place


def _ratio(text: str, line: bytes) -> Fraction:
    match = re.fullmatch(r"(\d{1,10}):(\d{1,10})", text, re.ASCII)
    if match is None:
        raise ProbeError(f"'{text[:20]}' is no ratio in the Y4M header {line[:80]!r}")
    above, below = map(int, match.groups())
    return Fraction(above, below) if above and below else Fraction(0)


def make_header(
    pixels: PixelFormat,
    size: tuple[int, int],
    color: ColorInfo,
    *,
    rate: Fraction | None,
    aspect: Fraction,
) -> Y4mHeader:
    """Return the header of progressive frames; what is guessed of their colour is not said.

    Raises:
        UnsupportedFormatError: Y4M has no name for the layout.
        OptionsError: It has none for where the chroma lies.
    """
    rate = rate or Fraction(25)
    deep = "" if pixels.bit_depth == 8 else f"p{pixels.bit_depth}"
    if pixels.family == "gray":
        space = f"mono{deep[1:]}"
    elif pixels.family == "yuv" and (not pixels.alpha or (not deep and not pixels.subsampled)):
        space = f"{_SUBSAMPLINGS[pixels.chroma_shifts]}{'alpha' if pixels.alpha else ''}{deep}"
    else:
        raise UnsupportedFormatError(
            f"Y4M has no name for {pixels.name}",
            hint="--to nut keeps it; -pix_fmt of ffmpeg, before, changes it",
        )
    tags = (f"W{size[0]}", f"H{size[1]}", f"F{rate.numerator}:{rate.denominator}", "Ip")
    header = Y4mHeader(
        tags=(*tags, f"A{aspect.numerator}:{aspect.denominator if aspect else 0}", f"C{space}"),
        width=size[0],
        height=size[1],
        pixel_format=pixels,
        rate=rate,
        aspect=aspect,
        chroma_location=None,
        color_range=None,
        interlaced="",
    )
    return header.told(
        color_range=None if "range" in color.guessed else color.range, chroma_location=color.chroma_location
    )
