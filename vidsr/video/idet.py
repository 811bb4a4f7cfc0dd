"""What becomes of interlaced frames, decided before the first: as asked, or by what FFmpeg's idet sees."""

from __future__ import annotations

from itertools import chain
from typing import Any

import av
import av.filter

from vidsr.errors import OptionsError
from vidsr.frame import VideoInfo
from vidsr.job import Deinterlace
from vidsr.video.deinterlace import Deinterlacing, filter_problem
from vidsr.video.reader import Reader, Span

__all__ = ["plan_deinterlacing"]

_LOOK_FRAMES = 300


def plan_deinterlacing(wanted: Deinterlace, info: VideoInfo) -> Deinterlacing:
    """Decide what becomes of interlaced frames.

    Args:
        wanted: See `Job.deinterlace`.
        info: What `probe` said of the source.

    Raises:
        OptionsError: bwdif does not take the pixel format, or the picture is too small.
        DecodeError: idet was asked for, and the source cannot be decoded.
    """
    found = _looked_at(info) if wanted == "idet" else Deinterlacing(wanted)
    if found.mode in ("frame", "field"):
        problem = filter_problem(info.width, info.height, info.pixel_format.name)
        if problem:
            raise OptionsError(
                f"cannot deinterlace: {problem}", path=info.path, hint="give --deinterlace off"
            )
    return found


def _looked_at(info: VideoInfo) -> Deinterlacing:
    """Let idet vote on the first frames; where it cannot tell, their flags decide."""
    votes = _votes(info)
    seen = "idet saw " + ", ".join(f"{count} {name}" for name, count in votes.items())
    top, bottom = votes["top field first"], votes["bottom field first"]
    if top + bottom > votes["progressive"]:
        return Deinterlacing("frame", "tff" if top >= bottom else "bff", seen)
    return Deinterlacing("off" if votes["progressive"] else "auto", seen=seen)


def _votes(info: VideoInfo) -> dict[str, int]:
    """Return how many of the first frames idet takes for what; it compares several at a time."""
    graph = av.filter.Graph()
    source: Any = graph.add(
        "buffer",
        video_size=f"{info.width}x{info.height}",
        pix_fmt=info.pixel_format.name,
        time_base=str(info.time_base),
    )
    idet, sink = graph.add("idet"), graph.add("buffersink")
    source.link_to(idet)
    idet.link_to(sink)
    graph.configure()
    told: dict[str, str] = {}
    with Reader(info, Span(frames=_LOOK_FRAMES), on_error="conceal") as reader:
        for frame in chain((frame.origin for frame in reader), [None]):
            source.push(frame)
            while True:
                try:
                    told = sink.pull().metadata
                except (BlockingIOError, EOFError):
                    break
    kinds = {"tff": "top field first", "bff": "bottom field first", "progressive": "progressive"}
    kinds["undetermined"] = "undetermined"
    return {name: round(float(told.get(f"lavfi.idet.multiple.{k}", 0))) for k, name in kinds.items()}
