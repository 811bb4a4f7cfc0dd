"""Reading other people's checkpoints: their weights by name, or one clear refusal.

A checkpoint is a pickle, and a pickle is a program. `vidsr.networks.claims` goes through it first; only then
does torch read it, with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidsr.errors import WeightsError
from vidsr.models.checks import MAX_FILE_BYTES, MAX_WEIGHTS
from vidsr.networks.claims import FETCH_AGAIN, SAVE_ALONE, check_claims, first_line

__all__ = ["Checkpoint", "read_checkpoint"]

WRAPPERS = ("params_ema", "averaged", "params", "state_dict", "network", "model", "net")
"""Keys that checkpoints keep the weights under, the better ones first: averaged weights before others."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before names."""

MAX_TENSORS = 2000
"""The largest network here has a few hundred."""
_MAX_DEPTH = 4


# By the first bytes: what it is, and what to do.
_OTHERS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (
        re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]"),
        "this is an ONNX file, not a checkpoint",
        "it needs no import: --model takes it as it is",
    ),
    (
        re.compile(rb".{6}\x00\x00\s*\{", re.DOTALL),
        "this is a safetensors file, not a checkpoint of torch",
        "load it with safetensors and save it with torch.save",
    ),
    (
        re.compile(rb"version https://git-lfs"),
        "this is a pointer of Git LFS, not the file",
        "run: git lfs pull",
    ),
    (re.compile(rb"\s*<"), "this is a web page, not a checkpoint", "fetch the file itself"),
    (re.compile(rb"\x89HDF"), "this is an HDF5 file, not a checkpoint of torch", SAVE_ALONE),
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds."""

    weights: dict[str, Tensor]
    """By name, without wrappers and prefixes, in the file's order: float32, finite, copies."""
    sha256: str
    """Of the file."""
    wrapper: str
    """Under which keys they were, such as params_ema; may be empty."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a file that ``torch.save`` wrote, without running anything in it.

    Raises:
        WeightsError: It is missing, is something else, is damaged or hostile, or holds no plain weights.
    """
    try:
        data = _read(path)
        found, wrapper = _unwrapped(_load(data))
        return Checkpoint(_checked(found), hashlib.sha256(data).hexdigest(), wrapper)
    except WeightsError as error:
        raise WeightsError(error.message, path=path, hint=error.hint) from error.__cause__


def _read(path: Path) -> bytes:
    try:
        if not path.exists():
            raise WeightsError("there is no such file", hint="check the path")
        if not path.is_file():
            raise WeightsError("this is no file", hint="name the checkpoint itself")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise WeightsError(
                f"{size >> 20} MiB is too large for a network",
                hint=f"the limit is {MAX_FILE_BYTES >> 20} MiB",
            )
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read this file ({error.strerror})", hint="check the path") from error
    if not data:
        raise WeightsError("this file is empty", hint=FETCH_AGAIN)
    for pattern, what, hint in _OTHERS:
        if pattern.match(data):
            raise WeightsError(what, hint=hint)
    return data


def _load(data: bytes) -> Any:
    check_claims(data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the unpickler met
        raise WeightsError(
            f"torch cannot read this checkpoint ({first_line(error)})", hint=FETCH_AGAIN
        ) from error


def _unwrapped(found: Any) -> tuple[Mapping[Any, Any], str]:
    """Return the mapping with the weights, and the keys that led there."""
    keys: list[str] = []
    while isinstance(found, Mapping) and len(keys) < _MAX_DEPTH:
        inner = next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            return found, ".".join(keys)
        keys.append(inner)
        found = found[inner]
    if isinstance(found, Mapping):
        raise WeightsError("its weights are wrapped too deeply", hint=SAVE_ALONE)
    raise WeightsError(f"it holds {_a(found)}, not weights by name", hint=SAVE_ALONE)


def _checked(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    if not 0 < len(found) <= MAX_TENSORS:
        raise WeightsError(f"it holds {len(found)} tensors", hint=SAVE_ALONE)
    weights: dict[str, Tensor] = {}
    total = 0
    for name, tensor in found.items():
        if not isinstance(name, str):
            raise WeightsError(f"it has a name that is {_a(name)}, not text", hint=SAVE_ALONE)
        if not isinstance(tensor, Tensor):
            raise WeightsError(f"'{name[:80]}' is {_a(tensor)}, not a tensor", hint=SAVE_ALONE)
        short = _without_prefixes(name)
        if short in weights:
            raise WeightsError(f"'{short[:80]}' is there twice", hint=SAVE_ALONE)
        total += tensor.numel()
        if total > MAX_WEIGHTS:
            raise WeightsError(f"it has more than {MAX_WEIGHTS} weights", hint="that is no network for video")
        weights[short] = _plain(name[:80], tensor)
    return weights


def _plain(name: str, tensor: Tensor) -> Tensor:
    """Return a float32 copy with memory of its own."""
    if not tensor.is_floating_point():
        raise WeightsError(
            f"'{name}' is {str(tensor.dtype).removeprefix('torch.')}, not floating point",
            hint="import the weights as they were before they were quantised",
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() or not tensor.numel():
        raise WeightsError(f"'{name}' claims the shape {list(tensor.shape)} without the numbers for it")
    copy = tensor.detach().to(torch.float32, copy=True).contiguous()
    if not bool(copy.isfinite().all()):
        raise WeightsError(f"'{name}' has weights that are not finite numbers", hint="its training diverged")
    return copy


def _without_prefixes(name: str) -> str:
    while prefix := next((p for p in PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name


def _a(thing: object) -> str:
    name = type(thing).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
