"""What FFmpeg can do here."""

from __future__ import annotations

from collections.abc import Iterable

import av
import av.codec

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
    return found


def _opens(name: str) -> str:
    """Try a hardware encoder: it is listed whether or not there is hardware."""
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"  # type: ignore[attr-defined]
    try:
        context.open()
    except (av.FFmpegError, OSError) as error:
        return f"absent: no device or driver ({error.strerror})"
    return "ready"
