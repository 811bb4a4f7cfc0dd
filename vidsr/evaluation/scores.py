"""What is measured on clips, and how they were coded."""

from __future__ import annotations

from dataclasses import dataclass

from vidsr.errors import OptionsError
from vidsr.video.compression import Compression
from vidsr.video.enlarge import Filter

__all__ = ["FILTERS", "ClipScores", "Coding", "Figures", "Point", "crf_label"]

FILTERS: tuple[Filter, ...] = ("bicubic", "lanczos")
"""What every model is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How clips are degraded and measured."""

    scale: int = 2
    crfs: tuple[float | None, ...] = (None, 18, 23, 28, 33)
    """Constant-quality values; None: shrunk, but not compressed."""
    codec: str = "libx264"
    preset: str | None = "medium"
    frames: int | None = None
    """Of each clip, from its beginning; None: all."""
    every: int = 4
    """SSIM, which is slow here, looks at one frame of so many; the others at all."""
    vmaf: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("frames", "every"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise OptionsError(f"--{name} must be 1 or more, not {value}")


@dataclass(frozen=True, slots=True)
class Figures:
    """How near a method comes to the original, on luma."""

    psnr_y: float
    """dB; mean of the frames' figures, of which each is at most 100."""
    ssim_y: float
    """Mean of the frames' figures."""
    xpsnr_y: float
    """dB; of the mean root distance of the frames, as FFmpeg's filter makes it for a clip."""
    vmaf: float | None = None
    """0..100; mean of the frames' figures."""


@dataclass(frozen=True, slots=True)
class Point:
    """A clip at one quality."""

    crf: float | None
    """None: not compressed."""
    bits_per_pixel: float | None
    """Of the compressed small frames."""
    kilobits: float | None
    """A second, of the same."""
    compression: Compression | None
    """What `vidsr upscale --model auto` sees of it."""
    figures: dict[str, Figures]
    """By method: `FILTERS`, then the models."""


@dataclass(frozen=True, slots=True)
class ClipScores:
    """A clip at all its qualities."""

    name: str
    """The file's name without its suffix, in lower case."""
    size: tuple[int, int]
    """Width and height that were compared; those of the small frames are `scale` times smaller."""
    frames: int
    frame_rate: float
    points: tuple[Point, ...]


def crf_label(crf: float | None) -> str:
    """Return "crf 23", or "uncompressed" for None."""
    return "uncompressed" if crf is None else f"crf {crf:g}"
