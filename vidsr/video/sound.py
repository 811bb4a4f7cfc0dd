"""Sound from any second of a source on: one unbroken stream of stereo samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import Any, Self

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from vidsr.errors import VidsrError
from vidsr.frame import VideoInfo
from vidsr.video.opening import open_info
from vidsr.video.probe import READ_TIMEOUT

__all__ = ["LAYOUT", "RATE", "SoundReader", "has_sound"]

RATE = 48000
LAYOUT = "stereo"
_SEEK_MARGIN_S = 0.5  # decoders of sound need some packets to settle
_TOLERATED = RATE // 100
"""Samples by which a time stamp may miss its place: containers round them to milliseconds."""
_TRIES = 50  # packets in a row that cannot be decoded


def has_sound(info: VideoInfo) -> bool:
    """Tell whether a source has sound that FFmpeg knows."""
    return any(s.kind == "audio" and s.codec != "none" for s in info.others)


class SoundReader:
    """Samples of the first sound that can be decoded; silence where there are none. Use it in a ``with``."""

    def __init__(self, info: VideoInfo, start: Fraction) -> None:
        """Prepare to read.

        Args:
            info: The source.
            start: Second of the source's clock at which the first sample is.
        """
        self._info, self._start = info, start
        self._blocks = self._read()
        self._rest: NDArray[np.float32] = np.zeros((2, 0), np.float32)
        self._next = 0
        """Place of the first sample that was not handed out."""

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the source."""
        self._blocks.close()  # type: ignore[attr-defined]

    def read(self, count: int) -> NDArray[np.float32]:
        """Return the next samples, [2, count]."""
        parts = [self._rest]
        have = self._rest.shape[1]
        while have < count:
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((2, count - have), np.float32)
            parts.append(block)
            have += block.shape[1]
        joined = np.concatenate(parts, axis=1)
        self._rest = joined[:, count:]
        return np.ascontiguousarray(joined[:, :count])

    def _read(self) -> Iterator[NDArray[np.float32]]:
        """Yield what follows without a gap from the first sample on."""
        place = 0
        with ExitStack() as stack:
            try:
                container = stack.enter_context(open_info(self._info, timeout=READ_TIMEOUT))
            except VidsrError:
                return  # the picture's reader says what is wrong
            for first, samples in self._samples(container):
                begin = first if abs(first - place) > _TOLERATED else place
                if begin > place:
                    # In pieces: a gap may be hours long.
                    for filled in range(place, begin, RATE):
                        yield np.zeros((2, min(RATE, begin - filled)), np.float32)
                    place = begin
                kept = samples[:, max(0, place - begin) :]
                if kept.shape[1]:
                    yield kept
                    place += kept.shape[1]

    def _samples(self, container: Any) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield blocks with the place of their first sample."""
        stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if stream is None:
            return
        if self._start - _SEEK_MARGIN_S > self._info.start_time:
            with suppress(av.FFmpegError, OSError):
                container.seek(int((self._start - Fraction(_SEEK_MARGIN_S)) * 1_000_000))
        resampler, shape = None, None
        for frame in _frames(container, stream):
            if frame.pts is None or frame.time_base is None:
                continue
            time = frame.pts * Fraction(frame.time_base)
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or now != shape:
                resampler, shape = av.AudioResampler("fltp", LAYOUT, RATE), now
                first = round((time - self._start) * RATE)
                place, expected = first, time
            if abs(time - expected) > Fraction(_TOLERATED, RATE):
                place += round((time - expected) * RATE)
                expected = time
            expected += Fraction(frame.samples, frame.sample_rate)
            frame.pts = None  # its own clock would be the resampler's
            for made in resampler.resample(frame):
                values = made.to_ndarray().astype(np.float32, copy=False)
                yield place, values
                place += values.shape[1]


def _frames(container: Any, stream: Any) -> Iterator[av.AudioFrame]:
    """Yield what can be decoded; what cannot is left out."""
    failed = 0
    packets = container.demux(stream)
    while failed < _TRIES:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            made = packet.decode()
        except (av.FFmpegError, OSError):
            failed += 1
            continue
        failed = 0
        yield from made
