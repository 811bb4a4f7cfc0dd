"""A job: everything a user can ask for, with its default. The only place where defaults live."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vidsr import records
from vidsr.errors import OptionsError
from vidsr.sources import parse_source

__all__ = [
    "AUTO",
    "DEFAULT_SCALE",
    "DROP_KINDS",
    "MAX_SCALE",
    "MAX_THREADS",
    "NULL_OUTPUT",
    "Deinterlace",
    "HwAccel",
    "Job",
    "OnError",
    "parse_scale",
    "parse_size",
    "parse_time",
]

AUTO = "auto"
"""As a job's model: what suits the source."""

NULL_OUTPUT = Path("null:")
"""As a job's output: make all frames, encode and write nothing (for measuring)."""

DEFAULT_SCALE = Fraction(2)
"""Where neither scale nor size is asked for."""

Deinterlace = Literal["auto", "off", "frame", "field", "idet"]
"""What becomes of interlaced frames; see `Job.deinterlace`."""

HwAccel = Literal["none", "auto", "cuda"]
"""What decodes; see `Job.hwaccel`."""

OnError = Literal["stop", "skip", "conceal"]
"""What becomes of a damaged source; see `Job.on_error`."""

DROP_KINDS = ("audio", "subtitle", "attachment", "cover", "video", "data")
"""Kinds of streams that can be dropped by name; video: others than the one that is enlarged."""

MAX_SCALE = 16
"""Largest magnification along an axis."""

MAX_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One source to one output."""

    source: str | Path
    """A video, a picture, a pattern such as ``shot_%04d.png``, or an address (see `allow_network`).
    Text stays text only where it is an address: see `vidsr.sources.parse_source`."""
    output: Path | None = None
    """None: beside the source, named after it and the scale. `NULL_OUTPUT`: nowhere."""
    model: str = AUTO
    """A network, a variant or an id of a model, or the path of an ONNX file; auto: ECBSR's for clean or for
    compressed sources, whatever the source is; see `vidsr.choice`."""
    scale: Fraction | int | None = None
    """Magnification, such as 2 or 3/2; left out: `DEFAULT_SCALE`. Stays None only where `size` is given."""
    size: str | None = None
    """Instead of a scale: the result's size as it is shown, "1920x1080", "1920x" or "x1080" in pixels.
    The side that is left out keeps the picture's proportions."""
    model_range: Literal[1, 255] | None = None
    """What an ONNX file without a card takes for the largest code; None: 1, or what its card says."""

    backend: str = "auto"
    device: str = "auto"
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
    """auto: f16 on GPUs, bf16 on CPUs that compute it natively, otherwise f32; int8: the model's file in
    integers, where its card offers one, which it does where that loses at most 0.1 dB."""
    fast: bool = False
    """Take int8 where the model offers it and the backend runs it; where not, warn and go on as with auto."""
    threads: int = 0
    """CPU threads for inference; 0: what is fastest beside the encoder, see `vidsr.budget`."""
    tile: str = "auto"
    """Side of a tile in source pixels; "0": whole frames; "auto": tiles only where memory asks for them, and
    four overlapping patches for a network that works at the target's size."""
    reuse: Literal["auto", "off"] = "auto"
    """auto: frames and parts of frames that equal the last one's are not computed again, where looking for
    them costs less than it saves; the result is the same."""
    chroma: Literal["bicubic", "nearest"] = "bicubic"
    """How the planes that the network does not make are enlarged."""

    hwaccel: HwAccel = "none"
    """What decodes the source. none: the CPU; cuda: an NVIDIA GPU (NVDEC), for streams of which it makes the
    same samples; auto: the GPU where there is one that works. none by itself, because a GPU does not tell of
    damage within pictures; see `vidsr.video.hardware`."""
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
    """Threads of the encoder; 0: what is fastest, see `vidsr.budget`. Part of the plan: it decides x264's
    bytes."""

    deinterlace: Deinterlace = "auto"
    """auto: frames that are flagged interlaced are deinterlaced, one frame a frame; off: none, fields stay
    woven; frame: all, one frame a frame; field: all, one frame a field, at twice the rate. idet: FFmpeg's
    filter of that name looks at the picture itself and decides between frame and off."""

    video_stream: int | None = None
    """Index of the stream to enlarge; None: the first video that is no cover picture."""
    on_error: OnError = "stop"
    """What becomes of packets and pictures that are damaged. stop: the job fails there, and what was made
    before it is kept as ``name.partial.mp4``; skip: they are left out, and the frame before is shown longer;
    conceal: what the decoder patches is taken, and where nothing comes out the frame before is repeated."""
    drop: tuple[int | str, ...] = ()
    """What of the source the result goes without: indices of streams, or `DROP_KINDS`."""

    start: float | None = None
    """Seconds from the first frame: skip what is shown earlier."""
    end: float | None = None
    """Seconds from the first frame: stop before what is shown from here on."""
    frames: int | None = None
    """Stop after so many frames."""

    segment_frames: int = 480
    """Least number of frames between two points from which an interrupted job goes on: it is cut at the next
    key frame of the source, and at twice this number wherever that is."""
    overwrite: bool = False
    discard: bool = False
    """Forget the unfinished work of an earlier job with the same output."""
    allow_network: bool = False
    """Whether the source may be an address such as ``https://host/clip.mp4``, and playlists may hold some."""
    verify: Literal["packets", "full"] = "packets"
    """packets: count and every time stamp of the written file; full: decode it as well."""

    def __post_init__(self) -> None:
        """Check what can be checked without opening anything."""
        object.__setattr__(self, "source", parse_source(self.source))
        for name in ("crf", "start", "end"):
            if (number := getattr(self, name)) is not None and not math.isfinite(number):
                raise OptionsError(f"--{name} must be a number, not {number}")
        if self.size is not None:
            if self.scale is not None:
                raise OptionsError("--scale and --size both say how large", hint="give one of them")
            parse_size(self.size)
        else:
            # By way of text, so that 1.1 from Python is 11/10.
            scale = DEFAULT_SCALE if self.scale is None else Fraction(str(self.scale))
            if not 1 <= scale <= MAX_SCALE:
                raise OptionsError(f"the scale must be from 1 to {MAX_SCALE}, not {float(scale):g}")
            object.__setattr__(self, "scale", scale)
        if self.tile != "auto" and not (re.fullmatch(r"\d{1,5}", self.tile) and int(self.tile) <= 1 << 16):
            raise OptionsError(f"--tile takes auto, 0 or a size in pixels, not '{self.tile}'")
        if self.fast and self.precision not in ("auto", "int8"):
            raise OptionsError(
                f"--fast is int8 where a model offers it, --precision {self.precision} is not",
                hint="give one of them",
            )
        if self.frames is not None and self.frames < 1:
            raise OptionsError(f"--frames must be 1 or more, not {self.frames}")
        if self.start is not None and self.start < 0:
            raise OptionsError(f"--start must be 0 or more, not {self.start:g}")
        if self.end is not None and self.end <= (self.start or 0):
            raise OptionsError(f"--end ({self.end:g} s) must come after --start ({self.start or 0:g} s)")
        for asked in map(str, self.drop):
            if not asked.isdecimal() and asked not in DROP_KINDS:
                takes = f"it takes the index of a stream, or {', '.join(DROP_KINDS)}"
                raise OptionsError(f"--drop '{asked}' means nothing", hint=takes)
        for name, least, most in (
            ("threads", 0, MAX_THREADS),
            ("encoder_threads", 0, MAX_THREADS),
            ("segment_frames", 1, None),
        ):
            value = getattr(self, name)
            if value < least:
                raise OptionsError(f"--{name.replace('_', '-')} must be {least} or more, not {value}")
            if most is not None and value > most:
                raise OptionsError(f"--{name.replace('_', '-')} must be {most} or less")

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


