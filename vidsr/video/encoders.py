"""What is encoded and how: defaults for each codec, and the pixel format that an encoder can take."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av
import av.codec

from vidsr.errors import OptionsError
from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat, VideoInfo
from vidsr.job import Job
from vidsr.target import Target
from vidsr.video.formats import nearest_planar

__all__ = ["PICTURE_CODECS", "Coding", "EncoderSettings", "choose_coding", "encoder_formats", "plan_encoder"]

PICTURE_CODECS = {
    ".png": "png",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".webp": "libwebp",
}
# Those that store the shape of a pixel.
_ASPECT_PICTURES = frozenset({"png", "mjpeg", "tiff"})
_ASPECT_VIDEO = frozenset({"libx264", "libx264rgb", "libx265", "h264_nvenc", "hevc_nvenc"})
# crf and preset that look transparent at a sensible speed, and the option each codec calls them by.
_DEFAULTS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "medium"},
    "libx264rgb": {"crf": "18", "preset": "medium"},
    "libx265": {"crf": "20", "preset": "medium"},
    "libsvtav1": {"crf": "26", "preset": "8"},
    "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"},
    "h264_nvenc": {"cq": "19", "preset": "p5"},
    "hevc_nvenc": {"cq": "21", "preset": "p5"},
    "av1_nvenc": {"cq": "27", "preset": "p5"},
    "prores_ks": {},
    "ffv1": {"level": "3", "slicecrc": "1"},
}
_CRF_NAME = {"h264_nvenc": "cq", "hevc_nvenc": "cq", "av1_nvenc": "cq"}
_SHORT_NAMES = {"h264": "libx264", "x264": "libx264", "h265": "libx265", "hevc": "libx265"}
_SHORT_NAMES |= {"x265": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "prores": "prores_ks"}
_X264_CHOICES = {
    "preset": "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo".split()
    + list("0123456789"),
    "tune": "film animation grain stillimage psnr ssim fastdecode zerolatency touhou".split(),
    "profile": "baseline main high high10 high422 high444".split(),
}
_EVEN_ONLY = frozenset({"libx264", "libx265", "h264_nvenc", "hevc_nvenc", "av1_nvenc", "prores_ks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """Everything that decides an encoder's bytes, but the frames."""

    codec: str
    width: int
    """Pixels of a coded frame, padding included."""
    height: int
    pixel_format: str
    source_color: ColorInfo
    """Of the frames handed over."""
    color: ColorInfo
    """Of what is written: differs where RGB becomes YUV or the other way."""
    time_base: Fraction
    """Seconds a tick of pts; the numerator is 1."""
    frame_rate: Fraction
    """A hint for rate control; times come from pts."""
    sample_aspect_ratio: Fraction
    rotation: int = 0
    display_matrix: tuple[int, ...] | None = None
    options: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What the user should know: conversions, padding."""

    @property
    def planes(self) -> PixelFormat:
        """The planar layout in which frames are handed over; equal to `pixel_format` if that is planar."""
        return nearest_planar(self.pixel_format)

    def keeps_aspect_in(self, form: str) -> bool:
        """Tell whether a video in a container keeps the shape of its pixels.

        PyAV gives Matroska's muxer no way to store it: there the encoder's own stream must say it.
        """
        known = self.sample_aspect_ratio not in (0, 1)
        return not known or form not in ("matroska", "webm") or self.codec in _ASPECT_VIDEO


def encoder_formats(codec: str) -> tuple[str, ...]:
    """Return the pixel formats that an encoder lists, or none if it takes any.

    Raises:
        OptionsError: FFmpeg has no such encoder here.
    """
    try:
        listed = av.codec.Codec(codec, "w").video_formats
    except ValueError as error:
        raise OptionsError(
            f"this FFmpeg has no encoder '{codec}'", hint="'vidsr doctor' lists the encoders"
        ) from error
    return tuple(f.name for f in listed or ())


@dataclass(frozen=True, slots=True)
class Coding:
    """An encoder and the pixel format it gets, which the source and the job decide whatever the size."""

    codec: str
    pixel_format: str

    @property
    def layout(self) -> PixelFormat:
        """The planar layout of the pixel format."""
        return nearest_planar(self.pixel_format)

    @property
    def steps(self) -> tuple[int, int]:
        """What the coded width and height must be multiples of."""
        if self.codec not in _EVEN_ONLY:
            return 1, 1
        return 1 << self.layout.chroma_shift_x, 1 << self.layout.chroma_shift_y


def choose_coding(job: Job, info: VideoInfo, *, pictures: str | None) -> Coding:
    """Decide encoder and pixel format.

    Args:
        job: What was asked for.
        info: The source.
        pictures: The picture codec, when still pictures are written instead of video.

    Raises:
        OptionsError: The codec is unknown, or cannot take the pixel format.
    """
    codec = pictures or _SHORT_NAMES.get(job.codec, "libx264" if job.codec == "auto" else job.codec)
    return Coding(codec, _choose_format(codec, encoder_formats(codec), info.pixel_format, job.pix_fmt))


def plan_encoder(
    job: Job, info: VideoInfo, target: Target, coding: Coding, *, threads: int, pictures: bool
) -> EncoderSettings:
    """Decide everything about encoding.

    Args:
        job: What was asked for.
        info: The source.
        target: The result's size.
        coding: Encoder and pixel format.
        threads: Encoder threads; part of the settings because some encoders' bytes depend on it.
        pictures: Whether still pictures are written instead of video.

    Raises:
        OptionsError: An option is not one of the encoder's.
    """
    codec, chosen, layout = coding.codec, coding.pixel_format, coding.layout
    notes = []
    if layout != info.pixel_format:
        notes.append(f"{codec} gets {chosen}: the source is {info.source_format}")
    if pictures and target.notes and codec not in _ASPECT_PICTURES:
        notes.append(f"{codec} has no place for the shape of pixels: the picture will look distorted")
    width, height = (-(-side // step) * step for side, step in zip(target.size, coding.steps, strict=True))
    if (width, height) != target.size:
        notes.append(
            f"{codec} cannot code {target.width}x{target.height} in {chosen}: the last row or column is"
            f" repeated to make {width}x{height}"
        )
    return EncoderSettings(
        codec=codec,
        width=width,
        height=height,
        pixel_format=chosen,
        source_color=info.color,
        color=_output_color(info, layout, pictures=pictures),
        time_base=Fraction(1, info.time_base.denominator),
        frame_rate=_sane_rate(info.frame_rate),
        sample_aspect_ratio=target.sample_aspect_ratio,
        rotation=info.rotation,
        display_matrix=info.display_matrix,
        options=_options(codec, job, info, layout, threads, pictures),
        notes=tuple(notes),
    )


def _choose_format(codec: str, formats: tuple[str, ...], source: PixelFormat, wanted: str | None) -> str:
    if wanted is not None:
        if formats and wanted not in formats:
            raise OptionsError(f"{codec} cannot encode '{wanted}'", hint=f"it takes {', '.join(formats)}")
        return wanted
    if not formats or source.name in formats:
        return source.name

    def rank(name: str) -> tuple[bool, tuple[int, ...], int]:
        # Gray with alpha has no planar format of its own: in those terms it would look like colour.
        colorless = source.family != "gray" and name.startswith(("gray", "ya", "mono", "pal"))
        return colorless, _loss(nearest_planar(name), source), formats.index(name)

    return min(formats, key=rank)


def _loss(target: PixelFormat, source: PixelFormat) -> tuple[int, ...]:
    """Rank how much of `source` a `target` would lose, the worst first, then what it would waste."""
    same = target.family == source.family
    gray_in_yuv = source.family == "gray" and target.family == "yuv"
    return (
        int(source.family != "gray" and target.family == "gray"),
        max(0, target.chroma_shift_x - source.chroma_shift_x)
        + max(0, target.chroma_shift_y - source.chroma_shift_y)
        if source.family != "gray"
        else 0,
        int(not same and not gray_in_yuv),
        max(0, source.bit_depth - target.bit_depth),
        int(source.alpha and not target.alpha),
        abs(target.bit_depth - source.bit_depth),
        int(target.alpha and not source.alpha),
        abs(target.chroma_shift_x - source.chroma_shift_x)
        + abs(target.chroma_shift_y - source.chroma_shift_y),
        int(target.name.startswith("yuvj")),
    )


def _options(
    codec: str, job: Job, info: VideoInfo, layout: PixelFormat, threads: int, picture: bool
) -> dict[str, str]:
    options = {} if picture else dict(_DEFAULTS.get(codec, {}))
    if job.crf is not None:
        options[_CRF_NAME.get(codec, "crf")] = f"{job.crf:g}"
    if job.preset is not None:
        options["preset"] = job.preset
    if not picture:
        options["threads"] = str(threads)
        if layout.subsampled and codec != "ffv1":
            options["chroma_sample_location"] = info.color.chroma_location.value
    elif codec == "mjpeg":
        options |= {"qmin": "1", "qmax": "2"}
    if codec in ("libx264", "libx264rgb"):
        # Segments are joined later: their headers must not depend on what is in them.
        options["x264-params"] = "stitchable=1"
    if codec == "libx265":
        options["x265-params"] = f"pools={threads}:log-level=error:repeat-headers=0"
    if codec == "libsvtav1":
        options["svtav1-params"] = f"lp={threads}"
    if codec == "libvpx-vp9" and layout.bit_depth > 8:
        raise OptionsError("libvpx-vp9 here codes 8 bits only", hint="give --pix-fmt yuv420p")
    for name, value in job.encoder_options.items():
        # The parameters above stay: without them segments would not fit together.
        both = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if both else value
    for name, known in _X264_CHOICES.items() if codec in ("libx264", "libx264rgb") else ():
        # x264 itself writes to stderr when it is given another.
        if not set(options.get(name, known[0]).replace(",", " ").split()) <= set(known):
            raise OptionsError(f"{codec} has no {name} '{options[name]}'", hint=f"it has {', '.join(known)}")
    return options


def _output_color(info: VideoInfo, layout: PixelFormat, *, pictures: bool) -> ColorInfo:
    """Return the tags of what is written: the source's, or those of RGB made YUV and YUV made RGB."""
    color = info.color
    if layout.family == "gbr" or (pictures and layout.family == "gray"):
        return ColorInfo(Matrix.RGB, ColorRange.FULL, color.primaries, color.transfer, 0)
    if pictures:
        return ColorInfo(Matrix.BT601, ColorRange.FULL, color.primaries, color.transfer, 6)
    if info.pixel_format.family == "gbr":
        return ColorInfo(Matrix.BT709, ColorRange.LIMITED, color.primaries, color.transfer, 1)
    return color


def _sane_rate(rate: Fraction | None) -> Fraction:
    if rate is None or not Fraction(1, 100) <= rate <= 1000:
        return Fraction(25)
    return rate.limit_denominator(65535)
