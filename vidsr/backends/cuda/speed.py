"""How many frames at once a GPU is fastest with: measured with whole frames, copies included."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from vidsr.backends.cuda.runner import choose_in_flight
from vidsr.errors import DeviceMemoryError

if TYPE_CHECKING:
    from vidsr.backends.cuda.runner import GpuSession
    from vidsr.models.deploy import Deployed

__all__ = ["fastest_in_flight"]

_FRAMES = 24  # of one measurement


def fastest_in_flight(opened: Callable[[int], GpuSession], deployed: Deployed) -> int:
    """Return how many frames at once a GPU is fastest with; 1 where its memory does not suffice for two.

    Args:
        opened: Opens a session with so many frames in flight; called several times for each number.
        deployed: What the sessions run.

    Raises:
        BackendError: A session cannot be opened for another reason.
    """
    pixels, random = deployed.format.pixel_format, np.random.default_rng(1)
    frame = tuple(
        random.integers(0, pixels.peak + 1, shape).astype(pixels.dtype) for shape in deployed.input_shapes
    )
    size = (deployed.out_width, deployed.out_height)

    def measure(in_flight: int) -> float:
        with closing(opened(in_flight)) as session:
            if session.in_flight < in_flight:
                raise DeviceMemoryError(session.notes[0])
            results = [pixels.allocate(*size) for _ in range(in_flight)]
            waiting = deque(session.submit(frame, dst) for dst in results)
            began = perf_counter()
            for number in range(_FRAMES):
                waiting.popleft().result()
                waiting.append(session.submit(frame, results[number % in_flight]))
            seconds = perf_counter() - began
            for ticket in waiting:
                ticket.result()
        return _FRAMES / seconds

    try:
        return choose_in_flight(measure)
    except DeviceMemoryError:
        return 1
