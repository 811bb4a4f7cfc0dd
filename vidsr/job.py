"""A job: everything a user can ask for, with its default. The only place where defaults live."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vidsr import records
from vidsr.errors import OptionsError

__all__ = ["NULL_OUTPUT", "Job", "parse_time"]

NULL_OUTPUT = Path("null:")
"""As a job's output: make all frames, encode and write nothing (for measuring)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One source to one output."""

    source: Path
    """A video, a picture, or a pattern such as ``shot_%04d.png``."""
    output: Path | None = None
    """None: beside the source, named after it and the scale. `NULL_OUTPUT`: nowhere."""
    model: str = "ecbsr"
    """A network, a model's id, or the path of an ONNX file."""
    scale: int = 2
    model_range: Literal[1, 255] | None = None
    """What an ONNX file without a card takes for the largest code; None: 1, or what its card says."""

    backend: str = "auto"
    device: str = "auto"
    precision: Literal["auto", "f32", "bf16"] = "auto"
    threads: int = 0
    """CPU threads for inference; 0: all cores."""
    tile: str = "auto"
    """Side of a tile in source pixels; "0": whole frames; "auto": tiles only where memory asks for them."""
    chroma: Literal["bicubic", "nearest"] = "bicubic"
    """How the planes that the network does not make are enlarged."""

    codec: str = "auto"
    """An FFmpeg encoder; auto: libx264, or what the output's name asks for."""
    crf: float | None = None
    """Constant-quality value; None: the codec's default in vidsr (libx264: 18)."""
    preset: str | None = None
    """The encoder's preset; None: the codec's default in vidsr (libx264: medium)."""
    pix_fmt: str | None = None
    """Pixel format to encode; None: the source's, or the nearest that the encoder takes."""
    encoder_options: dict[str, str] = field(default_factory=dict)
    """Further options of the encoder."""
    encoder_threads: int = 0
    """Threads of the encoder; 0: the number of cores. Part of the plan: it decides x264's bytes."""

    drop: tuple[int, ...] = ()
    """Indices of the source's streams that the result goes without."""

    start: float | None = None
    """Seconds from the first frame: skip what is shown earlier."""
    end: float | None = None
    """Seconds from the first frame: stop before what is shown from here on."""
    frames: int | None = None
    """Stop after so many frames."""

    segment_frames: int = 240
    """Frames between two points from which an interrupted job goes on."""
    overwrite: bool = False
    discard: bool = False
    """Forget the unfinished work of an earlier job with the same output."""
    verify: Literal["packets", "full"] = "packets"
    """packets: count and every time stamp of the written file; full: decode it as well."""

    def __post_init__(self) -> None:
        """Check what can be checked without opening anything."""
        if self.scale < 1:
            raise OptionsError(f"the scale must be 1 or more, not {self.scale}")
        if self.tile != "auto" and not (self.tile.isdecimal() and int(self.tile) <= 1 << 16):
            raise OptionsError(f"--tile takes auto, 0 or a size in pixels, not '{self.tile}'")
        if self.frames is not None and self.frames < 1:
            raise OptionsError(f"--frames must be 1 or more, not {self.frames}")
        if self.start is not None and self.start < 0:
            raise OptionsError(f"--start must be 0 or more, not {self.start:g}")
        if self.end is not None and self.end <= (self.start or 0):
            raise OptionsError(f"--end ({self.end:g} s) must come after --start ({self.start or 0:g} s)")
        for name, least in (("threads", 0), ("encoder_threads", 0), ("segment_frames", 1)):
            if (value := getattr(self, name)) < least:
                raise OptionsError(f"--{name.replace('_', '-')} must be {least} or more, not {value}")

    @classmethod
    def load(cls, path: Path) -> Job:
        """Read a job from a TOML file.

        Raises:
            OptionsError: The file is missing or wrong.
        """
        return records.load(cls, path, error=OptionsError)

    def to_toml(self) -> str:
        """Return the job as TOML; options that are None are left out."""
        return records.dump(self)


def parse_time(text: str) -> float:
    """Return seconds from "12.5", "1:02.5" or "1:00:02.5".

    Raises:
        OptionsError: It is none of these.
    """
    try:
        parts = [Fraction(part) for part in text.split(":")]
    except (ValueError, ZeroDivisionError):
        parts = []
    if not 1 <= len(parts) <= 3 or any(p < 0 for p in parts) or any(p >= 60 for p in parts[1:]):
        raise OptionsError(f"'{text}' is not a time", hint="write seconds, M:SS or H:MM:SS")
    seconds = Fraction(0)
    for part in parts:
        seconds = seconds * 60 + part
    return float(seconds)
