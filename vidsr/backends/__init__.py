"""Backends by name. A backend's module is imported when it is asked for, its library when it is used."""

from __future__ import annotations

import difflib
import importlib

from vidsr.backends.base import Availability, Backend, Session, SessionOptions, Ticket
from vidsr.errors import BackendUnavailableError, OptionsError

__all__ = [
    "AUTO_ORDER",
    "BACKENDS",
    "Availability",
    "Backend",
    "Session",
    "SessionOptions",
    "Ticket",
    "choose_backend",
    "get_backend",
]

BACKENDS: dict[str, str] = {
    "openvino": "vidsr.backends.openvino",
    "nearest": "vidsr.backends.nearest",
}
"""Name -> module, which has a `Backend` called BACKEND."""

AUTO_ORDER: tuple[str, ...] = ("openvino",)
"""What `auto` tries, in turn. `nearest` is not among them: it ignores the network."""


def get_backend(name: str) -> Backend:
    """Return the backend called `name`, usable or not.

    Raises:
        OptionsError: There is none of that name.
    """
    if name not in BACKENDS:
        close = difflib.get_close_matches(name.lower(), BACKENDS, n=1)
        known = f"there are: auto, {', '.join(BACKENDS)}"
        raise OptionsError(f"no backend '{name}'", hint=f"did you mean {close[0]}?" if close else known)
    backend: Backend = importlib.import_module(BACKENDS[name]).BACKEND
    return backend


def choose_backend(name: str) -> tuple[Backend, str]:
    """Return a usable backend and a sentence that says which it is and why.

    Args:
        name: A backend's name, or "auto" for the first of `AUTO_ORDER` that is usable here.

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
                hint="install it, or use --backend auto",
            )
        return backend, f"{name}, as asked for: {found.detail}"
    refused: list[str] = []
    for candidate in AUTO_ORDER:
        backend = get_backend(candidate)
        found = backend.availability()
        if found.usable:
            why = f"; not {', '.join(refused)}" if refused else ""
            return backend, f"{candidate}, the first that is usable here: {found.detail}{why}"
        refused.append(f"{candidate} ({found.detail})")
    raise BackendUnavailableError(
        f"no backend can be used here: {', '.join(refused)}", hint="run: pip install openvino"
    )
