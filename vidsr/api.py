"""vidsr from Python: a whole file by `upscale`, frames by `Upscaler`.

report = vidsr.upscale("clip.mp4", "larger.mp4", scale=2)

with vidsr.Upscaler("ecbsr", 2) as upscaler:
larger = upscaler.upscale(array)                # uint8 [H, W] or [H, W, 3] -> [2H, 2W(, 3)]
for frame in upscaler.stream(container.decode(video=0)):
...
"""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Callable, Iterable
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from vidsr.backends import get_backend
from vidsr.backends.base import Precision, Ticket
from vidsr.choice import choose_model
from vidsr.errors import OptionsError, VidsrError
from vidsr.frame import ColorInfo
from vidsr.handed import Hands
from vidsr.job import AUTO, Job, parse_scale
from vidsr.models.deploy import FrameFormat
from vidsr.pipeline import Progress, run
from vidsr.report import JobReport
from vidsr.shelf import Shelf, Slot
from vidsr.streaming import Stream

__all__ = ["Scale", "Upscaler", "upscale"]

F = TypeVar("F")

Scale = int | float | Fraction | str
"""A magnification: 2, 1.5, Fraction(3, 2), "3/2"."""


def upscale(
    source: str | Path,
    output: str | Path | None = None,
    *,
    model: str = AUTO,
    scale: Scale | None = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> JobReport:
    """Upscale a whole file: what ``vidsr upscale`` does, with its defaults.

    Args:
        source: A video, a picture, a pattern such as ``shot_%04d.png``, or, with allow_network=True, an
            address.
        output: The result; None: beside the source, named after it and the scale. "null:": nowhere.
        model: "auto", a network, a model's id, or the path of an ONNX file.
        scale: How many times larger; None: 2, or by the option `size`.
        progress: Called in this thread at the start, after each frame and before joining.
        **options: Any other field of `vidsr.Job`, such as size="1920x1080", crf=16, overwrite=True.

    Returns:
        What was done: the result's path, frames, speed, decisions and warnings.

    Raises:
        OptionsError: An option that does not exist, or cannot be.
        VidsrError: What went wrong; the same call continues after the segments that are finished.
    """
    known = {field.name for field in fields(Job)} - {"source", "output", "model", "scale"}
    if unknown := sorted(options.keys() - known):
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]}?" if close else "the fields of vidsr.Job are the options"
        raise OptionsError(f"there is no option '{unknown[0]}'", hint=hint)
    job = Job(
        source=source,
        output=None if output is None else Path(output),
        model=model,
        scale=_scale(scale),
        **options,
    )
    return run(job) if progress is None else run(job, progress=progress)


