"""What a backend is: it opens sessions, and a session turns planes into larger planes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from vidsr.errors import InferenceError
from vidsr.resident import check_source

if TYPE_CHECKING:
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork
    from vidsr.resident import Source

__all__ = [
    "Availability",
    "Backend",
    "Precision",
    "ResidentSession",
    "Session",
    "SessionOptions",
    "Ticket",
    "check_planes",
]

Precision = Literal["auto", "f32", "bf16", "f16", "int8"]


@runtime_checkable
class Ticket(Protocol):
    """Work in progress."""

    def result(self) -> None:
        """Wait until the destination planes are filled.

        Raises:
            InferenceError: The work failed. Every further call raises it again.
        """


@runtime_checkable
class Session(Protocol):
    """One model on one device for one frame format and size. Thread-safe; no memory between frames."""

    in_flight: int
    """How many frames it can work on at once; a further `submit` waits. What of it memory did not allow is in
    ``notes``, sentences for a report, where a session has such."""

    def submit(self, src: Planes, dst: Planes) -> Ticket:
        """Start upscaling `src` into `dst`; both belong to the session until ``ticket.result()``.

        Args:
            src: Planes of the session's frame format and size; rows may be padded.
            dst: Planes of the same format at the deployed graph's output size, written in place.
        """

    def close(self) -> None:
        """Wait for the work in progress and free everything; calling it again does nothing."""


@runtime_checkable
class ResidentSession(Protocol):
    """A session that may take frames from a GPU's memory, too."""

    takes_from: int | None
    """That GPU's number; None: it does not."""

    def submit(self, src: Source, dst: Planes) -> Ticket:
        """Start upscaling; see `Session.submit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session runs."""

    device: str = "auto"
    """The backend's own name of a device; auto: its first."""
    precision: Precision = "auto"
    """auto: f16 on GPUs, bf16 on CPUs that compute it natively, otherwise f32; int8: for int8 files' graphs
    alone."""
    threads: int = 0
    """CPU threads; 0: all cores that this process may use."""
    in_flight: int = 0
    """Frames at once; 0: the backend's choice."""
    streams: int = 0
    """Groups that the threads are split into, each with a frame of its own; 0: the backend's choice. Of
    OpenVINO on CPUs only."""
    resident: bool = False
    """Whether frames may come in the GPU's memory, as its decoder left them."""
    told: Callable[[str, int, int], bool] | None = field(default=None, repr=False, compare=False)
    """Told how far the building of an engine is: phase, step, steps; False stops it, and `open` raises."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a backend can be used here."""

    usable: bool
    detail: str
    """Version and devices, or why it is absent and what would change that; one line."""
    devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    """What `SessionOptions.precision` may ask for here, "auto" left out."""
    only_by_name: tuple[str, ...] = ()
    """Those of the devices that a job gets only where the backend is asked for by name: never with auto."""
    expected: bool = False
    """Whether nobody wonders that auto does not take it: it is for GPUs, and this machine has no driver."""


class Backend(Protocol):
    """A way to run deployed graphs. Importing its module must not import its library."""

    name: str
    streams_rows: bool
    """Whether no frame needs tiles for its size alone: memory does not grow with it, or `open` raises a
    `DeviceMemoryError` where it does not suffice."""
    tiles_exact: bool
    """Whether tiles give a whole frame's very samples in all precisions, where the card says so of f32."""

    def lacks(self, rows: RowWork | str) -> str | None:
        """Return why it cannot do a job although it is usable here, in words; None: it can.

        Args:
            rows: The job for compiled kernels, or why they cannot do it; see `vidsr.models.rows`.
        """

    def availability(self) -> Availability:
        """Tell, without raising, whether it can be used here."""

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Compile the graph for a device.

        Raises:
            BackendUnavailableError: The library, device or precision is not there.
            EngineBuildError: The graph cannot be compiled.
        """

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return what `options` come to here: what decides the output's bytes, to be recorded."""


def check_planes(deployed: Deployed, src: Source, dst: Planes) -> None:
    """Check the planes of a `Session.submit` before any work is done.

    Raises:
        InferenceError: Their number, shapes or dtype are not the session's, or `dst` is read-only.
    """
    pixels = deployed.format.pixel_format
    try:
        check_source(pixels, src, (deployed.width, deployed.height))
        pixels.check(dst, deployed.out_width, deployed.out_height)
    except ValueError as error:
        raise InferenceError(str(error), stage="inference") from error
    if not all(plane.flags.writeable for plane in dst):
        raise InferenceError("the destination planes are read-only", stage="inference")
