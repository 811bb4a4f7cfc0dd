"""What flows through vidsr: pixel formats, colour, video descriptions and frames of integer planes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidsr.hdr import HdrInfo

__all__ = [
    "ChromaLocation",
    "ColorInfo",
    "ColorRange",
    "Frame",
    "Matrix",
    "OtherStream",
    "PixelFormat",
    "Plane",
    "Planes",
    "VideoInfo",
]

Plane = NDArray[np.uint8] | NDArray[np.uint16]
"""Code values [H, W]; rows may be padded, samples of a row are adjacent."""

Planes = tuple[Plane, ...]
"""The planes of a frame: Y | Y, U, V | G, B, R, each with alpha last when the format has it."""

_NAME = re.compile(
    r"(?:(?P<gray>gray)|(?P<yuv>yuv)(?P<yuva>a)?(?P<layout>420|422|444|440|411|410)p|gbr(?P<gbra>a)?p)"
    r"(?P<depth>\d+)?(?:le)?"
)
_SHIFTS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}


class Matrix(StrEnum):
    """How RGB becomes luma and chroma; RGB stands for none."""

    BT601 = "bt601"
    BT709 = "bt709"
    BT2020 = "bt2020"
    FCC = "fcc"
    SMPTE240M = "smpte240m"
    YCGCO = "ycgco"
    RGB = "rgb"


class ColorRange(StrEnum):
    """Whether codes span all values or the studio range (16..235 and 16..240 in 8 bits)."""

    LIMITED = "limited"
    FULL = "full"


class ChromaLocation(StrEnum):
    """Where a chroma sample lies among the luma samples it stands for."""

    LEFT = "left"
    CENTER = "center"
    TOPLEFT = "topleft"
    TOP = "top"
    BOTTOMLEFT = "bottomleft"
    BOTTOM = "bottom"


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """A planar integer layout, little-endian in memory, named as FFmpeg names it."""

    name: str
    family: Literal["gray", "yuv", "gbr"]
    bit_depth: int
    """Bits used of each sample, 8 to 16."""
    chroma_shift_x: int = 0
    """Chroma width is luma width divided by 2 to this power, rounded up."""
    chroma_shift_y: int = 0
    alpha: bool = False
    """Whether the last plane is alpha, full size and full range."""

    def __post_init__(self) -> None:
        """Check the depth."""
        if not 8 <= self.bit_depth <= 16:
            raise ValueError(f"{self.name}: planes of {self.bit_depth} bits are not supported")

    @classmethod
    def parse(cls, name: str) -> PixelFormat:
        """Return the format that FFmpeg calls `name`.

        Raises:
            ValueError: It is not a planar gray, YUV or GBR format of 8 to 16 bits.
        """
        match = _NAME.fullmatch(name)
        if match is None or name.endswith("be"):
            raise ValueError(f"{name} is not a planar gray, yuv or gbr format")
        depth = int(match["depth"] or 8)
        if match["gray"]:
            return cls(name, "gray", depth)
        if match["yuv"]:
            shift_x, shift_y = _SHIFTS[match["layout"]]
            return cls(name, "yuv", depth, shift_x, shift_y, match["yuva"] is not None)
        return cls(name, "gbr", depth, alpha=match["gbra"] is not None)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for 8 bits, uint16 above."""
        return np.dtype(np.uint8 if self.bit_depth == 8 else np.uint16)

    @property
    def peak(self) -> int:
        """The largest code value."""
        return (1 << self.bit_depth) - 1

    @property
    def plane_count(self) -> int:
        """1 or 3, and one more for alpha."""
        return (1 if self.family == "gray" else 3) + self.alpha

    @property
    def chroma_shifts(self) -> tuple[int, int]:
        """`chroma_shift_x` and `chroma_shift_y`."""
        return self.chroma_shift_x, self.chroma_shift_y

    @property
    def subsampled(self) -> bool:
        """Whether chroma planes are smaller than luma."""
        return self.chroma_shifts != (0, 0)

    def plane_shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """Return (rows, columns) of each plane of a width x height frame."""
        full, small = (height, width), (-(-height >> self.chroma_shift_y), -(-width >> self.chroma_shift_x))
        shapes = [full] if self.family == "gray" else [full, small, small]
        return tuple(shapes + [full] * self.alpha)

    def frame_bytes(self, width: int, height: int) -> int:
        """Return the bytes of a frame's code values."""
        return sum(rows * columns for rows, columns in self.plane_shapes(width, height)) * self.dtype.itemsize

    def allocate(self, width: int, height: int) -> Planes:
        """Return new planes for a width x height frame, not initialised."""
        return tuple(np.empty(shape, self.dtype) for shape in self.plane_shapes(width, height))

    def check(self, planes: Sequence[Plane], width: int, height: int) -> None:
        """Check count, shapes and dtype of planes.

        Raises:
            ValueError: They are not those of this format at width x height.
        """
        wanted, got = self.plane_shapes(width, height), tuple(p.shape for p in planes)
        if got != wanted or any(p.dtype != self.dtype for p in planes):
            kinds = sorted({str(p.dtype) for p in planes})
            raise ValueError(f"{self.name} {width}x{height} has planes {wanted}, not {got} {kinds}")


