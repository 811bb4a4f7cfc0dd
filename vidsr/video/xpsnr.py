"""XPSNR by FFmpeg's filter: PSNR weighted by where and when an eye would notice."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np

from vidsr.frame import PixelFormat, Plane
from vidsr.video.formats import planes_of

__all__ = ["Xpsnr"]


class Xpsnr:
    """Compares the luma of two clips, frame by frame, in order.

    Helmrich et al., "XPSNR: a low-complexity extension of the perceptually weighted peak signal-to-noise
    ratio for high-resolution video quality assessment", ICASSP 2020. The weights come from the reference and
    the frames before, so every frame must be handed over.
    """

    def __init__(self, pixel_format: PixelFormat, width: int, height: int, frame_rate: Fraction) -> None:
        """Set the filter up for planes of width x height.

        Args:
            pixel_format: Of the frames whose luma is compared; its depth counts.
            width: Pixels.
            height: Pixels.
            frame_rate: Frames a second; above 32 the filter looks further back.
        """
        depth = pixel_format.bit_depth
        self._layout = PixelFormat.parse("gray" if depth == 8 else f"gray{depth}le")
        self._time_base = 1 / frame_rate
        self._graph = av.filter.Graph()
        sources = [
            self._graph.add(
                "buffer",
                video_size=f"{width}x{height}",
                pix_fmt=self._layout.name,
                time_base=str(self._time_base),
                frame_rate=str(frame_rate),
            )
            for _ in range(2)
        ]
        compare, self._sink = self._graph.add("xpsnr"), self._graph.add("buffersink")
        for place, source in enumerate(sources):
            source.link_to(compare, 0, place)
        compare.link_to(self._sink)
        self._graph.configure()
        self._sources: list[Any] = sources
        self._distances: list[float] = []

    def add(self, reference: Plane, other: Plane) -> float:
        """Return the figure of a pair of luma planes [H, W], in dB; infinite for equal ones."""
        for source, plane in zip(self._sources, (reference, other), strict=True):
            height, width = plane.shape
            frame = av.VideoFrame(width, height, self._layout.name)
            np.copyto(planes_of(frame)[0], plane)
            frame.pts, frame.time_base = len(self._distances), self._time_base
            source.push(frame)
        figure = float(self._sink.pull().metadata["lavfi.xpsnr.xpsnr.y"])
        self._distances.append(float(10 ** (-figure / 20)))
        return figure

    @property
    def mean(self) -> float:
        """The clip's figure in dB, as FFmpeg makes it: of the mean of the frames' root distances."""
        distance = float(np.mean(self._distances))
        return float("inf") if distance == 0 else -20 * float(np.log10(distance))
