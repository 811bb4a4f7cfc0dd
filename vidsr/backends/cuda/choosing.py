"""Which GPUs a job gets: cuda:0, cuda:1, ..., or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidsr.errors import BackendUnavailableError

if TYPE_CHECKING:
    from vidsr.backends.cuda.layer import DeviceInfo

__all__ = ["ALL", "chosen", "in_words", "names"]

ALL = "all"
"""The device that is all GPUs, to which frames are dealt in turn."""


def names(devices: Sequence[DeviceInfo]) -> tuple[str, ...]:
    """Return what `SessionOptions.device` may be for GPUs; the first is the one that "auto" means."""
    return (*(f"cuda:{one.ordinal}" for one in devices), *((ALL,) if len(devices) > 1 else ()))


def in_words(devices: Sequence[DeviceInfo]) -> str:
    """Return GPUs with their names: "cuda:0 NVIDIA L4, cuda:1 NVIDIA L4"."""
    return ", ".join(f"cuda:{one.ordinal} {one.name}" for one in devices)


def chosen(devices: Sequence[DeviceInfo], wanted: str, backend: str) -> tuple[DeviceInfo, ...]:
    """Return the GPUs that a device's name means.

    Args:
        devices: Those that the backend can use, at least one.
        wanted: "auto", "cuda" (both the first), "cuda:N" or "all".
        backend: Its name, for the message.

    Raises:
        BackendUnavailableError: There is no such GPU.
    """
    name = wanted.lower()
    if name in ("auto", "cuda"):
        return (devices[0],)
    if name == ALL:
        return tuple(devices)
    found = tuple(one for one in devices if name == f"cuda:{one.ordinal}")
    if not found:
        raise BackendUnavailableError(
            f"the backend {backend} has no device '{wanted}' here", hint=f"there are: {in_words(devices)}"
        )
    return found
