"""The clip that is watched: looked at once, then read from any second on, as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from vidsr.errors import OptionsError
from vidsr.frame import Frame, VideoInfo
from vidsr.job import DEFAULT_SCALE, Job
from vidsr.opening import Way, decide
from vidsr.planning import frame_format
from vidsr.preview.stack import Stack
from vidsr.sources import is_sequence, named_after
from vidsr.video.compression import Compression, measure_compression
from vidsr.video.deinterlace import in_fields
from vidsr.video.hardware import plan_decoding
from vidsr.video.idet import plan_deinterlacing
from vidsr.video.probe import probe
from vidsr.video.reader import Reader, Span
from vidsr.video.sound import SoundReader, has_sound

__all__ = ["Clip", "described"]

_BACK_S = (1.5, 12.0, 1e9)  # how far before a moment the frame before it is looked for, in turn
_MOST_GAP_S = 10.0  # a frame is shown for no longer than this, whatever its times say
_HAIR_S = 0.0004  # what a time may be off by that has been to a browser and back
_UNIT = (1.0, 0.0, 0.0, 1.0)


class Clip:
    """A source and what was asked for.

    Attributes:
        job: What was asked for; its model and scale are where the page begins.
        info: What the source says of itself, `in_fields` where each field becomes a frame.
    """

    def __init__(self, job: Job) -> None:
        """Look at the source.

        Raises:
            SourceError: It cannot be used.
            OptionsError: The options contradict it.
        """
        if job.size is not None:
            raise OptionsError("the preview takes --scale", hint="leave --size out")
        self.job = job
        info = probe(job.source, index=job.video_stream, network=job.allow_network)
        self._decoding = plan_decoding(job, info)
        self._fields = plan_deinterlacing(job.deinterlace, info)
        self.info: VideoInfo = in_fields(info) if self._fields.mode == "field" else info
        self.form = frame_format(job, self.info)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.info.width, self.info.height

    @property
    def scale(self) -> Fraction:
        """The scale that was asked for."""
        return Fraction(self.job.scale or DEFAULT_SCALE)

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return named_after(self.job.source).name

    @property
    def sound(self) -> bool:
        """Whether there is any."""
        return has_sound(self.info) and not self.info.still

    @property
    def still(self) -> bool:
        """Whether it is a single picture."""
        return self.info.still and not is_sequence(self.job.source)

    @property
    def frame_seconds(self) -> Fraction:
        """How long a frame is shown, about."""
        rate = self.info.frame_rate
        return 1 / rate if rate else Fraction(1, 25)

    @property
    def duration(self) -> float:
        """Seconds."""
        info = self.info
        if self.still:
            return 0.0
        if info.duration is not None and not info.still:
            return info.duration
        return float((info.estimated_frames or 0) * self.frame_seconds)

    @property
    def turn(self) -> tuple[float, float, float, float]:
        """How a player turns the picture: a, b, c, d of x' = ax + cy, y' = bx + dy."""
        matrix = self.info.display_matrix
        if matrix is None:
            quarter = self.info.rotation // 90 % 4
            # Counter-clockwise, with y downwards.
            return (_UNIT, (0.0, -1.0, 1.0, 0.0), (-1.0, 0.0, 0.0, -1.0), (0.0, 1.0, -1.0, 0.0))[quarter]
        a, b, c, d = (matrix[k] / 65536 for k in (0, 1, 3, 4))
        return (a, b, c, d) if abs(a * d - b * c) > 1e-6 else _UNIT

    @cached_property
    def _compression(self) -> Compression:
        job = self.job
        return measure_compression(job.source, index=self.info.stream_index, network=job.allow_network)

    def way(self, model: str, scale: Fraction) -> Way:
        """Decide how its frames are enlarged; with "auto" by how it was compressed.

        Raises:
            VidsrError: As `vidsr.opening.decide`; or no browser would show the result.
        """
        named = self.job.model_range if self.job.model == model else None  # of a file, as it was named
        job = replace(self.job, model=model, scale=scale, model_range=named)
        way = decide(job, self.form, self.size, shown=self.info, look=lambda: self._compression)
        self.stack(way.target.size)  # refuses what is too large
        return way

    def stack(self, target: tuple[int, int]) -> Stack:
        """Return how pictures are stacked whose upscaled part has a size.

        Raises:
            OptionsError: No browser would show it.
        """
        return Stack(self.info.pixel_format, self.info.color, self.size, target)

    def frames(self, at: float, *, count: int | None = None, back: bool = False) -> Iterator[Frame]:
        """Yield the frames from a second on, which counts from the first frame.

        Args:
            at: The second.
            count: At most so many.
            back: Begin with the frame before that.
        """
        begin = self._before(at) if back else at
        with self._reader(Span(start=max(0.0, begin), frames=count)) as reader:
            yield from reader

    def seconds(self, frame: Frame) -> Fraction:
        """Return when a frame is shown, from the first frame on."""
        return (frame.pts - self.info.start_pts) * self.info.time_base

    def shown_for(self, frame: Frame, following: Frame | None) -> Fraction:
        """Return for how many seconds a frame is shown, at most some."""
        ticks = frame.duration if following is None else following.pts - frame.pts
        seconds = ticks * frame.time_base if ticks > 0 else self.frame_seconds
        return min(seconds, Fraction(_MOST_GAP_S))

    def sound_from(self, frame: Frame) -> SoundReader:
        """Return the sound that belongs to a frame and what follows it."""
        # `shift` is what the picture's clock was moved by where the file's jumps.
        return SoundReader(self.info, (frame.pts - frame.shift) * frame.time_base)

    def _before(self, at: float) -> float:
        """Return when the last frame before a moment is shown; the moment itself: there is none."""
        for seconds in _BACK_S:
            start = max(0.0, at - seconds)
            found = None
            if at <= _HAIR_S:
                break
            with self._reader(Span(start=start, end=at - _HAIR_S)) as reader:
                for frame in reader:
                    found = frame
            if found is not None:
                return float(self.seconds(found)) - _HAIR_S
            if start == 0:
                break
        return at

    def _reader(self, span: Span) -> Reader:
        return Reader(
            self.info,
            span,
            deinterlace=self._fields,
            on_error="conceal",  # a preview goes on
            decoding=self._decoding,
        )


def described(clip: Clip) -> dict[str, Any]:
    """Return what the page is told of a clip."""
    info = clip.info
    return {
        "name": clip.name,
        "size": list(clip.size),
        "duration": clip.duration,
        "rate": float(1 / clip.frame_seconds),
        "turn": list(clip.turn),
        "aspect": float(info.sample_aspect_ratio or 1),
        "sound": clip.sound,
        "still": clip.still,
        "format": f"{info.codec} {info.source_format}",
    }
