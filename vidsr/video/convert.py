"""From one layout, size, matrix and range to another, by swscale; exact where nothing is to be computed."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from vidsr.frame import ColorInfo, ColorRange, Matrix, PixelFormat
from vidsr.video.formats import LAYOUTS, MATRICES, nearest_planar, new_frame, planar_name, planes_of
from vidsr.video.siting import sited

__all__ = ["color_change", "convert_frame", "to_planar"]

_CAREFUL = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def to_planar(
    frame: av.VideoFrame, wanted: PixelFormat, width: int, height: int, color: ColorInfo | None = None
) -> av.VideoFrame:
    """Return `frame` itself when it is what is wanted, otherwise converted by swscale.

    Args:
        frame: As it was decoded.
        wanted: The layout to return.
        width: Pixels.
        height: Pixels.
        color: What the frame's range and matrix become; None: they stay.
    """
    name = frame.format.name.replace("yuvj", "yuv")
    same = name == wanted.name and (frame.width, frame.height) == (width, height)
    if same and (color is None or not color_change(frame, color)):
        return frame
    matrix, full = _own_color(frame)
    if "yuvj" in frame.format.name and full is False:
        frame = _renamed(frame)  # swscale believes the name
    if color is not None:
        matrix = matrix if matrix is not None else color.matrix
        full = full if full is not None else color.range is ColorRange.FULL
    target, target_full = (matrix, full) if color is None else (color.matrix, color.range is ColorRange.FULL)
    return _rescaled(
        frame, width, height, wanted.name, (matrix or Matrix.RGB, target or Matrix.RGB), (full, target_full)
    )


def _rescaled(
    frame: av.VideoFrame,
    width: int,
    height: int,
    pixel_format: str,
    matrices: tuple[Matrix, Matrix],
    full: tuple[bool | None, bool | None],
) -> av.VideoFrame:
    """Return a frame in another size, layout, matrix and range (from, to), by swscale."""
    to_rgb = nearest_planar(pixel_format).family == "gbr"
    tags = frame.color_range, frame.colorspace
    same = full[0] == full[1], matrices[0] is matrices[1]
    if same[0] and bool(frame.format.is_rgb or frame.format.has_palette) == to_rgb:
        # No conversion. swscale takes gray for full range whatever it is told, so that both must be.
        full = (True, True)
    made = frame.reformat(
        width,
        height,
        pixel_format,
        src_colorspace=_swscale_matrix(*matrices),
        dst_colorspace=_swscale_matrix(*reversed(matrices)),
        src_color_range=2 if full[0] else 1,
        dst_color_range=2 if full[1] else 1,
        interpolation=_CAREFUL,
        # On several threads swscale 9.5 returns wrong samples of p010, p410 and y210, now and then.
        threads=1,
    )
    # It is tagged with what swscale was told.
    made.color_range = tags[0] if same[0] else 2 if full[1] else 1
    if same[1]:
        made.colorspace = tags[1]
    return made


def _renamed(frame: av.VideoFrame) -> av.VideoFrame:
    """Return a copy of a ``yuvj`` frame that is called ``yuv``."""
    layout = PixelFormat.parse(frame.format.name.replace("yuvj", "yuv"))
    made, planes = new_frame(layout, frame.width, frame.height)
    for plane, own in zip(planes, planes_of(frame), strict=True):
        np.copyto(plane, own)
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    return made


def color_change(frame: av.VideoFrame, color: ColorInfo) -> str:
    """Say how a frame's tags differ from a source's colour, as far as both are tagged."""
    matrix, full = _own_color(frame)
    found = []
    if full is not None and full != (color.range is ColorRange.FULL):
        found.append(f"range to {ColorRange.FULL if full else ColorRange.LIMITED}")
    if matrix is not None and Matrix.RGB not in (matrix, color.matrix) and matrix is not color.matrix:
        # What was never tagged was guessed, and a tag that comes late is no change.
        found += [] if "matrix" in color.guessed else [f"matrix to {matrix}"]
    return " and ".join(found)


def _own_color(frame: av.VideoFrame) -> tuple[Matrix | None, bool | None]:
    """Return a frame's matrix, and whether its range is full; None: not tagged."""
    # FFmpeg's H.264 decoder keeps the name yuvj after a stream has changed to limited range.
    full = {1: False, 2: True}.get(int(frame.color_range), True if "yuvj" in frame.format.name else None)
    return (Matrix.RGB if frame.format.is_rgb else MATRICES.get(int(frame.colorspace))), full


