"""A network for frames that come from somewhere else than a job's reader: hosts, previews, Python's API.

What a job decides in `vidsr.planning` is decided here for frames alone: target, model, backend, precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from vidsr.choice import Choice, choose_model
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.quickest import quickest
from vidsr.runtime import Runtime, choose_runtime
from vidsr.target import Shown, Size, Target, resolve_target
from vidsr.upscaler import Upscaler, UpscalerOptions
from vidsr.video.compression import Compression

__all__ = ["Way", "decide", "open_way"]


@dataclass(frozen=True, slots=True)
class Way:
    """How frames of a format and size are enlarged."""

    form: FrameFormat
    size: tuple[int, int]
    """Width and height of the frames."""
    target: Target
    choice: Choice
    runtime: Runtime
    tile: str
    """As `Job.tile`."""


def decide(
    job: Job,
    form: FrameFormat,
    size: tuple[int, int],
    *,
    shown: Shown | None = None,
    look: Callable[[], Compression] | None = None,
) -> Way:
    """Decide how frames are enlarged.

    Args:
        job: What is wanted; its source and everything about files and encoders is not looked at.
        form: Of the frames.
        size: Their width and height.
        shown: The same with the pixels' shape and the player's turning; None: square, not turned.
        look: Tells how hard the frames were compressed, for the model "auto"; None: they count as clean.

    Raises:
        OptionsError: The target cannot be, or the options contradict each other.
        UnknownModelError, ModelError: The model is unknown or wrong.
        BackendUnavailableError: The backend, device or precision is not here.
    """
    pixels = form.pixel_format
    target = resolve_target(
        shown or Size(*size),
        job.scale,
        job.size,
        rounding=(1 << pixels.chroma_shift_x, 1 << pixels.chroma_shift_y),
    )
    choice = choose_model(job.model, size, target.size, target.label, value_range=job.model_range, look=look)
    runtime = choose_runtime(job, choice.model, form, size, target.size)
    runtime = quickest(job, runtime, form, size, target.size)
    return Way(form, size, target, replace(choice, model=runtime.model), runtime, job.tile)


def open_way(
    way: Way, *, in_flight: int = 0, told: Callable[[str, int, int], bool] | None = None
) -> Upscaler:
    """Open the network of a way. Thread-safe; frames may come in any order.

    Args:
        way: From `decide`.
        in_flight: Frames at once; 0: the backend's choice.
        told: See `vidsr.backends.base.SessionOptions.told`.

    Raises:
        BackendError: It cannot be opened.
    """
    session = replace(way.runtime.session, told=told, in_flight=in_flight)
    options = UpscalerOptions(session=session, tile=way.tile)
    runtime = way.runtime
    return Upscaler(runtime.model, way.form, *way.size, runtime.backend, options, target=way.target.size)
