"""Crops for looking at: the spot where the models differ most, as each method shows it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.color import code_scale, rgb_to_ycc
from vidsr.evaluation.metrics import psnr
from vidsr.frame import ColorInfo, PixelFormat, Planes, VideoInfo

__all__ = ["ClipCrops", "Crop", "PictureCrops", "busiest", "png", "to_rgb"]

_SIZE = (96, 72)  # width and height in pixels; multiples of _CELL
_CELL = 8
_ENLARGED = 3

ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Crop:
    """One spot, as each method shows it."""

    where: str
    """Picture or frame, and place."""
    pictures: dict[str, NDArray[np.uint8]]
    """RGB [H, W, 3] by method, `ORIGINAL` first."""
    psnr_y: dict[str, float]
    """dB on the crop's luma, by method."""


class ClipCrops:
    """Watches a clip being measured and keeps, for each quality, the spot where models differ most."""

    def __init__(self, info: VideoInfo, models: Sequence[str]) -> None:
        """Prepare for the frames of `info` and these models; one alone is held against Lanczos."""
        self._layout, self._color = info.pixel_format, info.color
        self._rivals = [*models] if len(models) > 1 else [*models, "lanczos"]
        self._most: dict[float | None, float] = {}
        self.crops: dict[float | None, Crop] = {}
        """By crf."""

    def look(self, crf: float | None, index: int, original: Planes, made: Mapping[str, Planes]) -> None:
        """See a frame; see `clips.Watcher`."""
        score, x, y = busiest([made[name][0] for name in self._rivals], _SIZE)
        if score <= self._most.get(crf, -1.0):
            return
        self._most[crf] = score
        cut = {name: self._cut(planes, x, y) for name, planes in {ORIGINAL: original, **made}.items()}
        peak = float(self._layout.peak)
        self.crops[crf] = Crop(
            f"frame {index}, at {x}, {y}",
            {name: to_rgb(planes, self._layout, self._color) for name, planes in cut.items()},
            {name: psnr(cut[name][0], cut[ORIGINAL][0], peak=peak) for name in made},
        )

    def _cut(self, planes: Planes, x: int, y: int) -> Planes:
        layout = self._layout
        shifts = [(0, 0), *[(layout.chroma_shift_x, layout.chroma_shift_y)] * 2][: len(planes)]
        return tuple(
            plane[y >> sy : (y + _SIZE[1]) >> sy, x >> sx : (x + _SIZE[0]) >> sx]
            for plane, (sx, sy) in zip(planes, shifts, strict=False)
        )


class PictureCrops:
    """Watches the pictures of a folder and keeps those whose models differ most, in luma."""

    def __init__(self, models: Sequence[str], fallback: str, *, most: int = 4) -> None:
        """Prepare for these models; one alone is held against `fallback`. Keep `most` pictures."""
        self._rivals = [*models] if len(models) > 1 else [*models, fallback]
        self._most = most
        self._found: list[tuple[float, Crop]] = []

    @property
    def crops(self) -> list[Crop]:
        """The crops, the most telling first."""
        return [crop for _, crop in self._found]

    def look(self, name: str, original: NDArray[np.float64], made: Mapping[str, NDArray[np.float64]]) -> None:
        """See a picture; see `pictures.PictureWatcher`."""
        score, x, y = busiest([made[rival] for rival in self._rivals], _SIZE)
        part = (slice(y, y + _SIZE[1]), slice(x, x + _SIZE[0]))
        cut = {key: luma[part] for key, luma in {ORIGINAL: original, **made}.items()}
        # Studio range to what a screen shows.
        grays = {key: np.rint(np.clip((luma - 16) * (255 / 219), 0, 255)) for key, luma in cut.items()}
        pictures = {key: np.repeat(gray[..., None], 3, 2).astype(np.uint8) for key, gray in grays.items()}
        crop = Crop(f"{name}, at {x}, {y}", pictures, {key: psnr(cut[key], cut[ORIGINAL]) for key in made})
        self._found = sorted([*self._found, (score, crop)], key=lambda pair: -pair[0])[: self._most]


def busiest(planes: Sequence[NDArray[Any]], size: tuple[int, int]) -> tuple[float, int, int]:
    """Return where planes [H, W] differ most: (mean span of the samples, x, y) of a window (width, height).

    Windows lie on multiples of 8 pixels; where the planes are smaller than the window, it is all of them.
    """
    low, high = planes[0], planes[0]
    for plane in planes[1:]:
        low, high = np.minimum(low, plane), np.maximum(high, plane)
    span = (high - low).astype(np.float32)
    rows, columns = (max(1, side // _CELL) for side in span.shape)
    whole = span[: rows * _CELL, : columns * _CELL]
    cells = np.add.reduceat(np.add.reduceat(whole, range(0, len(whole), _CELL), 0), _edges(whole), 1)
    wide, tall = min(size[0] // _CELL, columns), min(size[1] // _CELL, rows)
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = cells.cumsum(0).cumsum(1)
    windows = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    y, x = np.unravel_index(int(windows.argmax()), windows.shape)
    return float(windows[y, x]) / (tall * wide * _CELL * _CELL), int(x) * _CELL, int(y) * _CELL


def _edges(plane: NDArray[Any]) -> range:
    return range(0, plane.shape[1], _CELL)


def to_rgb(planes: Planes, layout: PixelFormat, color: ColorInfo) -> NDArray[np.uint8]:
    """Return YUV or gray planes as RGB [H, W, 3] for a screen; chroma samples are repeated."""
    height, width = planes[0].shape
    span, zero = code_scale(layout.bit_depth, color.range, chroma=False)
    luma = (planes[0] - zero) / span
    ycc = np.zeros((height, width, 3))
    ycc[..., 0] = luma
    if layout.family == "gray":
        rgb = np.repeat(luma[..., None], 3, axis=2)
    else:
        span, zero = code_scale(layout.bit_depth, color.range, chroma=True)
        for channel, plane in enumerate(planes[1:3], 1):
            wide = plane.repeat(1 << layout.chroma_shift_y, 0).repeat(1 << layout.chroma_shift_x, 1)
            ycc[..., channel] = (wide[:height, :width] - zero) / span
        rgb = ycc @ np.linalg.inv(rgb_to_ycc(color.matrix)).T
    codes: NDArray[np.uint8] = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return codes


def png(picture: NDArray[np.uint8], enlarged: int = _ENLARGED) -> bytes:
    """Return RGB [H, W, 3] as a PNG file, every pixel repeated `enlarged` times (ISO/IEC 15948)."""
    large = picture.repeat(enlarged, 0).repeat(enlarged, 1)
    height, width, _ = large.shape
    # Filter 2 (up) on repeated rows leaves zeros.
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 0] = 2
    rows[:, 1:] = large.reshape(height, -1)
    rows[1:, 1:] -= large.reshape(height, -1)[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
