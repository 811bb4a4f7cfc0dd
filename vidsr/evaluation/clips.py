"""Measuring models on compressed video, against what players do.

A clip's frames are shrunk, encoded at each quality, decoded, enlarged by every model and by swscale's
bicubic and Lanczos filters, and compared with the frames as they were. No border is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidsr.backends.base import Backend
from vidsr.errors import OptionsError, SourceError, UnsupportedFormatError
from vidsr.evaluation.bicubic import downscale
from vidsr.evaluation.metrics import SSIM_WINDOW, psnr, ssim
from vidsr.evaluation.through import Enlarger, opened
from vidsr.evaluation.vmaf import Vmaf
from vidsr.frame import Planes, VideoInfo
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.prefetch import Prefetch
from vidsr.upscaler import UpscalerOptions
from vidsr.video.enlarge import Filter, enlarge
from vidsr.video.reader import Reader, Span
from vidsr.video.recode import recode
from vidsr.video.xpsnr import Xpsnr

__all__ = ["FILTERS", "ClipScores", "Coding", "Figures", "Point", "Watcher", "evaluate_clip"]

FILTERS: tuple[Filter, ...] = ("bicubic", "lanczos")
"""What every model is compared with."""

_EQUAL_DB = 100.0
"""What a frame without any difference counts as, so that one black frame does not make a mean infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How clips are degraded and measured."""

    scale: int = 2
    crfs: tuple[float | None, ...] = (None, 18, 23, 28, 33)
    """Constant-quality values; None: shrunk, but not compressed."""
    codec: str = "libx264"
    preset: str | None = "medium"
    frames: int | None = None
    """Of each clip, from its beginning; None: all."""
    every: int = 4
    """SSIM and VMAF look at one frame of so many; PSNR and XPSNR at all."""
    vmaf: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("frames", "every"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise OptionsError(f"--{name} must be 1 or more, not {value}")


@dataclass(frozen=True, slots=True)
class Figures:
    """How near a method comes to the original, on luma."""

    psnr_y: float
    """dB; mean of the frames' figures, of which each is at most 100."""
    ssim_y: float
    """Mean of the frames' figures."""
    xpsnr_y: float
    """dB; of the mean root distance of the frames, as FFmpeg's filter makes it for a clip."""
    vmaf: float | None = None
    """0..100; mean of the frames' figures."""


@dataclass(frozen=True, slots=True)
class Point:
    """A clip at one quality."""

    crf: float | None
    """None: not compressed."""
    bits_per_pixel: float | None
    """Of the compressed small frames."""
    kilobits: float | None
    """A second, of the same."""
    figures: dict[str, Figures]
    """By method: `FILTERS`, then the models."""


@dataclass(frozen=True, slots=True)
class ClipScores:
    """A clip at all its qualities."""

    name: str
    """The file's name without its suffix, in lower case."""
    size: tuple[int, int]
    """Width and height that were compared; those of the small frames are `scale` times smaller."""
    frames: int
    frame_rate: float
    points: tuple[Point, ...]


class Watcher(Protocol):
    """Somebody who looks at the frames while they are measured, such as the report."""

    def look(self, crf: float | None, index: int, original: Planes, made: Mapping[str, Planes]) -> None:
        """See a frame, the original beside what each method made of it."""


