"""How fast a job is with some numbers of threads: a moment of it, with the encoder's queues full."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter

import numpy as np

from vidsr.frame import Planes
from vidsr.job import Job
from vidsr.planning import Plan
from vidsr.rehearsal import open_upscaler, trial_place, trial_reader
from vidsr.stages import flow
from vidsr.video.reader import Span
from vidsr.video.trial_sink import TrialSink
from vidsr.video.writer import OutputFrame

__all__ = ["rate_together"]

_SECONDS = 0.4  # that frames flow and count
_MOST_SECONDS = 1.0  # the same, where frames are few
_LEAST_FRAMES = 6
_SLOW_SECONDS = 0.1  # a frame without the encoder; then the network decides the speed, and it gets all cores
_FILLING_SECONDS = 1.0
_FILLING_FRAMES = 160  # more than any encoder's lookahead
_HELD = 4
_DEPTH = 1  # of the queues: what waits in them was made by cores that the encoder did not have


class _FilledSink(TrialSink):
    """Frames are given times one after another, those that fill the encoder included."""

    def __init__(self, plan: Plan) -> None:
        if plan.output is None or plan.settings is None:
            raise ValueError("this plan encodes nothing")
        super().__init__(
            plan.info, plan.output, settings=plan.settings, size=plan.target.size, pictures=False
        )
        self._step = max(1, round(1 / (float(plan.info.frame_rate or 25) * float(plan.info.time_base))))
        self._next = 0
        self._held: list[Planes] = []

    def write(self, out: OutputFrame) -> None:
        if len(self._held) < _HELD:
            self._held.append(tuple(plane.copy() for plane in out.planes))
        out.pts, out.duration = self._next, self._step
        out.shift, out.key = 0, False
        self._next += self._step
        super().write(out)

    def fill(self) -> None:
        """Encode what came so far, forth and back, until the encoder gives something."""
        order = [*self._held, *self._held[-2:0:-1]]
        began = perf_counter()
        for number in range(_FILLING_FRAMES):
            if self.coded or perf_counter() - began > _FILLING_SECONDS:
                return
            out = self.allocate()
            for plane, held in zip(out.planes, order[number % len(order)], strict=True):
                np.copyto(plane, held)
            self.write(out)


class _Clock:
    """Says when there is enough, and what it came to."""

    def __init__(self, sink: _FilledSink, in_flight: int) -> None:
        self._sink = sink
        self._begin = _HELD + in_flight + 2 * _DEPTH + 2  # what was made while the encoder was filled is gone
        self._began = perf_counter()
        self._made = 0
        self._seconds = 0.0
        self.slow = False

    def done(self, made: int) -> None:
        """Note that so many frames have come."""
        if made == 1:
            self._began = perf_counter()  # what is made at a first frame does not count
        if made <= _HELD:
            self.slow = perf_counter() - self._began > _SLOW_SECONDS * (_HELD - 1)
        if made == _HELD and not self.slow:
            self._sink.fill()
        if made == self._begin:
            self._began = perf_counter()
        self._made = made - self._begin
        self._seconds = perf_counter() - self._began

    def enough(self) -> bool:
        """Tell whether no more frames are needed."""
        if self._made <= 0:
            return self.slow
        least = _SECONDS if self._made >= _LEAST_FRAMES else _MOST_SECONDS
        return self._seconds >= least

    @property
    def rate(self) -> float | None:
        """Frames a second; None: too few came."""
        return self._made / self._seconds if self.enough() and self._made >= _LEAST_FRAMES else None


def rate_together(job: Job, plan: Plan) -> float | None:
    """Return how many frames a second a plan makes, encoder included, into nothing.

    None: so few that they cannot be compared in a moment, or the source ends before.

    Raises:
        VidsrError: What would stop the job too.
    """
    place = trial_place(job, plan)
    begins = place > (job.start or 0.0)
    span = Span(start=place or None, end=job.end, frames=None if begins else job.frames)
    with ExitStack() as stack:
        upscaler = stack.enter_context(open_upscaler(replace(job, reuse="off"), plan))
        sink = stack.enter_context(_FilledSink(plan))
        reader = trial_reader(job, plan, upscaler, span)
        clock = _Clock(sink, upscaler.in_flight)
        flow(reader, upscaler, sink, clock.done, enough=clock.enough, watch=plan.watch, depth=_DEPTH)
    return clock.rate
