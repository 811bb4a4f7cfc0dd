"""One moment by several models, side by side in one picture, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import OptionsError
from vidsr.frame import Frame, Planes
from vidsr.opening import Way, open_way
from vidsr.preview import font
from vidsr.preview.clip import Clip
from vidsr.sources import named_after
from vidsr.target import scale_label
from vidsr.video.snapshot import SUFFIXES, as_shown, bicubic, write_rgb

__all__ = ["write_still"]

_Rgb = NDArray[np.uint8]
_ROW = 3  # pictures side by side
_GAP = 4
_MOST_SIDE = 16384
_MARGIN = 6


def write_still(
    clip: Clip, models: Sequence[str], at: float, output: Path | None, *, overwrite: bool = False
) -> Path:
    """Write the frame that is shown at a second, by bicubic and by each model; return the file.

    Args:
        clip: The source.
        models: As for ``--model``.
        at: Second, from the first frame on.
        output: The picture; None: beside the source, ``clip_12.5s.png``.
        overwrite: Whether to replace it.

    Raises:
        OptionsError: There is no frame then, the file is there, or its name is no picture's.
        VidsrError: A model cannot be opened.
        OutputError: The file cannot be written.
    """
    if output is None:
        source = named_after(clip.job.source)
        output = source.with_name(f"{source.stem}_{at:g}s.png".replace("%", "_"))
    if output.suffix.lower() not in SUFFIXES:
        raise OptionsError("-o must name a picture", path=output, hint=f"take {' or '.join(SUFFIXES)}")
    if output.exists() and not overwrite:
        raise OptionsError("this file is there already", path=output, hint="add -y to replace it")
    ways = [clip.way(name, clip.scale) for name in dict.fromkeys(models)]
    frame = next(clip.frames(at, count=1), None)
    if frame is None:
        raise OptionsError(f"no frame is shown at {at:g} s", hint=f"it lasts {clip.duration:.2f} s")
    label = scale_label(clip.scale)
    size = ways[0].target.size
    shown = [_labelled(clip, bicubic(frame.planes, frame.pixel_format, size), f"bicubic {label}")]
    shown += [_labelled(clip, _upscaled(way, frame), f"{way.choice.model.spec.id} {label}") for way in ways]
    write_rgb(output, _joined(shown))
    return output


def _upscaled(way: Way, frame: Frame) -> Planes:
    with open_way(way, in_flight=1) as upscaler:
        return upscaler.upscale(frame).planes


def _labelled(clip: Clip, planes: Planes, text: str) -> _Rgb:
    """Return a picture with its name in a strip above it."""
    info = clip.info
    rgb = as_shown(planes, info.pixel_format, info.color, info.sample_aspect_ratio, clip.turn)
    times = 2 if rgb.shape[1] >= 2 * font.WIDTH * len(text) + 4 * _MARGIN and rgb.shape[0] > 400 else 1
    letters = np.kron(font.written(text), np.ones((times, times), bool))
    strip = np.zeros((letters.shape[0] + _MARGIN, rgb.shape[1], 3), np.uint8)
    room = letters[:, : max(0, strip.shape[1] - _MARGIN)]
    strip[_MARGIN // 2 : _MARGIN // 2 + room.shape[0], _MARGIN : _MARGIN + room.shape[1]][room] = 255
    return np.concatenate([strip, rgb])


def _joined(pictures: Sequence[_Rgb]) -> _Rgb:
    """Return pictures of about one size in rows."""
    across = min(len(pictures), _ROW)
    high = max(p.shape[0] for p in pictures)
    wide = max(p.shape[1] for p in pictures)
    rows = ceil(len(pictures) / across)
    size: tuple[Any, ...] = (rows * (high + _GAP) - _GAP, across * (wide + _GAP) - _GAP, 3)
    if max(size) > _MOST_SIDE:
        raise OptionsError(
            f"the picture would be {size[1]}x{size[0]}", hint="name fewer models, or a smaller --scale"
        )
    whole = np.full(size, 40, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, across)
        y, x = row * (high + _GAP), column * (wide + _GAP)
        whole[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return whole
