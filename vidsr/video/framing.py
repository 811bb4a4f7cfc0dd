"""From a decoder's picture to a `Frame`: what every one of a source must be, and what of one is unusual."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av

from vidsr.frame import Frame, VideoInfo
from vidsr.resident import ResidentFrame
from vidsr.video.convert import color_change, to_planar
from vidsr.video.deinterlace import Decoded
from vidsr.video.formats import planes_of
from vidsr.video.sidedata import losses, side_data
from vidsr.video.surface import Surface, in_memory, is_surface

__all__ = ["changes", "made_frame"]


def changes(frame: av.VideoFrame, info: VideoInfo) -> Iterator[str]:
    """Say how a frame is not as its source's first one, and what it carries that a result cannot."""
    if (frame.width, frame.height) != (info.width, info.height):
        yield (
            f"the picture changes its size to {frame.width}x{frame.height} on the way:"
            f" scaled back to {info.width}x{info.height}"
        )
    name, first = (n.replace("yuvj", "yuv") for n in (frame.format.name, info.source_format))
    if name != first and not is_surface(frame):
        yield f"the pixel format changes to {name} on the way: made {info.pixel_format.name}"
    if change := color_change(frame, info.color):
        yield f"the colour changes its {change} on the way: converted to that of the first frame"
    yield from losses(side_data(frame))


def made_frame(decoded: Decoded, info: VideoInfo, warn: Callable[[str], None]) -> Frame:
    """Return a picture as a frame of its source: in the layout, size and colour of the first.

    Args:
        decoded: The picture, in memory or on a GPU; there it stays, where nothing is to be done to it.
        info: The source.
        warn: Takes sentences for the user; may get one more than once.
    """
    frame = decoded.frame
    if is_surface(frame) and (surface := _staying(frame, info, warn)):
        return ResidentFrame(
            surface,
            info.color,
            pts=decoded.pts,
            duration=decoded.duration,
            time_base=info.time_base,
            shift=decoded.shift,
            key=decoded.key,
        )
    frame = in_memory(frame, info.pixel_format)
    planar = to_planar(frame, info.pixel_format, info.width, info.height, info.color)
    return Frame(
        planes=planes_of(planar),
        pixel_format=info.pixel_format,
        color=info.color,
        pts=decoded.pts,
        duration=decoded.duration,
        time_base=info.time_base,
        shift=decoded.shift,
        key=decoded.key,
        origin=planar,
    )


def _staying(frame: av.VideoFrame, info: VideoInfo, warn: Callable[[str], None]) -> Surface | None:
    """Return a frame as it is on the GPU; None: it has to come down, to become what the others are."""
    if (frame.width, frame.height) != (info.width, info.height) or color_change(frame, info.color):
        return None
    try:
        return Surface(frame, info.pixel_format)
    except ValueError as error:
        warn(f"frames come down from the GPU: {error}")
        return None
