"""Which model makes a result, and by which way it gets to the target's size: all of it is decided here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Literal

from vidsr.backends.base import Backend, Precision
from vidsr.errors import OptionsError
from vidsr.job import AUTO, Job
from vidsr.models.lookup import Model, find_model, named_model, scales_of
from vidsr.models.resize import LANCZOS
from vidsr.video.compression import Compression

__all__ = [
    "AUTO_NETWORK",
    "FINE_QP",
    "HARD_QP",
    "MANY_BITS",
    "Choice",
    "automatic_model",
    "choose_model",
    "choose_precision",
    "kind_for",
    "way_to",
]

AUTO_NETWORK = "ecbsr"
"""The network of the model `AUTO`: the one that keeps up with video on a CPU."""

HARD_QP = 14.0
"""From this quantiser on, on H.264's scale, models for compressed video are ahead of those for clean sources
(measured, see docs/performance.md), unless `MANY_BITS` says otherwise."""

FINE_QP = 10.0
"""Below this quantiser nothing else is looked at."""

MANY_BITS: dict[str, float] = {"h264": 0.4, "hevc": 0.33}
"""Bits a pixel from which on models for clean sources are ahead, by codec, where this tells better than the
quantiser: detail that is worth many bits survives a coarse step, and soft pictures of few bits gain nothing
from a fine one (measured, see docs/performance.md)."""

_Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Choice:
    """A model for a job."""

    model: Model
    reason: str
    """Why this one, in words."""
    way: str
    """How it gets to the target: "2x network, then down to 1.5x (Lanczos)"."""


def choose_model(
    name: str,
    source: _Size,
    target: _Size,
    label: str,
    *,
    value_range: Literal[1, 255] | None = None,
    folders: list[Path] | None = None,
    look: Callable[[], Compression] | None = None,
) -> Choice:
    """Return the model that brings a source to a target, and the way it does.

    An id or a file is taken at any target. Of a network's or variant's models the one whose scale is the
    target's is taken, or else the one whose scale is nearest to it as a ratio; of two that are equally near
    the larger, for less is lost on the way down than on the way up.

    `AUTO` is the default of `AUTO_NETWORK`, or what there is of it for compressed video where the source
    is such; see `kind_for`. The kind comes before the scale: on compressed sources the 2x network for them,
    and Lanczos from there to 3x or 4x, is ahead of those for clean sources at 3x or 4x (docs/performance.md).

    Args:
        name: As for `find_model`, or `AUTO`.
        source: Width and height.
        target: Width and height.
        label: What the target is called: "1.5x", "1920x1080".
        value_range: As for `find_model`.
        folders: Where to look for models; None: the installed ones.
        look: Tells how hard the source was compressed; called for `AUTO` only. None: it is clean.

    Raises:
        UnknownModelError: There is none of that name, or several are meant.
        ModelError: The file or its card is missing or wrong.
        OptionsError: The target is the source's own size, and the model is not one that only restores.
    """
    compression = look() if name == AUTO and look is not None else None
    wanted, name = name, AUTO_NETWORK if name == AUTO else name
    model = named_model(name, folders, value_range=value_range)
    if model is not None:
        reason = "as it was named"
    else:
        kind, why = kind_for(compression) if wanted == AUTO else ("clean", "")
        scales = scales_of(name, folders) if wanted != AUTO else _automatic_scales(kind, folders)
        if source != target:
            scales = [s for s in scales if s > 1] or scales  # those of 1x only restore
        scale = _nearest(scales, source, target)
        model = find_model(name, scale, folders, kind=kind)
        special = wanted == AUTO and model.spec.kind == "video"
        called = f"'{name}' for compressed video" if special else f"'{name}'"
        reason = _reason(called, model, scales, label, equal=_equal(model, source, target))
        if why:
            lacks = "" if model.spec.kind == kind else f", but there is no {kind} model"
            reason = f"{why}{lacks}; {reason}"
    if source == target and (model.spec.input, model.spec.scale) != ("low", 1):
        raise OptionsError(
            f"the result would be as large as the source, {source[0]}x{source[1]}",
            hint="ask for a larger --scale or --size",
        )
    return Choice(model, reason, way_to(model, source, target, label))


def choose_precision(job: Job, model: Model, backend: Backend) -> tuple[Precision, list[str]]:
    """Return the precision that a job's network runs in, and what to warn of."""
    if job.fast and job.precision == "auto":
        lacks = f"{model.spec.id} does not offer it" if not model.offers("int8") else ""
        if not lacks and "int8" not in backend.availability().precisions:
            lacks = f"the backend {backend.name} does not run it here"
        if not lacks:
            return "int8", []
        return _plain_precision(job, model), [f"--fast is int8 where there is one; {lacks}"]
    return _plain_precision(job, model), []


