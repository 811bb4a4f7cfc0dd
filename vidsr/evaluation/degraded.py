"""A clip made small and compressed, frame by frame."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidsr.errors import EncodeError, SourceError
from vidsr.evaluation.bicubic import downscale
from vidsr.frame import PixelFormat, Planes, VideoInfo
from vidsr.video.compression import Compression, measure_compression
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span
from vidsr.video.recode import write_coded

__all__ = ["Degraded", "Small", "coded", "read_frames"]

_KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Degraded:
    """Small frames, as they come out of a coder."""

    frames: Generator[Planes, None, None]
    """To be read once and closed."""
    bytes: int
    """Of the coded stream; 0 where there is none."""
    compression: Compression | None
    """What can be told from the file; None: it was not compressed."""


class Small:
    """The frames of a clip, shrunk; can be iterated over several times.

    They are kept in memory as far as they fit into 256 MiB; those of longer clips are made anew each time.

    Attributes:
        size: Width and height of the small frames.
        pixel_format: Of the frames.
        count: How many there are; 0 until they have been iterated over.
    """

    def __init__(self, info: VideoInfo, frames: int | None, size: tuple[int, int], scale: int) -> None:
        """Prepare; nothing is read yet.

        Args:
            info: What `probe` said of the clip.
            frames: How many are wanted at most; None: all.
            size: What the frames are cropped to before; whole chroma samples when divided by `scale`.
            scale: How many times smaller.
        """
        self.size = (size[0] // scale, size[1] // scale)
        self.pixel_format: PixelFormat = info.pixel_format
        self.count = 0
        self._info, self._frames, self._cropped, self._scale = info, frames, size, scale
        self._kept: list[Planes] | None = None

    def __iter__(self) -> Generator[Planes, None, None]:
        """Yield the frames.

        Raises:
            SourceError: The clip cannot be read, or has no frame.
        """
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Planes] = []
        count, room = 0, _KEPT_BYTES
        with closing(read_frames(self._info, self._frames, self._cropped)) as originals:
            for planes in originals:
                made = tuple(_shrunk(plane, self._scale, self.pixel_format.peak) for plane in planes)
                count += 1
                room -= sum(plane.nbytes for plane in made)
                if room >= 0:
                    kept.append(made)
                yield made
        if not count:
            raise SourceError("no frame can be decoded from it", path=self._info.path)
        self.count = count
        if room >= 0:
            self._kept = kept


def read_frames(info: VideoInfo, frames: int | None, size: tuple[int, int]) -> Generator[Planes, None, None]:
    """Yield a clip's frames, `frames` at most, cropped to `size` at the right and at the bottom."""
    shapes = info.pixel_format.plane_shapes(*size)
    with Reader(info, Span(frames=frames)) as reader:
        for frame in reader:
            yield tuple(p[:rows, :columns] for p, (rows, columns) in zip(frame.planes, shapes, strict=True))


def _shrunk(plane: NDArray[Any], scale: int, peak: int) -> NDArray[Any]:
    return np.ascontiguousarray(downscale(plane, scale, peak=peak))


@contextmanager
def coded(
    small: Small, crf: float | None, frame_rate: Fraction, *, codec: str, preset: str | None
) -> Iterator[Degraded]:
    """Compress frames into a temporary file, which is there for as long as the context.

    Args:
        small: The frames.
        crf: The encoder's constant-quality value; None: they come as they are.
        frame_rate: Frames a second.
        codec: FFmpeg's name of an encoder.
        preset: The encoder's preset; None: its own default.

    Raises:
        SourceError: The clip cannot be read, or has no frame.
        OptionsError: The encoder is unknown, or does not take an option, the pixel format or the size.
        EncodeError: The encoder failed, or the decoder gives another pixel format.
    """
    if crf is None:
        yield Degraded(iter(small), 0, None)
        return
    with tempfile.TemporaryDirectory(prefix="vidsr-evaluate-") as folder:
        path = Path(folder) / "coded.mkv"
        with closing(iter(small)) as frames:
            size = write_coded(
                path,
                frames,
                small.pixel_format,
                codec=codec,
                crf=crf,
                preset=preset,
                frame_rate=frame_rate,
            )
        info = probe(path)
        if info.pixel_format.name != small.pixel_format.name:
            told = f"{small.pixel_format.name} and {info.pixel_format.name} was decoded"
            raise EncodeError(f"{codec} was given {told}")
        yield Degraded(read_frames(info, None, small.size), size, measure_compression(path))