def parse_scale(text: str) -> Fraction:
    """Return the magnification that "2", "1.5" or "3/2" means.

    Raises:
        OptionsError: It is none of these.
    """
    # Fraction itself would also take "1e999999999", and all memory.
    if re.fullmatch(r"\d{1,6}(\.\d{1,9})?|\d{1,6}/0*[1-9]\d{0,5}", text, re.ASCII):
        return Fraction(text)
    raise OptionsError(f"'{text}' is not a scale", hint="write 2, 1.5 or 3/2")


def parse_size(text: str) -> tuple[int | None, int | None]:
    """Return width and height of "1920x1080", "1920x" or "x1080"; None: left out.

    Raises:
        OptionsError: It is none of these, or has no pixels.
    """
    match = re.fullmatch(r"(\d{1,6})?x(\d{1,6})?", text.lower(), re.ASCII)
    if match is None or match.groups() == (None, None):
        raise OptionsError(f"'{text}' is not a size", hint="write 1920x1080, 1920x or x1080")
    width, height = (None if side is None else int(side) for side in match.groups())
    if width == 0 or height == 0:
        raise OptionsError(f"a size of {text} has no pixels", hint="write 1920x1080, 1920x or x1080")
    return width, height


def parse_time(text: str) -> float:
    """Return seconds from "12.5", "1:02.5" or "1:00:02.5".

    Raises:
        OptionsError: It is none of these.
    """
    # Fraction itself would also take "1e999999999", and all memory.
    number = re.compile(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", re.ASCII)
    texts = text.split(":")
    parts = [Fraction(part) for part in texts] if all(map(number.fullmatch, texts)) else []
    if not 1 <= len(parts) <= 3 or any(p < 0 for p in parts) or any(p >= 60 for p in parts[1:]):
        raise OptionsError(f"'{text}' is not a time", hint="write seconds, M:SS or H:MM:SS")
    seconds = Fraction(0)
    for part in parts:
        seconds = seconds * 60 + part
    return float(seconds)
