"""Backends of other packages: what goes wrong in one is an error that names it, never vidsr's own fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vidsr.backends.base import Availability, Backend, Session, SessionOptions, Ticket
from vidsr.errors import BackendError, BackendUnavailableError, EngineBuildError, InferenceError, VidsrError

if TYPE_CHECKING:
    from vidsr.frame import Planes
    from vidsr.models.deploy import Deployed
    from vidsr.models.rows import RowWork

__all__ = ["AddedBackend"]

_HINT = "VIDSR_TRACEBACK=1 prints where"


class AddedBackend:
    """A backend of a plug-in, with the interface of `vidsr.backends.base.Backend`."""

    def __init__(self, backend: Backend, package: str) -> None:
        """Take a backend, and the name and version of the package that it is of."""
        self.name = backend.name
        self.streams_rows = bool(backend.streams_rows)
        self.tiles_exact = bool(backend.tiles_exact)
        self._backend, self._package = backend, package
        self._called = f"the backend {self.name} (of {package})"

    def availability(self) -> Availability:
        """Tell, without raising, whether it can be used here."""
        try:
            found: object = self._backend.availability()
            if not isinstance(found, Availability):
                raise TypeError(f"availability() returned {type(found).__name__}, not an Availability")
        except Exception as error:  # noqa: BLE001 - somebody else's code may raise anything
            return Availability(False, f"its plug-in failed: {_words(error)}")
        return found

    def lacks(self, rows: RowWork | str) -> str | None:
        """Return why it cannot do a job; see `Backend.lacks`."""
        with _blamed(self._called, BackendUnavailableError):
            return self._backend.lacks(rows)

    def resolve(self, options: SessionOptions) -> Mapping[str, str]:
        """Return what decides the bytes, the package's version among it; see `Backend.resolve`."""
        with _blamed(self._called, BackendUnavailableError):
            return {**self._backend.resolve(options), "plug-in": self._package}

    def open(self, deployed: Deployed, options: SessionOptions) -> Session:
        """Open a session; see `Backend.open`."""
        with _blamed(self._called, EngineBuildError):
            opened: object = self._backend.open(deployed, options)
            if not isinstance(opened, Session):
                raise TypeError(f"open() returned {type(opened).__name__}, which is no session")
            return _AddedSession(opened, self._called)


class _AddedSession:
    def __init__(self, session: Session, called: str) -> None:
        self.in_flight = session.in_flight
        self.notes: tuple[str, ...] = tuple(getattr(session, "notes", ()))
        self._session, self._called = session, called

    def submit(self, src: Planes, dst: Planes) -> Ticket:
        with _blamed(self._called, InferenceError):
            return _AddedTicket(self._session.submit(src, dst), self._called)

    def close(self) -> None:
        with _blamed(self._called, InferenceError):
            self._session.close()


class _AddedTicket:
    def __init__(self, ticket: Ticket, called: str) -> None:
        self._ticket, self._called = ticket, called

    def result(self) -> None:
        with _blamed(self._called, InferenceError):
            self._ticket.result()


@contextmanager
def _blamed(called: str, kind: type[BackendError]) -> Iterator[None]:
    """Make of anything that is no error of vidsr's one that names the backend."""
    try:
        yield
    except (VidsrError, MemoryError):
        raise
    except Exception as error:
        raise kind(f"{called} failed: {_words(error)}", hint=_HINT) from error


def _words(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
