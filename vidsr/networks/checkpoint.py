"""Reading other people's checkpoints: their weights by name, or one clear refusal.

A checkpoint is a pickle, and a pickle is a program. It is gone through twice. First `_Claims` follows it with
stand-ins for everything that it names: only what `torch.save` writes for plain tensors may be named, and no
storage may claim more bytes than the file has for it. Only then does torch read it, with
``weights_only=True``, which on its own would still make arrays of any claimed size.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidsr.errors import WeightsError
from vidsr.models.checks import MAX_FILE_BYTES, MAX_WEIGHTS

__all__ = ["Checkpoint", "read_checkpoint"]

WRAPPERS = ("params_ema", "averaged", "params", "state_dict", "network", "model", "net")
"""Keys that checkpoints keep the weights under, the better ones first: averaged weights before others."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before names."""

MAX_PICKLE_BYTES = 2 << 20
MAX_TENSORS = 2000
"""The largest network here has a few hundred."""
_MAX_DEPTH = 4
_ALONE = "save the weights alone: torch.save(network.state_dict(), 'weights.pth')"
_AGAIN = "fetch the file again"

_STORAGES = {  # bytes a number, by the storage's class
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ShortStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
}

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
    (re.compile(rb"\x89HDF"), "this is an HDF5 file, not a checkpoint of torch", _ALONE),
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
        raise WeightsError("this file is empty", hint=_AGAIN)
    for pattern, what, hint in _OTHERS:
        if pattern.match(data):
            raise WeightsError(what, hint=hint)
    return data


def _load(data: bytes) -> Any:
    if data.startswith(b"PK"):
        _check_archive(data)
    else:
        _check_legacy(data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the unpickler met
        raise WeightsError(
            f"torch cannot read this checkpoint ({_first_line(error)})", hint=_AGAIN
        ) from error


def _check_archive(data: bytes) -> None:
    """Check a zip archive, as torch writes since 1.6, without unpacking anything."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            names = [name for name in entries if name.endswith("/data.pkl")]
            if any(name.endswith("/constants.pkl") for name in entries):
                raise WeightsError("this is a TorchScript program, not a checkpoint", hint=_ALONE)
            if len(names) != 1:
                raise WeightsError("this archive is no checkpoint of torch", hint="name a .pth file")
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values())
            if (
                packed
                or len(entries) < len(archive.infolist())
                or sum(e.file_size for e in entries.values()) > len(data)
            ):
                raise WeightsError("this archive is packed as torch never packs one", hint=_ALONE)
            if entries[names[0]].file_size > MAX_PICKLE_BYTES:
                raise WeightsError("this archive's table of contents is too long for a network", hint=_ALONE)
            program = archive.read(names[0])
    except (
        zipfile.BadZipFile,
        EOFError,
        struct.error,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise WeightsError(f"this file is damaged or cut off ({_first_line(error)})", hint=_AGAIN) from error
    folder = names[0].removesuffix("data.pkl")
    for key, size in _claims(io.BytesIO(program)).items():
        entry = entries.get(f"{folder}data/{key}")
        if entry is None or entry.file_size < size:
            held = 0 if entry is None else entry.file_size
            raise WeightsError(f"it claims {size} bytes of weights where it has {held}", hint=_AGAIN)


def _check_legacy(data: bytes) -> None:
    """Check a file as torch wrote them before 1.6: pickles one after the other, then the numbers."""
    stream = io.BytesIO(data[:MAX_PICKLE_BYTES])
    claims: dict[str, int] = {}
    for _ in range(4):  # a magic number, the version, the machine, the weights
        claims |= _claims(stream)
    if sum(claims.values()) > len(data):
        raise WeightsError(
            f"it claims {sum(claims.values())} bytes of weights where it has {len(data)}", hint=_AGAIN
        )


def _claims(stream: io.BytesIO) -> dict[str, int]:
    """Return the bytes that a pickle wants for each of its storages, without running it."""
    follower = _Claims(stream)
    try:
        follower.load()
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle raises anything
        raise WeightsError(
            "this is no checkpoint of torch, or it is damaged", hint="name a .pth file that torch.save wrote"
        ) from error
    return follower.claims


def _rebuilt(*_: object) -> None:
    """Stand in for what makes a tensor."""


_NAMEABLE: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_parameter": _rebuilt,
}

# What torch.save writes; no others, for some of them take memory by a number in the file.
_OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.BINPERSID),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINUNICODE, pickle.SHORT_BINSTRING),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.APPEND, pickle.APPENDS, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
)


class _Claims(pickle._Unpickler):
    """Follows a pickle in Python (C's allocates by numbers in the file) and imports nothing."""

    dispatch = {op[0]: pickle._Unpickler.dispatch[op[0]] for op in _OPCODES}  # noqa: RUF012

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.claims: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for what a pickle may name."""
        full = f"{module}.{name}"
        if module == "torch" and name in _STORAGES:
            return name
        if full not in _NAMEABLE:
            raise WeightsError(
                f"it holds a {full[:80]}, which only running its code could make; nothing was run",
                hint=_ALONE,
            )
        return _NAMEABLE[full]

    def persistent_load(self, claim: Any) -> None:
        """Note a storage: ("storage", class, key, device, numbers) and perhaps None."""
        word, kind, key, _, numbers, *rest = claim
        if word != "storage" or not isinstance(numbers, int) or numbers < 0 or any(rest):
            raise ValueError("no storage")
        self.claims[str(key)] = max(self.claims.get(str(key), 0), numbers * _STORAGES[kind])


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
        raise WeightsError("its weights are wrapped too deeply", hint=_ALONE)
    raise WeightsError(f"it holds {_a(found)}, not weights by name", hint=_ALONE)


def _checked(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    if not 0 < len(found) <= MAX_TENSORS:
        raise WeightsError(f"it holds {len(found)} tensors", hint=_ALONE)
    weights: dict[str, Tensor] = {}
    total = 0
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"'{str(name)[:80]}' is {_a(tensor)}, not a tensor", hint=_ALONE)
        short = _without_prefixes(name)
        if short in weights:
            raise WeightsError(f"'{short[:80]}' is there twice", hint=_ALONE)
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
    return f"a {type(thing).__name__}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
