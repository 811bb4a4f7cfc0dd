"""A model as a function from planes to planes, through the very graph that video goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from vidsr.backends.base import Backend
from vidsr.frame import Planes
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import Model
from vidsr.upscaler import Upscaler, UpscalerOptions

__all__ = ["Enlarger", "opened"]

Enlarger = Callable[[Planes], Planes]
"""From planes of one size to new, larger planes."""


@contextmanager
def opened(
    model: Model,
    frame_format: FrameFormat,
    width: int,
    height: int,
    scale: int,
    backend: Backend,
    options: UpscalerOptions,
) -> Iterator[Enlarger]:
    """Open `model` for frames of width x height; yield what enlarges them `scale` times.

    An int8 file runs in int8, whatever the options say for the others.

    Raises:
        ModelError: The model cannot be deployed for this format.
        BackendError: The backend cannot run it.
    """
    if model.precision == "int8":
        options = replace(options, session=replace(options.session, precision="int8"))
    elif options.session.precision == "auto" and model.spec.value_range == 255:
        # As in planning: the skip connection is inside such graphs, where bf16 costs whole code values.
        options = replace(options, session=replace(options.session, precision="f32"))
    target = (width * scale, height * scale)
    with Upscaler(model, frame_format, width, height, backend, options, target=target) as upscaler:

        def enlarge(planes: Planes) -> Planes:
            made = frame_format.pixel_format.allocate(*upscaler.size_out)
            upscaler.submit(planes, made).result()
            return made

        yield enlarge
