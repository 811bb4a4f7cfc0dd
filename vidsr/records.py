"""Frozen dataclasses from TOML and back, strictly: a wrong key or type is an error with its place named.

Cards, recipes and jobs are all read this way. Supported field types: str, int, float, bool, Path,
Fraction, other dataclasses, tuples and dicts of these, ``X | None``, ``int | str``, and Any. A Fraction is
written as a whole number where it is one, else as "3/2"; a decimal such as 1.5 is read too, and is exact.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from vidsr.errors import VidsrError

__all__ = ["dump", "from_mapping", "load", "load_mapping", "to_mapping", "typed"]

R = TypeVar("R")
_MAX_BYTES = 1 << 20  # of a card, a recipe or a job


def load(cls: type[R], path: Path, *, error: type[VidsrError]) -> R:
    """Return a `cls` with the values of the TOML file at `path`.

    Raises:
        VidsrError: Of type `error`: the file is missing, is no TOML, or has a wrong key or value.
    """
    data = load_mapping(path, error=error)
    try:
        return from_mapping(cls, data)
    except ValueError as caught:
        raise error(str(caught), path=path) from caught


def load_mapping(path: Path, *, error: type[VidsrError]) -> dict[str, Any]:
    """Return what is in the TOML file at `path`, unchecked.

    Raises:
        VidsrError: Of type `error`: the file is missing, too large, or no TOML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES >> 20} MiB")
        return tomllib.loads(text.decode("utf-8"))
    except RecursionError as caught:
        raise error("cannot read this TOML file (it is nested too deeply)", path=path) from caught
    except (OSError, ValueError) as caught:  # of which UnicodeDecodeError and TOMLDecodeError are kinds
        raise error(f"cannot read this TOML file ({caught})", path=path) from caught


def dump(record: object) -> str:
    """Return the record as TOML text; fields that are None are left out."""
    return tomli_w.dumps(to_mapping(record))


def from_mapping(cls: type[R], data: Mapping[str, Any], where: str = "") -> R:
    """Return a `cls` with the values of `data`.

    Raises:
        ValueError: An unknown or missing key, or a value of the wrong type; `cls` may raise its own.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = _hints(cls)  # type: ignore[arg-type]
    values = typed({name: hints[name] for name in fields}, data, where)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(f"the key '{where}{name}' is missing")
    return cls(**values)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def typed(hints: Mapping[str, Any], data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return the values of `data` as the types that `hints` gives each key; keys may be left out.

    Raises:
        ValueError: An unknown key, or a value of the wrong type.
    """
    for key in data:
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            meant = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(hints)}"
            raise ValueError(f"unknown key '{where}{key}'{meant}")
    return {key: _convert(hint, data[key], f"{where}{key}") for key, hint in hints.items() if key in data}


def to_mapping(record: object, *, keep_none: bool = False) -> dict[str, Any]:
    """Return the record as plain dicts, lists, strings and numbers.

    Args:
        record: A dataclass.
        keep_none: Whether fields that are None stay, for JSON with the same keys always; TOML has no None.
    """
    pairs = ((f.name, getattr(record, f.name)) for f in dataclasses.fields(record))  # type: ignore[arg-type]
    return {name: _plain(value, keep_none) for name, value in pairs if keep_none or value is not None}


def _plain(value: Any, keep_none: bool) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value, keep_none=keep_none)
    if isinstance(value, Mapping):
        pairs = ((str(key), item) for key, item in value.items() if keep_none or item is not None)
        return {key: _plain(item, keep_none) for key, item in pairs}
    if isinstance(value, tuple | list):
        return [_plain(item, keep_none) for item in value]
    if isinstance(value, frozenset):
        return sorted(_plain(item, keep_none) for item in value)
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    return str(value) if isinstance(value, Path | Fraction) else value


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        kinds = [a for a in arguments if a is not type(None)]
        return _convert(type(value) if type(value) in kinds else kinds[0], value, where)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(typing.cast("type[Any]", hint), value, f"{where}.")
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            pairs = zip(kinds, value, strict=True)
            return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(pairs))
    if origin is dict and isinstance(value, Mapping):
        return {k: _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is typing.Literal and value in arguments:
        return value
    if (hint is Path and isinstance(value, str)) or (
        hint is Fraction and isinstance(value, str | int | float) and not isinstance(value, bool)
    ):
        try:
            if isinstance(value, str) and hint is Fraction and "e" in value.lower():
                raise ValueError("1e999999999 would take all memory")
            return hint(str(value))  # of a float its shortest decimal: 1.1 is 11/10
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"'{where}' cannot be {value!r}") from error
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    wanted = " or ".join(map(repr, arguments)) if origin is typing.Literal else _name(hint)
    raise ValueError(f"'{where}' must be {wanted}, not {value!r}")


def _name(hint: Any) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