def convert_frame(
    frame: av.VideoFrame, source: ColorInfo, pixel_format: str, target: ColorInfo
) -> av.VideoFrame:
    """Return `frame` in another pixel format, converted by swscale with both sides' matrix, range and siting.

    Plain re-arrangement where the family stays; chroma is resampled where the subsampling changes.
    """
    own, wanted = nearest_planar(frame.format.name), nearest_planar(pixel_format)
    if frame.format.name == pixel_format and (own.family == "gbr" or source.range is target.range):
        return frame
    if own.family == "gray" and (wanted.family != "gray" or source.range is not target.range):
        # swscale takes all gray for full range, and changes its codes on the way to YUV.
        frame = _with_gray_chroma(frame, own, wanted)
        own = PixelFormat.parse(frame.format.name)
        if frame.format.name == pixel_format and source.range is target.range:
            return frame
    made = _sited_and_converted(frame, own, wanted, source, pixel_format, target)
    if own.alpha and wanted.alpha and pixel_format == wanted.name:
        # swscale shifts alpha, which leaves what is opaque a little less so, and rounds it with the rest.
        alpha = planes_of(frame)[-1].astype(np.uint32)
        planes_of(made)[-1][:] = (alpha * wanted.peak + own.peak // 2) // own.peak
    return made


def _with_gray_chroma(frame: av.VideoFrame, own: PixelFormat, wanted: PixelFormat) -> av.VideoFrame:
    """Return a gray frame as YUV of the same codes, subsampled as what it is to become."""
    layout = LAYOUTS[wanted.chroma_shifts if wanted.family == "yuv" else (0, 0)]
    colorful = PixelFormat.parse(planar_name("yuv", layout, own.bit_depth))
    made, planes = new_frame(colorful, frame.width, frame.height)
    np.copyto(planes[0], planes_of(frame)[0])
    for plane in planes[1:]:
        plane[:] = 1 << (own.bit_depth - 1)
    return made


def _sited_and_converted(
    frame: av.VideoFrame,
    own: PixelFormat,
    wanted: PixelFormat,
    source: ColorInfo,
    pixel_format: str,
    target: ColorInfo,
) -> av.VideoFrame:
    if own.subsampled and wanted.subsampled and source.chroma_location is not target.chroma_location:
        # swscale knows one place a call.
        between = PixelFormat.parse(planar_name("yuva" if own.alpha else "yuv", "444", own.bit_depth))
        frame = _converted(sited(frame, source.chroma_location), source, between.name, source)
    elif own.subsampled and own.chroma_shifts != wanted.chroma_shifts:
        return _converted(sited(frame, source.chroma_location), source, pixel_format, target)
    if wanted.subsampled:
        frame = sited(frame, target.chroma_location)
    return _converted(frame, source, pixel_format, target)


def _converted(
    frame: av.VideoFrame, source: ColorInfo, pixel_format: str, target: ColorInfo
) -> av.VideoFrame:
    full = (source.range is ColorRange.FULL, target.range is ColorRange.FULL)
    return _rescaled(frame, frame.width, frame.height, pixel_format, (source.matrix, target.matrix), full)


def _swscale_matrix(own: Matrix, other: Matrix) -> Colorspace:
    names = {
        Matrix.BT709: Colorspace.ITU709,
        Matrix.BT2020: Colorspace.BT2020,
        Matrix.FCC: Colorspace.FCC,
        Matrix.SMPTE240M: Colorspace.SMPTE240M,
        Matrix.BT601: Colorspace.ITU601,
    }
    # RGB has no matrix of its own: both sides get the other's, BT.709 where neither has one.
    return names.get(own) or names.get(other) or Colorspace.ITU709