class Upscaler:
    """Enlarges frames with one model. Thread-safe; use it in a ``with``.

    A frame is one of these, and the result is of the same kind:

    * uint8 or uint16 [H, W]: gray codes, full range. Another depth: pixel_format="gray10le".
    * uint8 or uint16 [H, W, 3]: packed RGB codes, full range. Another depth: pixel_format="gbrp10le".
    * a tuple or list of planes [H, W], uint8 for 8 bits and uint16 above, with the pixel_format that they
      are: Y, U, V of yuv420p, yuv422p10le, ...; G, B, R of gbrp, gbrp16le; alpha last, where there is any.
    * a `vidsr.Frame`, which knows its format and colour.
    * a PyAV ``VideoFrame`` in memory, of any pixel format without a palette: the result has its pixel format,
      pts, time base and colour.

    Format and size may change from frame to frame: the networks for the last few of them stay open. Frames
    have no influence on each other, so their order does not matter.
    """

    def __init__(
        self,
        model: str = AUTO,
        scale: Scale | None = None,
        *,
        size: str | None = None,
        backend: str = "auto",
        device: str = "auto",
        precision: Precision = "auto",
        fast: bool = False,
        tile: str | int = "auto",
        threads: int = 0,
        chroma: Literal["bicubic", "nearest"] = "bicubic",
        model_range: Literal[1, 255] | None = None,
        in_flight: int = 0,
        kept: int = 3,
    ) -> None:
        """Check what is asked for; networks are opened when frames need them.

        Args:
            model: "auto" (for clean frames), a network, a model's id, or the path of an ONNX file.
            scale: How many times larger; None: 2, or by `size`.
            size: Instead of a scale: "1920x1080", "1920x" or "x1080".
            backend: "auto", or one that ``vidsr doctor`` lists.
            device: The backend's device.
            precision: "auto", "f32", "bf16", "f16" or "int8".
            fast: Take int8 where model and backend have it.
            tile: "auto", or the side of a tile in source pixels; 0: whole frames.
            threads: CPU threads; 0: all cores.
            chroma: How the planes are enlarged that the network does not make.
            model_range: Of an ONNX file without a card: its value for white.
            in_flight: Frames at once; 0: the backend's choice.
            kept: How many networks stay open, one for each format and size of frame.

        Raises:
            OptionsError: Options that cannot be, or no backend of that name.
            UnknownModelError, ModelError: The model is unknown or wrong.
        """
        if kept < 1 or in_flight < 0:
            raise OptionsError(f"kept must be 1 or more and in_flight 0 or more, not {kept} and {in_flight}")
        job = Job(
            source=Path("-"),
            model=model,
            scale=_scale(scale),
            size=size,
            backend=backend,
            device=device,
            precision=precision,
            fast=fast,
            tile=str(tile),
            threads=threads,
            chroma=chroma,
            model_range=model_range,
        )
        if backend != "auto":
            get_backend(backend)
        choose_model(model, (64, 64), (128, 128), "2x", value_range=model_range)  # is there one of that name
        self._chroma = chroma
        self._hands = Hands()
        self._shelf = Shelf(job, kept, in_flight)
        self._streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, self._shelf.close)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End the streams, wait for the frames in progress, and free the networks; again: nothing."""
        for stream in list(self._streams):
            stream.close()
        self._finalizer()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided for the frames so far that a user should know of, a sentence each."""
        return tuple(self._shelf.notes)

    def upscale(self, frame: F, *, pixel_format: str | None = None, color: ColorInfo | None = None) -> F:
        """Return a frame, enlarged.

        Args:
            frame: See the class. It is not written to.
            pixel_format: What an array or planes are, by FFmpeg's name.
            color: Their matrix, range and siting; None: as players guess: BT.601 up to 576 rows and below
                1280 columns, BT.709 above; YUV of limited range, RGB and gray of full range; chroma left.

        Raises:
            OptionsError: Shapes, types or values are not those of a frame, or the Upscaler is closed.
            VidsrError: The network cannot be opened or has failed.
        """
        return self._begin(frame, pixel_format, color).land()

    def stream(
        self,
        frames: Iterable[F],
        *,
        pixel_format: str | None = None,
        color: ColorInfo | None = None,
        ahead: int = 4,
    ) -> Stream[F]:
        """Enlarge frames as they come: an iterator, in order, several frames at once.

        Args:
            frames: Iterated in a thread of the stream's, and closed with it, where there is a ``close``. What
                it yields must not be written to until its result is there.
            pixel_format: As for `upscale`, of all of them.
            color: As for `upscale`, of all of them.
            ahead: Frames that are read ahead, and results that are held ready, at most.

        Raises:
            OptionsError: The Upscaler is closed. The stream raises as `upscale`, and what `frames` raises.
        """
        if not self._finalizer.alive:
            raise OptionsError("this Upscaler is closed", hint="use it before its close()")
        stream = Stream(frames, lambda frame: self._begin(frame, pixel_format, color), ahead)
        self._streams.add(stream)
        return stream

    def _begin(self, frame: F, pixel_format: str | None, color: ColorInfo | None) -> _Flight[F]:
        handed = self._hands.take(frame, pixel_format, color)
        form = FrameFormat(
            handed.pixel_format,
            handed.color.matrix,
            handed.color.range,
            handed.color.chroma_location,
            self._chroma,
        )
        slot = self._shelf.take(form, handed.size)
        try:
            planes, result = handed.result(slot.upscaler.size_out)
            ticket = slot.upscaler.submit(handed.planes, planes)
        except BaseException:
            self._shelf.give(slot)
            raise
        return _Flight(self._shelf, slot, ticket, result)


class _Flight(Generic[F]):
    """A frame on its way."""

    def __init__(self, shelf: Shelf, slot: Slot, ticket: Ticket, result: Callable[[], F]) -> None:
        self.in_flight = slot.upscaler.in_flight
        self._shelf, self._slot, self._ticket, self._result = shelf, slot, ticket, result

    def land(self) -> F:
        self.drop()
        return self._result()

    def drop(self) -> None:
        try:
            self._ticket.result()
        except VidsrError as error:
            error.stage = error.stage or "inference"
            raise
        finally:
            self._shelf.give(self._slot)


def _scale(scale: Scale | None) -> Fraction | None:
    if scale is None or isinstance(scale, Fraction):
        return scale
    # By way of text, so that 1.1 is 11/10.
    return parse_scale(str(scale))
