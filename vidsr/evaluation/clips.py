"""Measuring models on compressed video, against what players do.

A clip's frames are shrunk, encoded at each quality into a file, decoded, enlarged by every model and by
swscale's bicubic and Lanczos filters, and compared with the frames as they were. No border is cut off. Only
a few frames are held at a time, whatever the clip's length.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from vidsr.backends.base import Backend
from vidsr.errors import OptionsError, UnsupportedFormatError
from vidsr.evaluation.degraded import Small, coded, read_frames
from vidsr.evaluation.metrics import SSIM_WINDOW, psnr, ssim
from vidsr.evaluation.scores import FILTERS, ClipScores, Coding, Figures, Point
from vidsr.evaluation.through import Enlarger, opened
from vidsr.evaluation.vmaf import Vmaf
from vidsr.frame import Planes, VideoInfo
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.prefetch import Prefetch
from vidsr.upscaler import UpscalerOptions
from vidsr.video.enlarge import enlarge
from vidsr.video.xpsnr import Xpsnr

__all__ = ["Watcher", "compared_size", "evaluate_clip"]

_EQUAL_DB = 100.0
"""What a frame without any difference counts as, so that one black frame does not make a mean infinite."""


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
    size = compared_size(info, coding.scale)
    layout, color, rate = info.pixel_format, info.color, _sane_rate(info)
    small = Small(info, coding.frames, size, coding.scale)
    frame_format = FrameFormat(layout, color.matrix, color.range, color.chroma_location)
    points = []
    with ExitStack() as stack:
        methods: dict[str, Enlarger] = {
            kind: partial(enlarge, pixel_format=layout, scale=coding.scale, method=kind) for kind in FILTERS
        }
        for name, model in models.items():
            one = opened(model, frame_format, *small.size, coding.scale, backend, options)
            methods[name] = stack.enter_context(one)
        for crf in coding.crfs:
            with coded(small, crf, rate, codec=coding.codec, preset=coding.preset) as low:
                frames = _enlarged(read_frames(info, coding.frames, size), low.frames, methods)
                with Prefetch(frames, 1, name="enlarging") as pairs:
                    look = None if watcher is None else partial(watcher.look, crf)
                    figures = _measure(pairs, methods, info, size, rate, coding, look, progress)
            bits, kilobits = None, None
            if crf is not None:
                bits = 8 * low.bytes / (small.count * small.size[0] * small.size[1])
                kilobits = 8e-3 * low.bytes * float(rate) / small.count
            points.append(Point(crf, bits, kilobits, low.compression, figures))
    return ClipScores(Path(info.path).stem.lower(), size, small.count, float(rate), tuple(points))


def compared_size(info: VideoInfo, scale: int) -> tuple[int, int]:
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


def _enlarged(
    originals: Generator[Planes, None, None],
    low: Generator[Planes, None, None],
    methods: Mapping[str, Enlarger],
) -> Iterator[tuple[Planes, dict[str, Planes]]]:
    with closing(originals), closing(low):
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