@dataclass(frozen=True, slots=True)
class ColorInfo:
    """How code values become colour. ISO/IEC 23091-2 (H.273) codes where a number is kept."""

    matrix: Matrix
    range: ColorRange
    primaries: int = 2
    """H.273 ColourPrimaries; 2: not known."""
    transfer: int = 2
    """H.273 TransferCharacteristics; 2: not known."""
    matrix_code: int = 2
    """H.273 MatrixCoefficients as tagged; 2: not tagged."""
    chroma_location: ChromaLocation = ChromaLocation.LEFT
    guessed: frozenset[str] = frozenset()
    """Names of the fields above that were not tagged in the file: "matrix", "range", "chroma_location"."""


@dataclass(frozen=True, slots=True)
class OtherStream:
    """A stream that is carried along: sound, subtitles, attachments, data."""

    index: int
    kind: str
    """audio, subtitle, attachment, data, or video for cover art and further pictures."""
    codec: str
    """FFmpeg's name; "none" where FFmpeg does not know it."""
    language: str = ""
    title: str = ""
    cover: bool = False
    """Whether it is an attached picture."""
    tag: str = ""
    """Four-character code of a data stream: tmcd, gpmd, mebx, ..."""
    wave: bool = False
    """Whether its sound is described as in a WAVE file: so AVI and ASF do, and Matroska can."""
    fits: frozenset[str] = frozenset()
    """FFmpeg's names of the muxers that take its packets as they are: mp4, mov, matroska, webm."""
    dispositions: tuple[str, ...] = ()
    """default, forced, comment, ..."""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a source says of itself, with the first decoded frame's word where the header differs."""

    path: str
    """Of a file, a pattern, or an address."""
    network: bool = False
    """Whether networks may be used to open it."""
    container: str
    codec: str
    stream_index: int
    width: int
    """Pixels."""
    height: int
    pixel_format: PixelFormat
    """What frames arrive in: the nearest planar integer format to `source_format`."""
    source_format: str
    color: ColorInfo
    frame_rate: Fraction | None
    """Average frames per second; None: not known."""
    time_base: Fraction
    """Seconds a tick of pts."""
    start_pts: int
    """Of the first frame shown, in ticks."""
    start_time: Fraction
    """Second at which the container's earliest stream begins."""
    sample_aspect_ratio: Fraction
    """Width of a pixel divided by its height; 0: not known."""
    rotation: int
    """Degrees counter-clockwise by which a player turns the picture."""
    display_matrix: tuple[int, ...] | None
    """The whole 3x3 matrix as in the file, or None."""
    hdr: HdrInfo = field(default_factory=HdrInfo)
    losses: tuple[str, ...] = ()
    """What of the first frame's side data a result goes without, a sentence each."""
    interlaced: bool
    fields: Literal["", "tff", "bff"] = ""
    """Of pictures that are single fields, which comes first; all else here is of the frames woven of them."""
    duration: float | None
    """Seconds; None: not known."""
    estimated_frames: int | None
    still: bool
    """Whether the source is a single picture or a sequence of picture files."""
    crop: tuple[int, int, int, int] | None = None
    """Pixels that the container crops off: left, right, top, bottom."""
    others: tuple[OtherStream, ...] = ()
    chapters: int = 0
    chapter_tags: tuple[str, ...] = ()
    """Keys of chapters' metadata beside their titles."""
    metadata: dict[str, str] = field(default_factory=dict)
    stream_tags: dict[str, str] = field(default_factory=dict)
    """Of the video stream, as its dispositions."""
    dispositions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture as integer planes, with its time."""

    planes: Planes
    """Code values, [rows, columns] each, in the order of `Planes`; treat as read-only."""
    pixel_format: PixelFormat
    color: ColorInfo
    pts: int
    """Presentation time in ticks of `time_base`."""
    duration: int
    """Ticks; 0: not known."""
    time_base: Fraction
    """Seconds a tick."""
    shift: int = 0
    """Ticks by which `pts` differs from the file's own time, where its clock jumps on the way."""
    key: bool = False
    """Whether it is a key frame of the source."""
    origin: Any = None
    """What the planes are views of, kept alive; side data that must survive is read from it."""

    def __post_init__(self) -> None:
        """Check the planes against the format."""
        self.pixel_format.check(self.planes, self.width, self.height)

    @property
    def width(self) -> int:
        """Columns of the first plane, in pixels."""
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        """Rows of the first plane, in pixels."""
        return int(self.planes[0].shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of code values."""
        return sum(p.nbytes for p in self.planes)

    def __repr__(self) -> str:
        """Name the size, format and time."""
        size, seconds = f"{self.width}x{self.height}", float(self.pts * self.time_base)
        return f"Frame({size} {self.pixel_format.name} pts={self.pts} {seconds:.3f}s)"
