"""Every error that vidsr raises on purpose. Read this file first.

A `VidsrError` says what failed (`message`), on what (`path`), in which stage of the work (`stage`)
and what to do next (`hint`). Errors of other libraries are turned into one of these at a single
boundary for each library: PyAV's in `vidsr.video`, ONNX's in `vidsr.models`, OpenVINO's in its
backend. `cli` prints ``str(error)`` as one line and exits with `exit_code`.
"""

from __future__ import annotations

import unicodedata
from os import PathLike, fspath
from typing import ClassVar

__all__ = [
    "BackendError",
    "BackendUnavailableError",
    "DecodeError",
    "EncodeError",
    "EngineBuildError",
    "HardwareError",
    "InferenceError",
    "ModelError",
    "OptionsError",
    "OutputError",
    "ProbeError",
    "SourceError",
    "TrainingError",
    "UnknownModelError",
    "UnsupportedFormatError",
    "VerificationError",
    "VidsrError",
    "WeightsError",
    "one_line",
]


def one_line(text: str) -> str:
    """Return `text` with what would end a line or steer a terminal as a backslash and letters.

    File names may hold anything: newlines, escape sequences, bytes that are not UTF-8.
    """

    def shown(char: str) -> bool:
        return char.isprintable() or unicodedata.category(char) == "Zs"

    return "".join(c if shown(c) else c.encode("unicode_escape").decode("ascii") for c in text)


class VidsrError(Exception):
    """Base of the tree; catching it catches everything that vidsr raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        stage: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Describe the failure.

        Args:
            message: What failed, without a final full stop.
            path: The file that it is about.
            stage: Where it happened ("probe", "decode", "inference", ...); `Prefetch` fills it in
                with the name of the stage whose thread raised the error.
            hint: What the user can do about it.
        """
        super().__init__(message)
        self.message = message
        self.path = None if path is None else fspath(path)
        self.stage = stage
        self.hint = hint

    def __str__(self) -> str:
        """Return ``path: message; hint`` on one line."""
        text = " ".join(self.message.split())
        if self.path is not None:
            text = f"{self.path}: {text}"
        return one_line(text if self.hint is None else f"{text}; {' '.join(self.hint.split())}")


class OptionsError(VidsrError):
    """Arguments that cannot be right, found before any work was done."""

    exit_code = 2


class SourceError(VidsrError):
    """The input cannot be used."""


class ProbeError(SourceError):
    """The input cannot be opened or described."""


class DecodeError(SourceError):
    """The input is damaged somewhere in the middle."""


class UnsupportedFormatError(SourceError):
    """The input is readable, but nothing here handles its kind."""


class ModelError(VidsrError):
    """A model file or its card cannot be used."""


class UnknownModelError(ModelError):
    """No model has that name and scale."""

    exit_code = 2


class WeightsError(ModelError):
    """Weights that do not fit the network, or a file that is not what its card says."""


class BackendError(VidsrError):
    """Inference cannot be done."""


class BackendUnavailableError(BackendError):
    """The backend that was asked for is not installed or has no device here."""


class EngineBuildError(BackendError):
    """A graph could not be compiled for its device."""


class DeviceMemoryError(BackendError):
    """The memory of a GPU does not suffice for frames of this size."""


class InferenceError(BackendError):
    """Inference failed while frames were flowing."""


class OutputError(VidsrError):
    """The result cannot be written."""


class EncodeError(OutputError):
    """The encoder or the container refused."""


class HardwareError(VidsrError):
    """Hardware that was asked for, to decode or to encode, is not here or cannot do this."""


class VerificationError(OutputError):
    """What was written is not what should have been written."""


class TrainingError(VidsrError):
    """Training cannot start or has diverged."""
