"""Backends by name. A backend's module is imported when it is asked for, its library when it is used."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from vidsr import plugins
from vidsr.backends.added import AddedBackend
from vidsr.backends.automatic import AutomaticBackend, first_able
from vidsr.backends.base import Availability, Backend, Session, SessionOptions, Ticket
from vidsr.errors import BackendUnavailableError, OptionsError

if TYPE_CHECKING:
    from vidsr.models.rows import RowWork

__all__ = [
    "AUTO_ORDER",
    "BACKENDS",
    "Availability",
    "Backend",
    "Session",
    "SessionOptions",
    "Ticket",
    "automatic_names",
    "backend_names",
    "choose_backend",
    "get_backend",
]

BACKENDS: dict[str, str] = {
    "fused": "vidsr.backends.fused",
    "tensorrt": "vidsr.backends.tensorrt.backend",
    "kernel": "vidsr.backends.kernel",
    "openvino": "vidsr.backends.openvino",
    "torch": "vidsr.backends.torch",
    "nearest": "vidsr.backends.nearest",
}
"""Name -> module, which has a `Backend` called BACKEND."""

AUTO_ORDER: tuple[str, ...] = ("fused", "tensorrt", "torch", "kernel", "openvino")
"""What `auto` tries, in turn: GPUs, then the CPU. `nearest` is not among them: it ignores the network.

Of the first two a job gets the faster, where both are ready: see `vidsr.quickest`."""


def get_backend(name: str) -> Backend:
    """Return the backend called `name`, usable or not.

    Raises:
        OptionsError: There is none of that name.
    """
    if name in BACKENDS:
        backend: Backend = importlib.import_module(BACKENDS[name]).BACKEND
        return backend
    if name in plugins.names(plugins.BACKENDS, BACKENDS):
        added: Backend | None = plugins.load(plugins.BACKENDS, name, lambda value: _no_backend(value, name))
        if added is not None:
            return AddedBackend(added, plugins.packages(plugins.BACKENDS)[name])
    known = backend_names()
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: auto, {', '.join(known)}"
    raise OptionsError(f"no backend '{name}'", hint=hint)


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends: vidsr's own, then those of plug-ins, which auto never takes."""
    return (*BACKENDS, *plugins.names(plugins.BACKENDS, BACKENDS))


def _no_backend(value: Any, name: str) -> str:
    """Return in what an object is no backend called `name`; empty: it is one."""
    wanted = ("name", "streams_rows", "tiles_exact", "lacks", "availability", "open", "resolve")
    lacks = [part for part in wanted if not hasattr(value, part)]
    if lacks:
        return f"it has no {', '.join(lacks)}, which a backend has"
    return "" if value.name == name else f"its backend calls itself '{value.name}'"


def automatic_names() -> tuple[str, ...]:
    """Return what `auto` may take here, and what it would take if it were usable, in turn.

    Left out is what nobody expects: backends for GPUs where there is no driver.
    """
    return tuple(name for name in AUTO_ORDER if not _left_out(get_backend(name).availability()))


def _left_out(found: Availability) -> bool:
    by_name_alone = found.usable and set(found.devices) <= set(found.only_by_name)
    return found.expected or by_name_alone


def choose_backend(
    name: str, rows: RowWork | str | None = None, options: SessionOptions = SessionOptions()
) -> tuple[Backend, str]:
    """Return a usable backend and a sentence that says which it is and why.

    Args:
        name: A backend's name, or "auto" for the first of `AUTO_ORDER` that can.
        rows: The job it is wanted for, as compiled kernels see it. None: many jobs; with auto the backend
            that is returned then decides anew for each graph.
        options: With auto, device and precision that it must have.

    Raises:
        OptionsError: There is none of that name.
        BackendUnavailableError: It, or with auto every one, is not usable here.
    """
    if name != "auto":
        backend = get_backend(name)
        found = backend.availability()
        if not found.usable:
            raise BackendUnavailableError(
                f"the backend {name} cannot be used here: {found.detail}",
                hint="--backend auto takes what is here",
            )
        if rows is not None and (lacks := backend.lacks(rows)):
            raise BackendUnavailableError(
                f"the backend {name} cannot do this: {lacks}", hint="use --backend auto"
            )
        return backend, f"{name}, as asked for: {found.detail}"
    candidates = [get_backend(candidate) for candidate in AUTO_ORDER]
    first, why = first_able(candidates, rows, options)
    return (AutomaticBackend(candidates), "auto, anew for each graph") if rows is None else (first, why)
