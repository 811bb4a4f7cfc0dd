"""How frames are encoded: options, with defaults for each codec, and the colour that is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from vidsr.errors import OptionsError
from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix, PixelFormat, VideoInfo
from vidsr.heap import RETURNED_BYTES
from vidsr.job import Job
from vidsr.target import Target
from vidsr.video.coding import Coding
from vidsr.video.formats import nearest_planar
from vidsr.video.hdr import encoder_params
from vidsr.video.nvenc import NVENC, gpu_to_encode, is_nvenc, nvenc_options, nvenc_quality
from vidsr.video.rates import without_default_quality

__all__ = ["PICTURE_CODECS", "EncoderSettings", "plan_encoder"]

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
    "prores_ks": {},
    "ffv1": {"level": "3", "slicecrc": "1"},
}
_X264_CHOICES = {
    "preset": "ultrafast superfast veryfast faster fast medium slow slower veryslow placebo".split()
    + list("0123456789"),
    "tune": "film animation grain stillimage psnr ssim fastdecode zerolatency touhou".split(),
    "profile": "baseline main high high10 high422 high444".split(),
}


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
    device: str = ""
    """The GPU that encodes, and its driver; empty: the CPU does."""

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
    color = _output_color(codec, info, layout, pictures=pictures)
    notes = []
    if layout != info.pixel_format:
        notes.append(f"{codec} gets {chosen}: the source is {info.source_format}")
    if layout.family == "yuv" and not pictures and color.range is not info.color.range:
        notes.append(f"{codec} gets {color.range} range: the source's {info.color.range} range is converted")
    if pictures and target.notes and codec not in _ASPECT_PICTURES:
        notes.append(f"{codec} has no place for the shape of pixels: the picture will look distorted")
    options = _options(codec, job, info, color, layout, threads, pictures)
    if is_nvenc(codec):
        own, said = nvenc_options(codec, job, plain=layout.name == "yuv420p")
        # The preset is among those that were asked for, by another name perhaps.
        options = own | options | {"preset": own["preset"]}
        notes += said
    if (
        codec in ("libx264", "libx264rgb")
        and not pictures
        and layout.frame_bytes(*target.size) <= RETURNED_BYTES
    ):
        # PyAV asks for slices, which cost 1 % of the bytes and 4 % of the speed; whole frames cost memory.
        options.setdefault("thread_type", "frame")
    quality, device = "crf", ""
    default = None if pictures else _DEFAULTS.get(codec, {}).get(quality)
    if is_nvenc(codec):
        # A qp that was asked for is what takes the quality's place.
        quality = "cq" if "qp" in job.encoder_options else nvenc_quality(job.encoder_options)
        default = NVENC[codec].quality
        device = str(gpu_to_encode())
    instead = without_default_quality(
        codec, job.encoder_options, quality=quality, default=default, asked=job.crf
    )
    if instead and options.pop(quality, None) is not None:
        notes.append(f"{codec} follows {instead}: vidsr's default {quality}={default} is left out")
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
        color=color,
        time_base=Fraction(1, info.time_base.denominator),
        frame_rate=_sane_rate(info.frame_rate),
        sample_aspect_ratio=target.sample_aspect_ratio,
        rotation=info.rotation,
        display_matrix=info.display_matrix,
        options=options,
        notes=tuple(notes),
        device=device,
    )


def _options(
    codec: str,
    job: Job,
    info: VideoInfo,
    color: ColorInfo,
    layout: PixelFormat,
    threads: int,
    picture: bool,
) -> dict[str, str]:
    options = {} if picture else dict(_DEFAULTS.get(codec, {}))
    if job.crf is not None and not is_nvenc(codec):
        options["crf"] = f"{job.crf:g}"
    if job.preset is not None:
        options["preset"] = job.preset
    if not picture:
        options |= {} if is_nvenc(codec) else {"threads": str(threads)}
        if layout.subsampled and codec != "ffv1":
            options["chroma_sample_location"] = color.chroma_location.value
    elif codec == "mjpeg":
        options |= {"qmin": "1", "qmax": "2"}
    hdr = encoder_params(codec, info.hdr)
    if codec in ("libx264", "libx264rgb"):
        # Segments are joined later: their headers must not depend on what is in them.
        options["x264-params"] = ":".join(["stitchable=1", *hdr])
    if codec == "libx265":
        options["x265-params"] = ":".join([f"pools={threads}:log-level=error:repeat-headers=0", *hdr])
    if codec == "libsvtav1":
        options["svtav1-params"] = ":".join([f"lp={threads}", *hdr])
    if codec == "libvpx-vp9" and layout.bit_depth > 8:
        raise OptionsError("libvpx-vp9 here codes 8 bits only", hint="give --pix-fmt yuv420p")
    if codec == "libvpx-vp9" and job.encoder_options.get("lossless") == "1":
        options.pop("crf", None)  # libvpx refuses both together
    for name, value in job.encoder_options.items():
        # The parameters above stay: without them segments would not fit together.
        both = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if both else value
    for name, known in _X264_CHOICES.items() if codec in ("libx264", "libx264rgb") else ():
        # x264 itself writes to stderr when it is given another.
        if not set(options.get(name, known[0]).replace(",", " ").split()) <= set(known):
            raise OptionsError(f"{codec} has no {name} '{options[name]}'", hint=f"it has {', '.join(known)}")
    return options


def _output_color(codec: str, info: VideoInfo, layout: PixelFormat, *, pictures: bool) -> ColorInfo:
    """Return the tags of what is written: the source's, or those of RGB made YUV and YUV made RGB."""
    color = info.color
    known = color.primaries, color.transfer
    if layout.family == "gbr" or (pictures and layout.family == "gray"):
        return ColorInfo(Matrix.RGB, ColorRange.FULL, *known, 0)
    if pictures:
        # JFIF and WebP: BT.601, chroma in the middle.
        return ColorInfo(Matrix.BT601, ColorRange.FULL, *known, 6, ChromaLocation.CENTER)
    if info.pixel_format.family == "gbr":
        return ColorInfo(Matrix.BT709, ColorRange.LIMITED, *known, 1)
    # ProRes is of limited range, and has no way to say that it is not.
    return replace(color, range=ColorRange.LIMITED) if codec.startswith("prores") else color


def _sane_rate(rate: Fraction | None) -> Fraction:
    if rate is None or not Fraction(1, 100) <= rate <= 1000:
        return Fraction(25)
    return rate.limit_denominator(65535)