def evaluate_clip(
    info: VideoInfo,
    models: Mapping[str, Model],
    backend: Backend,
    options: UpscalerOptions,
    coding: Coding,
    *,
    progress: Callable[[int], object] = lambda _: None,
    watcher: Watcher | None = None,
) -> ClipScores:
    """Return a clip's figures for each quality and method.

    Args:
        info: What `probe` said of the clip.
        models: By the name that they get in the figures; all of `coding.scale`.
        backend: What the models run on.
        options: How they run.
        coding: How the clip is degraded and what is measured.
        progress: Told the number of frames measured since the last call.
        watcher: Sees one frame of `coding.every`.

    Raises:
        SourceError: The clip cannot be read, or has no frame.
        OptionsError: It is too small, or the encoder does not take it or an option.
        BackendError: The backend cannot run a model.
    """
    width, height = _compared_size(info, coding.scale)
    layout, rate = info.pixel_format, _sane_rate(info)
    with closing(_read(info, coding, (width, height))) as originals:
        low = [_shrunk(planes, coding.scale, layout.peak) for planes in originals]
    if not low:
        raise SourceError("no frame can be decoded from it", path=info.path)
    color = info.color
    frame_format = FrameFormat(layout, color.matrix, color.range, color.chroma_location)
    small = (width // coding.scale, height // coding.scale)
    points = []
    with ExitStack() as stack:
        methods: dict[str, Enlarger] = {
            kind: partial(enlarge, pixel_format=layout, scale=coding.scale, method=kind) for kind in FILTERS
        }
        for name, model in models.items():
            methods[name] = stack.enter_context(opened(model, frame_format, *small, backend, options))
        for crf in coding.crfs:
            frames, size = low, 0
            if crf is not None:
                coded = recode(
                    low, layout, codec=coding.codec, crf=crf, preset=coding.preset, frame_rate=rate
                )
                frames, size = coded.frames, coded.bytes
            with (
                closing(_read(info, coding, (width, height))) as originals,
                Prefetch(_enlarged(originals, frames, methods), 1, name="enlarging") as pairs,
            ):
                look = None if watcher is None else partial(watcher.look, crf)
                figures = _measure(pairs, methods, info, (width, height), rate, coding, look, progress)
            pixels = len(low) * small[0] * small[1]
            bits = None if crf is None else 8 * size / pixels
            kilobits = None if crf is None else 8e-3 * size * float(rate) / len(low)
            points.append(Point(crf, bits, kilobits, figures))
    return ClipScores(Path(info.path).stem.lower(), (width, height), len(low), float(rate), tuple(points))


def _compared_size(info: VideoInfo, scale: int) -> tuple[int, int]:
    """Return the largest size whose small frames have whole chroma samples."""
    layout = info.pixel_format
    if layout.family == "gbr":
        raise UnsupportedFormatError("this clip is RGB: luma is what is compared", path=info.path)
    steps = scale << layout.chroma_shift_x, scale << layout.chroma_shift_y
    width, height = info.width // steps[0] * steps[0], info.height // steps[1] * steps[1]
    if min(width, height) < SSIM_WINDOW:
        raise OptionsError(
            f"{info.width}x{info.height} is too small: SSIM needs {SSIM_WINDOW} pixels on each side",
            path=info.path,
        )
    return width, height


def _read(info: VideoInfo, coding: Coding, size: tuple[int, int]) -> Generator[Planes, None, None]:
    """Yield the frames, cropped at the right and the bottom."""
    shapes = info.pixel_format.plane_shapes(*size)
    with Reader(info, Span(frames=coding.frames)) as reader:
        for frame in reader:
            yield tuple(p[:rows, :columns] for p, (rows, columns) in zip(frame.planes, shapes, strict=True))


def _shrunk(planes: Planes, scale: int, peak: int) -> Planes:
    return tuple(_shrunk_plane(plane, scale, peak) for plane in planes)


def _shrunk_plane(plane: NDArray[Any], scale: int, peak: int) -> NDArray[Any]:
    return np.ascontiguousarray(downscale(plane, scale, peak=peak))


def _enlarged(
    originals: Iterator[Planes], low: Sequence[Planes], methods: Mapping[str, Enlarger]
) -> Iterator[tuple[Planes, dict[str, Planes]]]:
    for original, small in zip(originals, low, strict=True):
        yield original, {name: method(small) for name, method in methods.items()}


def _measure(
    pairs: Iterator[tuple[Planes, dict[str, Planes]]],
    methods: Mapping[str, Enlarger],
    info: VideoInfo,
    size: tuple[int, int],
    rate: Fraction,
    coding: Coding,
    look: Callable[[int, Planes, dict[str, Planes]], None] | None,
    progress: Callable[[int], object],
) -> dict[str, Figures]:
    layout, peak = info.pixel_format, float(info.pixel_format.peak)
    psnrs: dict[str, list[float]] = {name: [] for name in methods}
    ssims: dict[str, list[float]] = {name: [] for name in methods}
    xpsnrs = {name: Xpsnr(layout, *size, rate) for name in methods}
    with ExitStack() as stack:
        vmafs = {name: stack.enter_context(Vmaf(layout, *size, rate)) for name in methods if coding.vmaf}
        for index, (original, made) in enumerate(pairs):
            wanted = original[0]
            chosen = index % coding.every == 0
            for name, planes in made.items():
                psnrs[name].append(min(_EQUAL_DB, psnr(planes[0], wanted, peak=peak)))
                xpsnrs[name].add(wanted, planes[0])
                if chosen:
                    ssims[name].append(ssim(planes[0], wanted, peak=peak))
                if name in vmafs:
                    vmafs[name].add(wanted, planes[0])
            if look is not None and chosen:
                look(index, original, made)
            progress(1)
        return {
            name: Figures(
                float(np.mean(psnrs[name])),
                float(np.mean(ssims[name])),
                min(_EQUAL_DB, xpsnrs[name].mean),
                vmafs[name].mean() if name in vmafs else None,
            )
            for name in methods
        }


def _sane_rate(info: VideoInfo) -> Fraction:
    rate = info.frame_rate
    return rate.limit_denominator(1001) if rate and Fraction(1) <= rate <= 1000 else Fraction(25)
