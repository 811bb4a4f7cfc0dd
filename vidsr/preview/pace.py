"""Deadlines: when a frame has to be ready, whether it can be, and when a smaller model is called for.

The clock is never waited for and never waits. A frame that cannot be made in time is not made at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from time import perf_counter

__all__ = ["Pace", "StepDown"]

SLACK_S = 0.05
"""By how much a frame may miss its time: browsers are given that much ahead."""
_MARGIN = 1.3  # frames begin so many times their usual time ahead
_RESERVE_S = 0.02
_WEIGHT = 0.15  # of the newest frame in the mean


class Pace:
    """The clock of one play, and what a frame costs.

    Attributes:
        cost: Seconds a frame takes from the network's beginning to its end, a running mean.
        dropped: Frames that were not made.
        made: Those that were.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        """Begin before the first frame.

        Args:
            clock: Seconds.
        """
        self._clock = clock
        self._zero: float | None = None
        self.cost = 0.0
        self.dropped = 0
        self.made = 0

    def begin(self) -> None:
        """Start the clock: the first frame is ready."""
        if self._zero is None:
            self._zero = self._clock()

    def due(self, time: Fraction) -> float:
        """Return in how many seconds what is shown at a time has to be ready; before `begin` at once."""
        return 0.0 if self._zero is None else self._zero + float(time) - self._clock()

    def early(self, time: Fraction) -> float:
        """Return how many seconds are left until a frame has to be begun."""
        return self.due(time) - self.cost * _MARGIN - _RESERVE_S

    def late(self, time: Fraction) -> bool:
        """Tell whether a frame that is begun now would miss its time."""
        return self._zero is not None and self.due(time) + SLACK_S < self.cost

    def took(self, seconds: float) -> None:
        """Note what a frame took."""
        self.cost = seconds if self.cost == 0 else self.cost + _WEIGHT * (seconds - self.cost)


class StepDown:
    """Decides when the model is too large, by how many of the last frames were dropped."""

    def __init__(self, *, seconds: float = 1.5, share: float = 0.2) -> None:
        """Begin with nothing seen.

        Args:
            seconds: Of frames that are looked at.
            share: Of them that may be dropped.
        """
        self._seconds, self._share = seconds, share
        self._seen: deque[tuple[float, bool]] = deque()

    def saw(self, time: Fraction, *, dropped: bool) -> bool:
        """Note a frame; tell whether it is time for a smaller model."""
        now = float(time)
        self._seen.append((now, dropped))
        while now - self._seen[0][0] > self._seconds:
            self._seen.popleft()
        whole = now - self._seen[0][0] >= self._seconds * 0.8
        count = sum(late for _, late in self._seen)
        return whole and count > self._share * len(self._seen)

    def forget(self) -> None:
        """Begin anew, with another model."""
        self._seen.clear()