def _plain_precision(job: Job, model: Model) -> Precision:
    # On 0..255 the skip connection stays inside the graph, where bf16 would cost up to 6 code values.
    return "f32" if job.precision == "auto" and model.spec.value_range == 255 else job.precision


def automatic_model(kind: Literal["clean", "video"], scale: int) -> Model:
    """Return what `AUTO` takes of the installed models for a kind of source, to enlarge it `scale` times.

    Raises:
        UnknownModelError: There is none.
    """
    nearest = _nearest(_automatic_scales(kind, None), (1, 1), (scale, scale))
    return find_model(AUTO_NETWORK, nearest, kind=kind)


def _automatic_scales(kind: Literal["clean", "video"], folders: list[Path] | None) -> list[int]:
    return scales_of(AUTO_NETWORK, folders, kind=kind) or scales_of(AUTO_NETWORK, folders)


def kind_for(compression: Compression | None) -> tuple[Literal["clean", "video"], str]:
    """Return the kind of model that is ahead on a source, and why, in words.

    Of a coder that tells nothing a source is taken as compressed: on a clean one the models for video lose
    less than the others do on a compressed one.
    """
    if compression is None:
        return "clean", "nothing is known of the source's compression"
    told = f"the source is {compression}"
    if compression.source == "lossless":
        return "clean", told
    most, bits = MANY_BITS.get(compression.codec), compression.bits_per_pixel
    if most is not None and bits is not None and bits >= most:
        return "clean", f"{told}, enough for a clean picture"
    limit = HARD_QP if most is None or bits is None else FINE_QP
    if compression.quantiser is not None and compression.quantiser < limit:
        return "clean", f"{told}, as good as clean"
    return "video", told


def _reason(called: str, model: Model, scales: Sequence[int], label: str, *, equal: bool) -> str:
    if model.spec.input == "target":
        return f"{called} works at any size"
    if equal:
        return f"what {called} means at {model.spec.scale}x"
    if len(scales) == 1:
        return f"{called} is there at {model.spec.scale}x only"
    there = ", ".join(f"{s}x" for s in scales)
    return f"of {called} at {there}, {model.spec.scale}x is the nearest to {label}"


def _nearest(scales: Sequence[int], source: _Size, target: _Size) -> int:
    """Return the scale with the smallest |log(scale / wanted)|; without any the one to complain about.

    Wanted is the geometric mean of both axes' magnifications; squares are compared, which are rational.
    """
    area = Fraction(target[0] * target[1], source[0] * source[1])
    if not scales:
        return 1 if source == target else max(2, round(sqrt(area)))
    return min(scales, key=lambda s: (max(s * s / area, area / (s * s)), -s))


def _equal(model: Model, source: _Size, target: _Size) -> bool:
    return target == (source[0] * model.spec.scale, source[1] * model.spec.scale)


def way_to(model: Model, source: _Size, target: _Size, label: str) -> str:
    """Return in words how a model gets from a source's size to a target's."""
    spec = model.spec
    if spec.input == "target":
        return f"bicubic up to {label}, then a network that works at that size"
    network = f"{spec.scale}x network"
    if _equal(model, source, target):
        return network
    made = (source[0] * spec.scale, source[1] * spec.scale)
    if target[0] <= made[0] and target[1] <= made[1]:
        how = "down to"
    elif target[0] >= made[0] and target[1] >= made[1]:
        how = "up to"
    else:
        across, down = ("up", "down") if target[0] > made[0] else ("down", "up")
        how = f"{across} across and {down} vertically to"
    return f"{network}, then {how} {label} ({LANCZOS.name})"
