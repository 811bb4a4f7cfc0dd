"""What HDR pictures carry beside their code values: numbers as the standards write them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ContentLight", "HdrInfo", "MasteringDisplay"]

Chromaticity = tuple[int, int]
"""CIE 1931 x and y in units of 0.00002, as SMPTE ST 2086 and H.265 D.3.28 count them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasteringDisplay:
    """The display that the colours were graded on (SMPTE ST 2086), in the units of its SEI message."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity
    max_luminance: int
    """In units of 0.0001 cd/m2."""
    min_luminance: int
    """In units of 0.0001 cd/m2."""

    def __str__(self) -> str:
        """Say the luminances, in cd/m2."""
        return f"{self.min_luminance / 10000:g} to {self.max_luminance / 10000:g} cd/m2"


@dataclass(frozen=True, slots=True)
class ContentLight:
    """How bright the content is (CTA-861.3)."""

    max_content: int
    """MaxCLL: the brightest pixel, in cd/m2; 0: not known."""
    max_average: int
    """MaxFALL: the brightest frame's average, in cd/m2; 0: not known."""

    def __str__(self) -> str:
        """Say both."""
        return f"MaxCLL {self.max_content}, MaxFALL {self.max_average} cd/m2"


@dataclass(frozen=True, slots=True)
class HdrInfo:
    """What a source says of its HDR, by its first frame."""

    mastering: MasteringDisplay | None = None
    light: ContentLight | None = None
    dolby_vision: int | None = None
    """Dolby Vision profile of its metadata, which is never carried; 0: one that is not known."""

    @property
    def static(self) -> bool:
        """Whether there is static (HDR10) data to be carried."""
        return self.mastering is not None or self.light is not None

    def __str__(self) -> str:
        """Say what is carried, empty where nothing is."""
        parts = [f"mastering display {self.mastering}"] if self.mastering else []
        parts += [str(self.light)] if self.light else []
        return ", ".join(parts)
