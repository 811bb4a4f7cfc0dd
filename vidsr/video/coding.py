"""Which encoder, and the pixel format that it gets: the source's, or the nearest that it takes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import av
import av.codec

from vidsr.errors import OptionsError
from vidsr.frame import PixelFormat, VideoInfo
from vidsr.job import Job
from vidsr.video.containers import CONTAINERS
from vidsr.video.formats import nearest_planar
from vidsr.video.nvenc import is_nvenc, nvenc_formats, require_gpu

__all__ = ["Coding", "choose_coding", "encoder_formats"]

_SHORT_NAMES = {"h264": "libx264", "x264": "libx264", "h265": "libx265", "hevc": "libx265"}
_SHORT_NAMES |= {"x265": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9", "prores": "prores_ks"}
_EVEN_ONLY = frozenset({"libx264", "libx265", "h264_nvenc", "hevc_nvenc", "av1_nvenc", "prores_ks"})


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


def choose_coding(job: Job, info: VideoInfo, *, pictures: str | None, suffix: str) -> Coding:
    """Decide encoder and pixel format.

    Args:
        job: What was asked for.
        info: The source.
        pictures: The picture codec, when still pictures are written instead of video.
        suffix: Of the output's name.

    Raises:
        OptionsError: The codec is unknown, cannot take the pixel format, or does not fit the container.
        HardwareError: It needs a GPU, and there is none that encodes.
    """
    codec = pictures or _SHORT_NAMES.get(job.codec, job.codec)
    if codec == "auto":
        codec = _automatic(info, suffix)
    available = encoder_formats(codec)
    if pictures is None and suffix in CONTAINERS and not _fits(codec, CONTAINERS[suffix].form):
        others = [s for s, container in CONTAINERS.items() if _fits(codec, container.form)]
        raise OptionsError(
            f"{suffix} cannot hold what {codec} makes",
            hint=f"name the output {' or '.join(others)}" if others else "choose another --codec",
        )
    if is_nvenc(codec):
        require_gpu(codec)
        available = nvenc_formats(codec, available)
    formats = tuple(name for name in available if _comes_back(codec, name, suffix))
    return Coding(codec, _choose_format(codec, formats, info.pixel_format, job.pix_fmt))


def _fits(codec: str, form: str) -> bool:
    """Tell whether a muxer takes what an encoder makes."""
    name = str(av.codec.Codec(codec, "w").canonical_name)
    # FFmpeg's QuickTime muxer lists these and then refuses them.
    return name in _known_to(form) and (form != "mov" or name not in ("av1", "vp9"))


@cache
def _known_to(form: str) -> frozenset[str]:
    with av.open(io.BytesIO(), "w", format=form) as container:
        coders = container.supported_codecs
    return frozenset(filter(None, map(_canonical, coders)))


def _canonical(coder: str) -> str | None:
    """Return the codec's name for a decoder's or encoder's; None: this FFmpeg has none of that name."""
    for mode in ("w", "r"):
        try:
            return str(av.codec.Codec(coder, mode).canonical_name)
        except ValueError:
            continue
    return None


def _automatic(info: VideoInfo, suffix: str) -> str:
    """Return the encoder for a video that was asked for by its name alone.

    WebM holds VP9. A transparent picture in a .mov means ProRes 4444, which is what makes and takes them;
    everywhere else H.264, with a warning of what keeps the transparency.
    """
    if suffix == ".mov" and info.pixel_format.alpha:
        return "prores_ks"
    return CONTAINERS[suffix].default_codec if suffix in CONTAINERS else "libx264"


def _comes_back(codec: str, name: str, suffix: str) -> bool:
    """Tell whether everything in a pixel format can be read from the result again.

    VP9's alpha is a second stream beside the first: only Matroska has a place for it, and decoders (FFmpeg's,
    browsers') take it in 4:2:0 alone.
    """
    if codec != "libvpx-vp9" or not nearest_planar(name).alpha:
        return True
    return name == "yuva420p" and suffix in (".webm", ".mkv")


def _choose_format(codec: str, formats: tuple[str, ...], source: PixelFormat, wanted: str | None) -> str:
    if wanted is not None:
        if is_nvenc(codec) and wanted not in formats:
            # It has its own layouts of what others call yuv420p10le.
            wanted = next((name for name in formats if nearest_planar(name).name == wanted), wanted)
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
        int(source.alpha and not target.alpha),
        max(0, target.chroma_shift_x - source.chroma_shift_x)
        + max(0, target.chroma_shift_y - source.chroma_shift_y)
        if source.family != "gray"
        else 0,
        int(not same and not gray_in_yuv),
        max(0, source.bit_depth - target.bit_depth),
        abs(target.bit_depth - source.bit_depth),
        int(target.alpha and not source.alpha),
        int(not same),
        _chroma_wasted(target, source),
        int(target.name.startswith("yuvj")),
    )


def _chroma_wasted(target: PixelFormat, source: PixelFormat) -> int:
    if source.family == "gray":
        return -target.chroma_shift_x - target.chroma_shift_y
    return abs(target.chroma_shift_x - source.chroma_shift_x) + abs(
        target.chroma_shift_y - source.chroma_shift_y
    )
