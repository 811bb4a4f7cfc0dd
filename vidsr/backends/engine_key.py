"""What decides whether a compiled engine fits: a change of any part means another engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vidsr import records

__all__ = ["EngineKey", "Place", "Size", "shapes_of"]

Size = tuple[int, int]
"""Width and height in luma pixels."""

_LONGEST_WORD = 40  # of a part in a file's name
_DIGITS = 12  # of the digest in a file's name: 48 bits


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine runs: it fits no other runtime, driver or kind of GPU."""

    runtime: str
    """tensorrt or tensorrt-rtx."""
    runtime_version: str
    device: str
    """The GPU's name."""
    capability: str
    """Its compute capability, such as 9.0."""
    driver: str
    """Version."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on."""

    model: str
    """The model's id, so that people recognise the file."""
    graph: str
    """sha256 of the typed graph that is compiled."""
    shapes: str
    """See `shapes_of`."""
    precision: str
    """fp16, ..."""
    runtime: str
    runtime_version: str
    device: str
    capability: str
    driver: str

    @classmethod
    def at(cls, place: Place, *, model: str, graph: str, shapes: str, precision: str) -> EngineKey:
        """Return the key of a graph's engine at a place."""
        here = {field.name: getattr(place, field.name) for field in dataclasses.fields(place)}
        return cls(model=model, graph=graph, shapes=shapes, precision=precision, **here)

    @property
    def place(self) -> Place:
        """Where the engine runs."""
        return Place(self.runtime, self.runtime_version, self.device, self.capability, self.driver)

    @property
    def digest(self) -> str:
        """Sha256 of all parts."""
        text = json.dumps(records.to_mapping(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """A file's name without its ending: what people look for, then a digest of all parts."""
        words = (
            self.model or "model",
            self.shapes,
            self.precision,
            f"{self.runtime}{self.runtime_version}",
            self.device,
        )
        return "_".join([*map(_word, words), self.digest[:_DIGITS]])


def shapes_of(sizes: Sequence[Size]) -> str:
    """Return sizes of frames as the key has them: 960x540, or least..usual..most.

    Args:
        sizes: One, or three for an engine that takes all between the first and the last.
    """
    return "..".join(f"{width}x{height}" for width, height in sizes)


def _word(text: str) -> str:
    """Return `text` as a part of a file's name: small letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:_LONGEST_WORD] or "-"
