"""Which backend does a task: the first of an order that can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vidsr.backends.base import Availability, Backend, SessionOptions
from vidsr.errors import BackendUnavailableError

if TYPE_CHECKING:
    from vidsr.backends.base import Session
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["AutomaticBackend", "first_able"]


def first_able(
    backends: Sequence[Backend], rows: RowWork | str | None, options: SessionOptions
) -> tuple[Backend, str]:
    """Return the first backend that can do a job with these options, and a sentence that says why.

    Args:
        backends: In turn.
        rows: The job, as for `Backend.lacks`; None: any.
        options: Device and precision that it must have.

    Raises:
        BackendUnavailableError: None can; the message says why of each.
    """
    refused: list[str] = []
    wondered: list[str] = []
    absent = ""
    for backend in backends:
        found = backend.availability()
        why = found.detail if not found.usable else _misses(found, options)
        if why is None and rows is not None:
            why = backend.lacks(rows)
        if why is None:
            others = f"; not {'; not '.join(wondered)}" if wondered else ""
            return backend, f"{backend.name}, the first that can: {found.detail}{others}"
        if backend.name == "openvino" and not found.usable:
            absent = "pip install openvino adds the one that runs every model"
        refused.append(f"{backend.name} ({why})")
        wondered += [] if found.expected else refused[-1:]
    raise BackendUnavailableError(
        f"no backend can do this here: {', '.join(refused)}",
        hint=absent or "'vidsr doctor' lists devices and precisions",
    )


def _misses(found: Availability, options: SessionOptions) -> str | None:
    devices = _devices(found)
    if not devices:
        return f"only where it is asked for: {found.detail}"
    if options.device.lower() not in ("auto", *(device.lower() for device in devices)):
        return f"no device '{options.device}'"
    if options.precision not in ("auto", *found.precisions):
        return f"no {options.precision} here"
    return None


def _devices(found: Availability) -> tuple[str, ...]:
    """Return the devices that a job may get without asking for the backend."""
    return tuple(device for device in found.devices if device not in found.only_by_name)


class AutomaticBackend:
    """Decides anew for each graph. For work on many models, such as measuring them; a job has one backend."""

    name = "auto"
    streams_rows = False
    tiles_exact = False

    def __init__(self, backends: Sequence[Backend]) -> None:
        """Take the backends to try, in turn; the first must be usable for something."""
        self._backends = backends

    def availability(self) -> Availability:
        """Tell of all of them together."""
        found = [backend.availability() for backend in self._backends]
        usable = [one for one in found if one.usable and _devices(one)]
        return Availability(
            bool(usable),
            "; ".join(one.detail for one in found),
            tuple(dict.fromkeys(device for one in usable for device in _devices(one))),
            tuple(dict.fromkeys(precision for one in usable for precision in one.precisions)),
        )

    def lacks(self, rows: RowWork | str) -> str | None:
        """Return why none can do a job."""
        try:
            first_able(self._backends, rows, SessionOptions())
        except BackendUnavailableError as error:
            return error.message
        return None

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return what the first backend that has device and precision makes of the options.

        Raises:
            BackendUnavailableError: None has.
        """
        return first_able(self._backends, None, options)[0].resolve(options)

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Open the first backend that can do the graph's job.

        Raises:
            BackendUnavailableError: None can.
            EngineBuildError: The one that can cannot compile it.
        """
        return first_able(self._backends, deployed.rows, options)[0].open(deployed, options)
