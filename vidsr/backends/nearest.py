"""The backend `nearest`: repeats every sample, whatever the network. For tests and for measuring the rest.

No library, no choice: the exact result is known beforehand, so that pipelines can be checked to the
last sample. `auto` never takes it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vidsr.backends.base import Availability, SessionOptions, check_planes
from vidsr.errors import BackendUnavailableError, InferenceError

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed

__all__ = ["BACKEND", "NearestBackend"]


class _Done:
    """A ticket for work that was finished in `submit`."""

    def result(self) -> None:
        return None


class _NearestSession:
    """Works in the caller's thread; there is nothing to wait for."""

    in_flight = 1

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, src: Planes, dst: Planes) -> _Done:
        with self._lock:
            if self._closed:
                raise InferenceError("this session is closed", stage="inference")
            check_planes(self._deployed, src, dst)
            for one, other in zip(src, dst, strict=True):
                _repeat(one, other, self._deployed.scale)
        return _Done()

    def close(self) -> None:
        with self._lock:
            self._closed = True


class NearestBackend:
    """Repeats every sample `scale` times in both directions, cropped to the target's planes."""

    name = "nearest"

    def availability(self) -> Availability:
        """Tell that it is always there."""
        return Availability(True, "built in; repeats samples, no network runs", ("cpu",), ("f32",))

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Return a session; the graph is ignored.

        Raises:
            BackendUnavailableError: `options` name a device or precision that it does not have.
        """
        self.resolve(options)
        return _NearestSession(deployed)

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return what decides the output's bytes: nothing but the name.

        Raises:
            BackendUnavailableError: As for `open`.
        """
        if options.device not in ("auto", "cpu") or options.precision not in ("auto", "f32"):
            raise BackendUnavailableError(
                "the backend nearest has only the device cpu and the precision f32", hint="leave both at auto"
            )
        return {"backend": self.name}


def _repeat(src: np.ndarray, dst: np.ndarray, scale: int) -> None:
    rows, columns = dst.shape
    wide = np.repeat(src, scale, axis=1)[:, :columns]
    for i in range(scale):
        part = dst[i::scale]
        part[:] = wide[: len(part)]
    if rows > scale * len(src):
        raise AssertionError("target planes are never larger than the source times the scale")


BACKEND = NearestBackend()
