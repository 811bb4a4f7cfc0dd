"""Backends whose engines can be built before they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from vidsr.errors import BackendUnavailableError, OptionsError

if TYPE_CHECKING:
    from vidsr.backends.base import Availability, SessionOptions
    from vidsr.backends.engine_cache import EngineCache
    from vidsr.backends.engine_key import Place, Size
    from vidsr.backends.engine_record import Engine
    from vidsr.models.deploy import Deployed, FrameFormat
    from vidsr.models.lookup import Model

__all__ = ["AHEAD", "AheadBackend", "ahead_backend", "places_here"]

AHEAD: dict[str, str] = {"tensorrt": "vidsr.backends.tensorrt.backend"}
"""Name -> module, which has an `AheadBackend` called BACKEND."""


class AheadBackend(Protocol):
    """What such a backend has beside what every `Backend` has."""

    name: str

    def availability(self) -> Availability:
        """Tell, without raising, whether it can be used here: as a `Backend` does, and quickly."""

    def places(self) -> Sequence[Place]:
        """Return where its engines run on this machine, a device each.

        Raises:
            BackendUnavailableError: The library or a device is not there.
        """

    def kept(self, deployed: Deployed, options: SessionOptions) -> bool:
        """Tell whether the engine that a graph would get is there already.

        Raises:
            BackendUnavailableError: The library, the device or the precision is not there.
        """

    def prepare(
        self,
        model: Model,
        frame_format: FrameFormat,
        sizes: Sequence[Size],
        *,
        device: str,
        precision: str,
        cache: EngineCache,
        progress: Callable[[str, int, int], bool],
        said: Callable[[str], object],
        again: bool,
    ) -> tuple[Engine, bool]:
        """Return the engine that a job of these frames will ask for, and whether it was built now.

        Args:
            model: The network.
            frame_format: Of the frames.
            sizes: Of the frames: one, or the least, the usual and the most.
            device: As in `SessionOptions`.
            precision: As in `SessionOptions`.
            cache: Where it is kept.
            progress: See `vidsr.backends.tensorrt.process.Progress`.
            said: Told of waiting and of engines that are not used, a line each.
            again: Build even if there is one.

        Raises:
            BackendError: It cannot be built, or is not accurate enough.
            OutputError: The cache cannot be written.
        """


def ahead_backend(name: str) -> AheadBackend:
    """Return the backend called `name`, usable or not.

    Raises:
        OptionsError: There is none of that name that builds engines ahead of time.
        BackendUnavailableError: Its module cannot be imported.
    """
    if name not in AHEAD:
        raise OptionsError(f"the backend '{name}' keeps no engines", hint=f"these do: {', '.join(AHEAD)}")
    try:
        backend: AheadBackend = importlib.import_module(AHEAD[name]).BACKEND
    except ImportError as error:
        raise BackendUnavailableError(
            f"the backend {name} cannot be loaded ({error})", hint="install vidsr again"
        ) from error
    return backend


def places_here() -> list[Place] | None:
    """Return where engines of all these backends run on this machine; None: nowhere."""
    found: list[Place] = []
    for name in AHEAD:
        try:
            found += ahead_backend(name).places()
        except BackendUnavailableError:
            continue
    return found or None
