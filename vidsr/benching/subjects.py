"""What is measured: a model on a backend in a precision, and frames with something in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidsr.backends import automatic_names, choose_backend, get_backend
from vidsr.backends.base import Backend, SessionOptions, Ticket
from vidsr.choice import automatic_model
from vidsr.errors import BackendError, ModelError, OptionsError, VidsrError
from vidsr.frame import Matrix, PixelFormat, Planes
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model, find_model, named_model
from vidsr.models.rows import row_work
from vidsr.upscaler import Upscaler, UpscalerOptions

__all__ = [
    "Frames",
    "Setting",
    "Subject",
    "find_subjects",
    "format_of",
    "known_backends",
    "make_frames",
    "settings_of",
    "through",
]

_MOST_SIDE = 16384


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and the words by which another process finds it too."""

    name: str
    scale: int
    model: Model

    @classmethod
    def find(cls, name: str, scale: int) -> Subject:
        """Return what a name means; a file's and an id's own scale counts.

        Raises:
            UnknownModelError: There is none.
            ModelError: The file or its card is missing or wrong.
        """
        return cls(name, scale, named_model(name) or find_model(name, scale))


def find_subjects(names: Sequence[str], scale: int) -> list[Subject]:
    """Return the models of these names, each once; without any, what ``--model auto`` takes.

    Raises:
        UnknownModelError: There is none of a name.
        ModelError: A file or its card is missing or wrong.
    """
    if not names:
        default = automatic_model("clean", scale)
        return [Subject(default.spec.id, scale, default)]
    found = [Subject.find(name, scale) for name in names]
    return list({str(one.model.path): one for one in found}.values())


def format_of(pixel_format: str, size: tuple[int, int]) -> FrameFormat:
    """Return the format of planes that FFmpeg calls `pixel_format`.

    Raises:
        OptionsError: It is none, or `size` is none of a picture.
    """
    if not all(1 <= side <= _MOST_SIDE for side in size):
        raise OptionsError(f"--size takes 1x1 to {_MOST_SIDE}x{_MOST_SIDE}, not {size[0]}x{size[1]}")
    try:
        pixels = PixelFormat.parse(pixel_format)
    except ValueError as error:
        raise OptionsError(f"--format: {error}", hint="write yuv420p, yuv420p10le, gbrp or gray") from error
    return FrameFormat(pixels, Matrix.RGB if pixels.family == "gbr" else Matrix.BT709)


@dataclass(frozen=True, slots=True)
class Setting:
    """A backend in a precision for a subject, ready to be opened; or why it cannot be."""

    subject: Subject
    backend: Backend | None
    name: str
    """Of the backend."""
    options: SessionOptions
    runtime: Mapping[str, str]
    refused: str | None = None

    @property
    def precision(self) -> str:
        """What it computes in; "-": none in particular."""
        asked = self.options.precision
        return self.runtime.get("precision", "-" if asked == "auto" else asked)

    @property
    def path(self) -> str | None:
        """Set of instructions or device, as the backend calls it."""
        return self.runtime.get("path") or self.runtime.get("device")

    def open(self, frame_format: FrameFormat, size: tuple[int, int]) -> Upscaler:
        """Open the backend for frames of a size.

        Raises:
            VidsrError: As `Upscaler`.
        """
        if self.backend is None:
            raise BackendError(self.refused or "there is no backend")
        options = UpscalerOptions(session=self.options)
        return Upscaler(self.subject.model, frame_format, *size, self.backend, options)


def settings_of(
    subject: Subject,
    backends: Sequence[str],
    precisions: Sequence[str],
    options: SessionOptions,
    frame_format: FrameFormat,
    size: tuple[int, int],
) -> Iterator[Setting]:
    """Yield each way to run a model, those that are refused among them.

    Args:
        subject: The model.
        backends: Their names; none: those of auto.
        precisions: What to compute in; none: all that a backend has.
        options: Device and threads.
        frame_format: Of the frames.
        size: Their width and height.

    Raises:
        OptionsError: There is no backend of a name.
    """
    for name in backends or automatic_names():
        try:
            model = subject.model
            target = (size[0] * model.spec.scale, size[1] * model.spec.scale)
            rows = row_work(model, frame_format, size, target)
            chosen, _ = choose_backend(name, rows, options)
        except (BackendError, ModelError) as error:
            yield Setting(subject, None, name, options, {}, error.message)
            continue
        own: Sequence[str] = ("auto",) if name == "auto" else chosen.availability().precisions
        for precision in precisions or own:
            asked: Any = precision
            wanted = SessionOptions(device=options.device, precision=asked, threads=options.threads)
            try:
                backend, _ = choose_backend(name, rows, wanted)
                yield Setting(subject, backend, backend.name, wanted, backend.resolve(wanted))
            except BackendError as error:
                yield Setting(subject, None, name, wanted, {}, error.message)


def known_backends(names: Sequence[str]) -> None:
    """Refuse names that are no backend's.

    Raises:
        OptionsError: There is none of a name.
    """
    for name in names:
        if name != "auto":
            get_backend(name)


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames to be upscaled, and places for results."""

    sources: tuple[Planes, ...]
    results: tuple[Planes, ...]


def make_frames(pixels: PixelFormat, size: tuple[int, int], out: tuple[int, int], places: int) -> Frames:
    """Return two frames with slopes, edges and noise, and places for results that have been written to.

    Some runtimes are faster on zeros, and memory that was never touched is not there yet.
    """
    random = np.random.default_rng(0)
    sources = tuple(_picture(pixels, size, random, 5 * shift) for shift in range(2))
    results = tuple(pixels.allocate(*out) for _ in range(places))
    for planes in results:
        for plane in planes:
            plane[:] = 0
    return Frames(sources, results)


def _picture(pixels: PixelFormat, size: tuple[int, int], random: np.random.Generator, shift: int) -> Planes:
    planes = []
    for rows, columns in pixels.plane_shapes(*size):
        y, x = np.ogrid[:rows, :columns]
        light = 0.5 + 0.2 * np.sin((x + shift) / 37.0) + 0.2 * np.cos((y - shift) / 23.0)
        light = light + 0.1 * ((x // 16 + y // 16) % 2) + random.normal(0.0, 0.02, (rows, columns))
        planes.append((light.clip(0.06, 0.92) * pixels.peak).astype(pixels.dtype))
    return tuple(planes)


def through(upscaler: Upscaler, frames: Frames, count: int) -> None:
    """Send `count` frames through, as many at once as the upscaler wants, and wait for all of them.

    Raises:
        InferenceError: The backend failed.
    """
    pending: deque[Ticket] = deque()
    depth = min(upscaler.in_flight, len(frames.results))
    try:
        for number in range(count):
            if len(pending) == depth:
                pending.popleft().result()
            source = frames.sources[number % len(frames.sources)]
            pending.append(upscaler.submit(source, frames.results[number % depth]))
        while pending:
            pending.popleft().result()
    finally:
        for ticket in pending:  # the session writes into the planes until then
            with suppress(VidsrError):
                ticket.result()
