"""What a checkpoint names and claims, found out without running it or taking memory for it.

torch's own ``weights_only=True`` runs nothing foreign, but makes arrays of any size that a file asks for. So
the pickle is followed first, with stand-ins for what it names: only what `torch.save` writes for plain
tensors may be named, and no storage may claim more bytes than the file has for it.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from vidsr.errors import WeightsError

__all__ = ["FETCH_AGAIN", "SAVE_ALONE", "check_claims", "first_line"]

MAX_PICKLE_BYTES = 2 << 20
SAVE_ALONE = "save the weights alone: torch.save(network.state_dict(), 'weights.pth')"
FETCH_AGAIN = "fetch the file again"

_BROKEN = (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises for archives that are none."""

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


def check_claims(data: bytes) -> None:
    """Check a file's bytes before torch reads them.

    Raises:
        WeightsError: It is no checkpoint, is damaged, names more than tensors, or claims what it has not.
    """
    if data.startswith(b"PK"):
        _check_archive(data)
    else:
        _check_legacy(data)


def first_line(error: BaseException) -> str:
    """Return what a library's error says, in short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _check_archive(data: bytes) -> None:
    """Check a zip archive, as torch writes since 1.6, without unpacking anything."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            names = [name for name in entries if name.endswith("/data.pkl")]
            if any(name.endswith("/constants.pkl") for name in entries):
                raise WeightsError("this is a TorchScript program, not a checkpoint", hint=SAVE_ALONE)
            if len(names) != 1:
                raise WeightsError("this archive is no checkpoint of torch", hint="name a .pth file")
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values())
            if (
                packed
                or len(entries) < len(archive.infolist())
                or sum(e.file_size for e in entries.values()) > len(data)
            ):
                raise WeightsError("this archive is packed as torch never packs one", hint=SAVE_ALONE)
            if entries[names[0]].file_size > MAX_PICKLE_BYTES:
                raise WeightsError("this archive's table of contents is too long", hint=SAVE_ALONE)
            program = archive.read(names[0])
    except _BROKEN as error:
        why = f"this file is damaged or cut off ({first_line(error)})"
        raise WeightsError(why, hint=FETCH_AGAIN) from error
    folder = names[0].removesuffix("data.pkl")
    for key, size in _claims(io.BytesIO(program)).items():
        entry = entries.get(f"{folder}data/{key}")
        if entry is None or entry.file_size < size:
            held = 0 if entry is None else entry.file_size
            raise WeightsError(f"it claims {size} bytes of weights where it has {held}", hint=FETCH_AGAIN)


def _check_legacy(data: bytes) -> None:
    """Check a file as torch wrote them before 1.6: pickles one after the other, then the numbers."""
    stream = io.BytesIO(data[:MAX_PICKLE_BYTES])
    claims: dict[str, int] = {}
    for _ in range(4):  # a magic number, the version, the machine, the weights
        claims |= _claims(stream)
    if sum(claims.values()) > len(data):
        raise WeightsError(
            f"it claims {sum(claims.values())} bytes of weights where it has {len(data)}", hint=FETCH_AGAIN
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
                hint=SAVE_ALONE,
            )
        return _NAMEABLE[full]

    def persistent_load(self, claim: Any) -> None:
        """Note a storage: ("storage", class, key, device, numbers) and perhaps None."""
        word, kind, key, _, numbers, *rest = claim
        if word != "storage" or not isinstance(numbers, int) or numbers < 0 or any(rest):
            raise ValueError("no storage")
        self.claims[str(key)] = max(self.claims.get(str(key), 0), numbers * _STORAGES[kind])
