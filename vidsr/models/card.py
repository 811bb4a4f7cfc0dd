"""Model cards: what a model is, as TOML beside its ONNX file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from vidsr import records
from vidsr.errors import ModelError, WeightsError

__all__ = ["ModelFile", "ModelSpec", "Training", "TrainingSource", "load_card", "verify_file", "write_card"]

_ID = re.compile(r"[0-9]+x-[a-z0-9_]+(?:-[a-z0-9_.]+)*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.onnx")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model."""

    name: str
    """Of the ONNX file, in the card's folder."""
    sha256: str
    """Of its bytes, in lower-case hexadecimal."""

    def __post_init__(self) -> None:
        """Check that the name stays in the card's folder and that the digest is one."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is not a plain name that ends in .onnx")
        if not _DIGEST.fullmatch(self.sha256):
            raise ValueError(f"the sha256 of '{self.name}' must be 64 lower-case hexadecimal digits")


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """A folder of training pictures."""

    folder: str
    licence: str


@dataclass(frozen=True, slots=True)
class Training:
    """Where the weights come from."""

    text: str = ""
    """How it was trained, in a sentence or two."""
    sources: tuple[TrainingSource, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model card."""

    id: str
    """``<scale>x-<network>-<variant>``, unique, such as 2x-ecbsr-m4c16."""
    network: str
    """Name of the architecture in lower case."""
    scale: int
    """Magnification, 1 or more."""
    channels: int
    """1: luma; 3: RGB."""
    halo: int
    """Pixels of context on each side that an output pixel depends on, in the network's input."""
    files: dict[str, ModelFile]
    """By precision: f32, int8. f32 must be there."""
    input: Literal["low", "target"] = "low"
    """What the network takes: the low-resolution picture, or one that was resized to the target."""
    value_range: Literal[1, 255] = 1
    """What the graph takes and gives for the largest code. Our own are 1; 255 is for other people's files."""
    multiple: int = 1
    """The sides of the network's input are multiples of this."""
    min_size: int = 1
    """Smallest side of the network's input, in pixels."""
    tiling: Literal["exact", "approximate"] = "exact"
    """Whether tiles that overlap by the halo equal the whole frame."""
    kind: Literal["clean", "video"] = "clean"
    """What it was trained for: clean sources, or the traces of video coders as well."""
    default: bool = False
    """Whether the network's bare name means this model, at this scale and of this kind."""
    description: str = ""
    license: str = ""
    """SPDX expression of the weights' licence."""
    training: Training = Training()
    quality: dict[str, dict[str, float]] = field(default_factory=dict)
    """Measured: data set -> metric -> value, such as quality.set5.psnr_y_float = 37.0 (dB)."""

    def __post_init__(self) -> None:
        """Check every number and name."""
        if not _ID.fullmatch(self.id):
            raise ValueError(f"'id' must look like 2x-ecbsr-m4c16, not '{self.id}'")
        if not self.id.startswith(f"{self.scale}x-{self.network}"):
            raise ValueError(f"'id' is {self.id}, but scale and network make it {self.scale}x-{self.network}")
        if self.channels not in (1, 3):
            raise ValueError(f"'channels' must be 1 or 3, not {self.channels}")
        if not 1 <= self.scale <= 16:
            raise ValueError(f"'scale' must be 1 to 16, not {self.scale}")
        if not (0 <= self.halo <= 4096 and 1 <= self.multiple <= 256 and 1 <= self.min_size <= 4096):
            raise ValueError("'halo', 'multiple' or 'min_size' is out of range")
        if "f32" not in self.files:
            raise ValueError("'files' must have an entry 'f32'")
        if unknown := sorted(self.files.keys() - {"f32", "int8"}):
            raise ValueError(f"unknown precision 'files.{unknown[0]}'; known: f32, int8")

    @property
    def variant(self) -> str:
        """What follows the network in the id, such as m4c16; may be empty."""
        return self.id.removeprefix(f"{self.scale}x-{self.network}").removeprefix("-")


def load_card(path: Path) -> ModelSpec:
    """Read a card.

    Raises:
        ModelError: It is missing or wrong; the message names the key.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return records.load(ModelSpec, path, error=ModelError)  # tells why
    return _loaded(path, data)


@lru_cache(maxsize=64)
def _loaded(path: Path, _: bytes) -> ModelSpec:
    """Return a card, checked once for all that it says: each job of a batch looks at all of them."""
    return records.load(ModelSpec, path, error=ModelError)


def write_card(spec: ModelSpec, folder: Path) -> Path:
    """Write ``<id>.toml`` into `folder` and return its path."""
    path = folder / f"{spec.id}.toml"
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(records.dump(spec), encoding="utf-8")
    temporary.replace(path)
    return path


def verify_file(data: bytes, entry: ModelFile, path: Path) -> None:
    """Check that `data`, read from `path`, is what the card says.

    Raises:
        WeightsError: The digest differs.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise WeightsError(
            f"this file has sha256 {digest[:12]}..., its card says {entry.sha256[:12]}...",
            path=path,
            hint="fetch the model again, or write a new card if you changed it on purpose",
        )
