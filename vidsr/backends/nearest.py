"""The backend `nearest`: repeats samples, whatever the network. For tests and for measuring the rest.

No library, no choice: the exact result is known beforehand, so that pipelines can be checked to the
last sample. `auto` never takes it. At a whole scale every sample is repeated as often; at others each output
sample is the source's sample under its middle.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vidsr.backends.base import Availability, SessionOptions, check_planes
from vidsr.errors import BackendUnavailableError, InferenceError
from vidsr.models.resize import nearest_indices

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

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
            deployed = self._deployed
            check_planes(deployed, src, dst)
            for one, other in zip(src, dst, strict=True):
                rows = nearest_indices(len(one), len(other), deployed.height, deployed.out_height)
                columns = nearest_indices(one.shape[1], other.shape[1], deployed.width, deployed.out_width)
                np.copyto(other, one.take(columns, axis=1).take(rows, axis=0))
        return _Done()

    def close(self) -> None:
        with self._lock:
            self._closed = True


class NearestBackend:
    """Takes for every output sample the nearest of the source."""

    name = "nearest"
    streams_rows = False
    tiles_exact = True

    def lacks(self, rows: RowWork | str) -> None:
        """Return None: it takes everything."""

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


BACKEND = NearestBackend()
