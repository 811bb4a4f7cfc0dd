"""Options by which an encoder steers its bit rate: what of it knows nothing of the segment before.

Constant quality is the same wherever a segment begins: a quantiser depends on the frames around it only.
A bit rate is kept over time, and each segment has an encoder of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import av.codec

from vidsr.errors import OptionsError

__all__ = ["rate_warning", "without_default_quality"]

# Options of FFmpeg's that ask for a bit rate, and those that limit it.
_AIMS = ("b",)
_LIMITS = ("maxrate", "minrate", "bufsize")
# The same in an encoder's own parameters.
_PARAMS = {
    "x264-params": (("bitrate",), ("vbv-maxrate", "vbv-bufsize", "pass")),
    "x264opts": (("bitrate",), ("vbv-maxrate", "vbv-bufsize", "pass")),
    "x265-params": (("bitrate",), ("vbv-maxrate", "vbv-bufsize", "pass", "strict-cbr")),
    "svtav1-params": (("rc", "tbr"), ("mbr", "pass", "passes")),
}
# Where a quality beside a bit rate means both: no better than the one, no larger than the other.
_BOTH = ("libvpx", "libvpx-vp9", "libaom-av1")
_QUALITIES = ("crf", "cq", "qp", "global_quality", "lossless")


def without_default_quality(
    codec: str, given: Mapping[str, str], *, quality: str, default: str | None, asked: float | None
) -> str:
    """Return what replaces vidsr's default quality, as "b=2M"; "": nothing does.

    x264 and x265 follow a crf and pass over a bit rate or a qp beside it, without a word, as NVENC does
    with a cq; SVT-AV1 refuses the two together. So whoever asks for one of these gets no default crf.

    Args:
        codec: The encoder.
        given: Options that were asked for.
        quality: What the encoder calls its quality.
        default: vidsr's value of it; None: it has none for this encoder.
        asked: The quality that was asked for, apart from `given`.

    Raises:
        OptionsError: A quality was asked for as well, and the encoder would pass over one of them.
    """
    rivals = [*_aims(codec, given)[:1], *(f"qp={given['qp']}" for _ in [0] if "qp" in given)]
    own = [f"{quality}={given[quality]}"] if quality in given else []
    own = own or ([] if asked is None else [f"{quality}={asked:g}"])
    if codec not in _BOTH and len([*own, *rivals]) > 1:
        raise OptionsError(
            f"{codec} cannot follow {' and '.join([*own, *rivals])} at once",
            hint="give one of them; maxrate and bufsize limit the bit rate of a quality",
        )
    return rivals[0] if rivals and not own and default is not None else ""


def rate_warning(codec: str, options: Mapping[str, str], segment_frames: int) -> str:
    """Return what rate control means for a result of several segments; "" where it means nothing."""
    coder = av.codec.Codec(codec, "w")
    if not coder.lossy or (coder.intra_only and codec != "mjpeg"):
        return ""  # each frame for itself, whatever its bits
    found = [*_aims(codec, options), *_limits(options)]
    if not found and not _constant(codec, options):
        found = ["by its own default: no quality is given"]
    if not found:
        return ""
    return (
        f"{codec}'s rate control ({', '.join(found)}) starts anew at each segment of {segment_frames} frames"
        " or more, so size and quality vary there: a larger --segment-frames makes it rarer, and a constant"
        " quality (--crf alone, where the encoder has it) avoids it"
    )


def _aims(codec: str, options: Mapping[str, str]) -> list[str]:
    found = [f"{name}={options[name]}" for name in _AIMS if _counts(options.get(name))]
    if codec.endswith("_nvenc") and options.get("rc", "").startswith("cbr"):
        found.append(f"rc={options['rc']}")
    return found + _in_params(options, 0)


def _limits(options: Mapping[str, str]) -> list[str]:
    found = [f"{name}={options[name]}" for name in _LIMITS if _counts(options.get(name))]
    if re.search(r"(?<!-)pass[12]", options.get("flags", "")):
        found.append(f"flags={options['flags']}")
    return found + _in_params(options, 1)


def _in_params(options: Mapping[str, str], which: int) -> list[str]:
    found = []
    for option, names in _PARAMS.items():
        for pair in options.get(option, "").split(":"):
            name, _, value = pair.partition("=")
            if name.strip().replace("_", "-") in names[which] and _counts(value or "1"):
                found.append(f"{option} {pair.strip()}")
    return found


def _constant(codec: str, options: Mapping[str, str]) -> bool:
    """Tell whether an encoder that is given no bit rate works at a constant quality."""
    if codec in ("libx264", "libx264rgb", "libx265", "libsvtav1", "libvpx-vp9"):
        return True  # a crf of their own, where none is given
    if codec in ("libvpx", "mjpeg", "mpeg4", "mpeg2video", "mpeg1video"):
        one = "qmin" in options and options["qmin"] == options.get("qmax")
        return codec != "libvpx" and (one or "qscale" in options.get("flags", ""))
    return any(name in options for name in _QUALITIES) or options.get("tune") == "lossless"


def _counts(value: str | None) -> bool:
    """Tell whether an option's value is there and not zero, whatever its unit."""
    return value is not None and re.sub(r"[kKMGiB]+$", "", value.strip()).strip("0.+-") != ""
