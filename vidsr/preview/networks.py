"""Open networks, shared by all who watch: opening one takes longer than a seek may."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

from vidsr.errors import UnknownModelError, VidsrError
from vidsr.job import AUTO
from vidsr.models.cost import cost_of
from vidsr.models.lookup import Model, list_models
from vidsr.opening import Way, open_way
from vidsr.preview.clip import Clip
from vidsr.runtime import on_gpu
from vidsr.upscaler import Upscaler

__all__ = ["Networks", "Open", "kmac"]

_KEPT = 2  # open ones that nobody uses: what was seen last, and what it is compared with
_SCALES = (Fraction(3, 2), Fraction(2), Fraction(3), Fraction(4))


@dataclass(slots=True, eq=False)
class Open:
    """A network that is ready."""

    way: Way
    upscaler: Upscaler
    users: int = 0

    @property
    def name(self) -> str:
        """The model's id."""
        return self.way.choice.model.spec.id

    @property
    def backend(self) -> str:
        """What runs it."""
        runtime = self.way.runtime
        facts = [runtime.resolved.get(key, "") for key in ("device", "precision")]
        return " ".join([runtime.backend.name, *filter(None, facts)])


@dataclass(slots=True, eq=False)
class _Place:
    """Where one network is or will be; whoever comes first opens it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    opened: Open | None = None


class Networks:
    """Opens networks for a clip's frames, and keeps the last ones open. Thread-safe."""

    def __init__(self, clip: Clip) -> None:
        """Begin with none.

        Args:
            clip: Whose frames they take.
        """
        self._clip = clip
        self._lock = threading.Lock()
        self._places: dict[tuple[str, Fraction], _Place] = {}
        self._closed = False

    @contextmanager
    def borrowed(self, model: str, scale: Fraction) -> Iterator[Open]:
        """Lend a network, which stays open for so long.

        Args:
            model: "auto", an id that `offered` has, or what the command line named.
            scale: Times as large.

        Raises:
            VidsrError: There is no such model, or it cannot be opened.
        """
        if model not in (AUTO, self._clip.job.model, *(m.spec.id for m in self.offered())):
            # Never a path: what a browser says is not opened.
            raise UnknownModelError(f"there is no model '{model}' to choose")
        with self._lock:
            if self._closed:
                raise VidsrError("the preview is ending")
            key = (model, scale)
            place = self._places.pop(key, None) or _Place()
            self._places[key] = place  # the last used is the last
        with place.lock:
            if place.opened is None:
                place.opened = self._open(model, scale)
            opened = place.opened
            opened.users += 1
        try:
            yield opened
        finally:
            with place.lock:
                opened.users -= 1
            self._tidy(_KEPT)

    def rest(self) -> None:
        """Close all that nobody uses now."""
        self._tidy(0)

    def close(self) -> None:
        """Close all that nobody uses, now and later."""
        self._closed = True
        self._tidy(0)

    def offered(self) -> list[Model]:
        """Return the models to choose from: those that enlarge."""
        return [m for m in list_models() if m.spec.scale > 1]

    def scales(self) -> list[Fraction]:
        """Return the scales to choose from."""
        return sorted({*_SCALES, self._clip.scale})

    def smaller(self, opened: Open, share: float) -> str | None:
        """Return a model of the same scale that takes less time; None: there is none.

        Args:
            opened: What takes too long.
            share: Of its time that there is; of the models that should fit the largest is taken.
        """
        now = opened.way.choice.model
        limit = kmac(now)
        fitting = [
            (kmac(m), m.spec.kind == now.spec.kind, m.spec.id)
            for m in self.offered()
            if (m.spec.scale, m.spec.input) == (now.spec.scale, "low") and kmac(m) < limit
        ]
        if not fitting:
            return None
        within = [f for f in fitting if f[0] <= limit * share]
        # Of equals the one that was trained for the same kind of source.
        return max(within)[-1] if within else min(fitting)[-1]

    def _open(self, model: str, scale: Fraction) -> Open:
        way = self._clip.way(model, scale)
        # Two at once on a CPU would each take twice as long.
        upscaler = open_way(way, in_flight=2 if on_gpu(way.runtime.resolved) else 1)
        source, result = (
            upscaler.layout.allocate(*upscaler.size),
            upscaler.layout.allocate(*upscaler.size_out),
        )
        for plane in source:
            plane[:] = 0
        try:
            upscaler.submit(source, result).result()  # what is made at a first frame is made now
        except BaseException:
            upscaler.close()
            raise
        return Open(way, upscaler)

    def _tidy(self, most: int) -> None:
        """Close the longest unused until so many unused ones are left."""
        with self._lock:
            idle = [key for key, p in self._places.items() if p.opened is not None and p.opened.users == 0]
            for key in idle[: max(0, len(idle) - (0 if self._closed else most))]:
                place = self._places[key]
                # Whoever holds the lock is about to use it.
                if place.lock.acquire(blocking=False):
                    try:
                        if place.opened is not None and place.opened.users == 0:
                            place.opened.upscaler.close()
                            place.opened = None
                            del self._places[key]
                    finally:
                        place.lock.release()


def kmac(model: Model) -> float:
    """Return what a model computes a pixel; one that cannot be counted counts as the largest."""
    try:
        return cost_of(model).kmac
    except VidsrError:
        return float("inf")
