"""What FFmpeg can do here."""

from __future__ import annotations

from collections.abc import Iterable

import av
import av.codec

from vidsr.errors import HardwareError
from vidsr.video.hardware import gpu_to_decode
from vidsr.video.nvenc import require_gpu

__all__ = ["describe_library"]


def describe_library(encoders: Iterable[str]) -> dict[str, str]:
    """Return FFmpeg's version, and for each encoder whether it can be opened or why not."""
    found = {"version": f"{av.ffmpeg_version_info}, through PyAV {av.__version__}"}
    for name in encoders:
        try:
            codec = av.codec.Codec(name, "w")
        except ValueError:
            found[name] = "absent: not in this FFmpeg"
            continue
        found[name] = "ready" if not name.endswith("_nvenc") else _opens(name)
        if found[name] == "ready":
            formats = [f.name for f in codec.video_formats or ()]
            found[name] += f"; {', '.join(formats[:6])}{', ...' if len(formats) > 6 else ''}"
    decoding = gpu_to_decode()
    found["nvdec"] = f"absent: {decoding.lacks}" if decoding.lacks else f"ready: {decoding}"
    return found


def _opens(name: str) -> str:
    """Try a hardware encoder: it is listed whether or not there is hardware."""
    try:
        require_gpu(name)
    except HardwareError as error:
        return f"absent: {error.message.partition(': ')[2]}"
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"  # type: ignore[attr-defined]
    try:
        context.open()
    except (av.FFmpegError, OSError) as error:
        return f"absent: it cannot be opened ({error.strerror})"
    return "ready"
