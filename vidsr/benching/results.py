"""What was measured, for tables and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

__all__ = ["Machine", "NetworkReport", "Passage", "PipelineReport", "Row", "StageShare", "spread_of"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    vidsr: str
    """Version."""
    processor: str
    cores: int
    """That this process may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model on a backend in a precision; None: not measured, not known, or there is none."""

    model: str
    backend: str
    precision: str
    """As it came out where auto was asked for; "-": none was tried."""
    path: str | None = None
    """Set of instructions of the compiled kernels, or device."""
    refused: str | None = None
    """Why it cannot be done here; all that follows is None then."""
    size_out: tuple[int, int] | None = None
    frames: int | None = None
    """Timed, all rounds together."""
    ms: float | None = None
    """Milliseconds a frame, median of the rounds."""
    spread: float | None = None
    """See `spread_of`."""
    fps: float | None = None
    gops: float | None = None
    """1e9 operations a second: a multiplication and its addition are two, convolutions only."""
    peak_path: str | None = None
    """Whose instruction gives the peak; see `NetworkReport.peaks`."""
    share: float | None = None
    """`gops` over the peak measured beside it, median of the rounds."""
    memory_bytes: int | None = None
    """What opening the network and frames through it add, at most, to a process that holds the frames."""
    process_bytes: int | None = None
    """That process in all, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """What ``vidsr bench`` found."""

    machine: Machine
    size: tuple[int, int]
    """Width and height of the frames."""
    pixel_format: str
    threads: int
    rounds: int
    kmac: dict[str, float]
    """Model -> thousands of multiplications a pixel of the network's input."""
    rows: tuple[Row, ...]
    peaks: dict[str, float]
    """Set of instructions -> 1e9 operations a second of the registers, all threads together."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageShare:
    """How a stage spent its time, in shares of it."""

    name: str
    busy: float
    starved: float
    """Waiting for the stage before it."""
    blocked: float
    """Waiting for the stage after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A clip through the pipeline, several times."""

    encoder: str | None
    """None: frames were dropped behind the network."""
    encoder_options: dict[str, str]
    fps: float
    """Median of the rounds; emptying the encoder counts, opening and joining do not."""
    fps_least: float
    fps_most: float
    cores_busy: float
    """Share of this process's cores that it used, while frames flowed."""
    stages: tuple[StageShare, ...]
    """Over all rounds."""
    emptying: float
    """Seconds a run from the last frame's arrival at the encoder until it is empty, median."""
    finish: float
    """Seconds a run for joining and verifying, median."""
    limited_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineReport:
    """What ``vidsr bench --pipeline`` found."""

    machine: Machine
    source: str
    frames: int
    """Of a run."""
    size_in: tuple[int, int]
    size_out: tuple[int, int]
    pixel_format: str
    model: str
    backend: str
    path: str | None
    precision: str
    threads: int
    rounds: int
    without_encoding: Passage
    with_encoding: Passage
    ratio: float
    """Frames a second with encoding over those without, median of the rounds."""
    warnings: tuple[str, ...] = ()


def spread_of(times: Sequence[float]) -> float | None:
    """Return how far the middle half of some times lies apart, as a share of their median; None: too few."""
    if len(times) < 3:
        return None
    low, _, high = quantiles(times, n=4, method="inclusive")
    return (high - low) / median(times)
