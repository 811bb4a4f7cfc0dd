"""The options of a job as they are typed, into fields of `Job`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from vidsr.errors import OptionsError
from vidsr.job import parse_scale, parse_time

__all__ = ["JOB_OPTIONS", "job_fields", "with_options_of"]


F = TypeVar("F", bound=Callable[..., Any])


def _as_it_is(value: Any) -> Any:
    return value


def _one_of(option: str, *choices: str | int) -> Callable[[Any], Any]:
    def check(value: str | int) -> Any:
        if value not in choices:
            raise OptionsError(f"{option} takes {', '.join(map(str, choices))}, not '{value}'")
        return value

    return check


def _pairs(texts: list[str]) -> dict[str, str]:
    return dict(map(_key_value, texts))


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise OptionsError(f"-e takes key=value, not '{text}'")
    return key, value


_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "scale": ("scale", parse_scale),
    "model_range": ("model_range", _one_of("--model-range", 1, 255)),
    "precision": ("precision", _one_of("--precision", "auto", "f32", "bf16", "f16", "int8")),
    "reuse": ("reuse", _one_of("--reuse", "auto", "off")),
    "chroma": ("chroma", _one_of("--chroma", "bicubic", "nearest")),
    "deinterlace": ("deinterlace", _one_of("--deinterlace", "auto", "off", "frame", "field", "idet")),
    "hwaccel": ("hwaccel", _one_of("--hwaccel", "none", "auto", "cuda")),
    "encoder_option": ("encoder_options", _pairs),
    "on_error": ("on_error", _one_of("--on-error", "stop", "skip", "conceal")),
    "drop": ("drop", tuple),
    "start": ("start", parse_time),
    "end": ("end", parse_time),
    "verify": ("verify", _one_of("--verify", "packets", "full")),
} | {
    name: (name, _as_it_is)
    for name in (
        "model size backend device fast tile codec crf preset pix_fmt video_stream frames threads"
        " encoder_threads segment_frames overwrite discard allow_network"
    ).split()
}

JOB_OPTIONS = frozenset(_FIELDS)
"""Parameters of ``vidsr upscale`` that are options of a job."""


def job_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of `Job` for options by their parameters' names; what is None or empty is left out.

    Raises:
        OptionsError: A value that its option does not take.
    """
    fields = {}
    for name, value in given.items():
        field, convert = _FIELDS[name]
        if value is not None and value != []:
            fields[field] = convert(value)
    return fields


def with_options_of(lender: Callable[..., Any], names: Collection[str]) -> Callable[[F], F]:
    """Return a decorator that gives a command some of another's options instead of its ``**options``.

    Args:
        lender: The other command; its defaults, words and panels come with the options.
        names: Of its parameters.
    """

    def lend(function: F) -> F:
        own = inspect.signature(function, eval_str=True)
        lent = inspect.signature(lender, eval_str=True).parameters
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        kept += [p for name, p in lent.items() if name in names]
        function.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
        function.__annotations__ = {p.name: p.annotation for p in kept} | {"return": None}
        return function

    return lend
