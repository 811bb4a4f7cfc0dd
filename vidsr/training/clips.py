"""The degradation "video": short moving crops, shrunk and put through real encoders, for a `PatchStore`.

A window glides over a picture; its frames are shrunk by MATLAB-style bicubic as planes of 4:2:0, coded by
x264 or x265 with random quality, preset and group of pictures, and decoded. Some of what comes back
is kept, beside what it should have become. Everything about clip i follows from the seed and i.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vidsr.color import rgb_to_ycc
from vidsr.errors import TrainingError
from vidsr.evaluation.bicubic import downscale, upscale
from vidsr.frame import Matrix, PixelFormat, Planes
from vidsr.training.pictures import LUMA_STEPS, high_pictures, softened, write_index
from vidsr.training.recipe import Recipe, Source, VideoOptions
from vidsr.video.recode import recode

__all__ = ["fill_with_clips"]

_YUV420 = PixelFormat.parse("yuv420p")
_TO_YCC = rgb_to_ycc(Matrix.BT601) * np.array([[219.0], [224.0], [224.0]]) / 255
_ZERO = np.array([16.0, 128.0, 128.0])

Bytes = NDArray[np.uint8]


def fill_with_clips(
    folder: Path, recipe: Recipe, files: list[tuple[Path, Source]], report: Callable[[str], None]
) -> None:
    """Write low.npy, high.npy and index.json of coded clips into `folder`.

    Raises:
        SourceError: A picture cannot be read.
        TrainingError: No picture is as large as a window.
        EncodeError: An encoder failed.
    """
    options, scale, channels = recipe.data.video, recipe.model.scale, recipe.model.channels
    side = options.side * scale
    report("reading pictures")
    pictures = [p for p in high_pictures(files) if min(p.shape[:2]) >= side]
    if not pictures:
        raise TrainingError(
            f"no training picture has {side} pixels on each side",
            hint="give larger pictures, or a smaller data.video.side",
        )
    kind, count = np.uint16 if channels == 1 else np.uint8, options.clips * options.kept
    stores = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.partial.npy", mode="w+", dtype=kind, shape=(count * channels * length**2,)
        )
        for name, length in (("low", options.side), ("high", side))
    }
    areas = np.array([p.shape[0] * p.shape[1] for p in pictures], dtype=np.float64)
    for clip in range(options.clips):
        random = np.random.default_rng((options.seed, clip))
        picture = pictures[random.choice(len(pictures), p=areas / areas.sum())]
        highs = _glide(picture, side, options, random)
        lows = _coded([_shrunk(high, scale) for high in highs], options, random)
        for place, i in enumerate(sorted(random.choice(options.frames, options.kept, replace=False))):
            slot = clip * options.kept + place
            for name, values in (
                ("low", _stored_planes(lows[i], channels)),
                ("high", _stored_ycc(highs[i], channels)),
            ):
                stores[name].reshape(count, channels, *values.shape[1:])[slot] = values
        if clip % 10 == 9 or clip + 1 == options.clips:
            report(f"coding clips: {clip + 1}/{options.clips}")
    for name, store in stores.items():
        store.flush()
        os.replace(folder / f"{name}.partial.npy", folder / f"{name}.npy")
    write_index(folder, channels, scale, [(options.side, options.side)] * count)


def _glide(picture: Bytes, side: int, options: VideoOptions, random: Generator) -> list[NDArray[np.float64]]:
    """Return the window's frames as Y, Cb, Cr code values [3, side, side], not rounded."""
    height, width = picture.shape[:2]
    motion = options.motion if random.random() < 0.75 else 0
    steps = options.frames - 1
    room = [min(motion, (length - side) // max(1, steps)) for length in (height, width)]
    speed = [int(random.integers(-r, r + 1)) for r in room]
    starts = [
        int(random.integers(max(0, -v * steps), length - side - max(0, v * steps) + 1))
        for v, length in zip(speed, (height, width), strict=True)
    ]
    soft = random.uniform(0.2, max(0.2, options.soften)) if random.random() < options.softened else 0.0
    # Only what the window will see is blurred and converted, once for all frames.
    tops = [[start + v * k for k in range(options.frames)] for start, v in zip(starts, speed, strict=True)]
    y0, x0 = min(tops[0]), min(tops[1])
    seen = picture[y0 : max(tops[0]) + side, x0 : max(tops[1]) + side]
    if soft:
        seen = softened(seen, soft)
    # In the store's unit, so that what is shrunk is what is aimed at, rounded once.
    ycc = np.rint(np.moveaxis(seen @ _TO_YCC.T + _ZERO, -1, 0) * LUMA_STEPS) / LUMA_STEPS
    return [
        ycc[:, y - y0 : y - y0 + side, x - x0 : x - x0 + side] for y, x in zip(tops[0], tops[1], strict=True)
    ]


def _shrunk(ycc: NDArray[np.float64], scale: int) -> tuple[Bytes, Bytes, Bytes]:
    """Return 4:2:0 planes of a frame [3, H, W] at 1/scale of its size, chroma centred."""
    y, cb, cr = np.rint(ycc).astype(np.uint8)
    return downscale(y, scale), downscale(cb, 2 * scale), downscale(cr, 2 * scale)


def _coded(
    frames: list[tuple[Bytes, Bytes, Bytes]], options: VideoOptions, random: Generator
) -> list[Planes]:
    """Return the frames as an encoder leaves them; a share of the clips as they were."""
    if random.random() < 1 / 6:
        noise = random.uniform(0, options.noise)
        frames = [
            (np.clip(np.rint(y + random.normal(0, noise, y.shape)), 0, 255).astype(np.uint8), cb, cr)
            for y, cb, cr in frames
        ]
    uncoded, by_x265 = random.random() < options.uncoded, random.random() < options.x265
    crf, preset, gop = (
        random.uniform(*options.crf),
        random.choice(options.presets),
        random.choice(options.gop),
    )
    if uncoded:
        return list(frames)
    # mbtree reads memory that it never set: without it equal seeds give equal pictures.
    further = {"g": str(gop)} if by_x265 else {"g": str(gop), "mbtree": "0"}
    codec = "libx265" if by_x265 else "libx264"
    return recode(frames, _YUV420, codec=codec, crf=round(crf, 1), preset=str(preset), options=further).frames


def _stored_planes(planes: Planes, channels: int) -> NDArray[np.generic]:
    """Return decoded 4:2:0 planes as a store keeps low-resolution pictures."""
    if channels == 1:
        return planes[0][None].astype(np.uint16) * LUMA_STEPS
    full = [planes[0].astype(np.float64), *(upscale(p.astype(np.float64), 2) for p in planes[1:])]
    return _rgb(np.stack(full))


def _stored_ycc(ycc: NDArray[np.float64], channels: int) -> NDArray[np.generic]:
    if channels == 1:
        return np.rint(ycc[:1] * LUMA_STEPS).astype(np.uint16)
    return _rgb(ycc)


def _rgb(ycc: NDArray[np.float64]) -> Bytes:
    rgb = np.linalg.inv(_TO_YCC) @ (ycc.reshape(3, -1) - _ZERO[:, None])
    codes: Bytes = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return codes.reshape(ycc.shape)
