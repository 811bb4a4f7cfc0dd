"""Networks side by side: all ways to run a model are open at once and take turns, round by round.

A machine's speed changes while it is measured: neighbours come and go, clocks rise and fall. So every round
has a little of everything, each beside a measurement of the registers, and medians over the rounds are told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter

from vidsr.backends.base import SessionOptions
from vidsr.benching.memory import memory_of
from vidsr.benching.peaks import Peaks
from vidsr.benching.results import Machine, NetworkReport, Row, spread_of
from vidsr.benching.subjects import (
    Frames,
    Setting,
    Subject,
    find_subjects,
    format_of,
    known_backends,
    make_frames,
    settings_of,
    through,
)
from vidsr.cores import processor, usable_cores
from vidsr.errors import BackendError, ModelError, OptionsError, one_line
from vidsr.identity import own_version
from vidsr.models.cost import cost_of
from vidsr.upscaler import Upscaler

__all__ = ["Wanted", "machine", "measure_networks"]

_NO_NETWORK = "nearest"  # whose operations are none of the model's


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to measure, and how long."""

    models: Sequence[str] = ()
    """Names as for ``--model``; none: what auto takes for clean sources."""
    scale: int = 2
    """Where a name leaves it open."""
    size: tuple[int, int] = (960, 540)
    """Width and height of the frames."""
    pixel_format: str = "yuv420p"
    backends: Sequence[str] = ()
    """None: those of auto."""
    precisions: Sequence[str] = ()
    """None: all that a backend has."""
    device: str = "auto"
    threads: int = 0
    """0: all cores."""
    seconds: float = 3.0
    """For each way to run a model, all rounds together, without what is opened and tried before."""
    rounds: int = 7
    memory: bool = True
    """Whether to measure memory, too; each way takes a process of its own."""


def machine() -> Machine:
    """Return where this is measured."""
    return Machine(own_version(), processor(), usable_cores())


def measure_networks(
    wanted: Wanted, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> NetworkReport:
    """Measure each way to run each model; one that cannot be done is a row that says why.

    Args:
        wanted: What to measure.
        progress: Called with what comes next, and how much of all is done.

    Raises:
        OptionsError: A size, format or backend's name is none.
        UnknownModelError: A model's name is none.
        ModelError: A model's file or card is missing or wrong.
    """
    frame_format = format_of(wanted.pixel_format, wanted.size)
    known_backends(wanted.backends)
    subjects = find_subjects(wanted.models, wanted.scale)
    threads = wanted.threads or usable_cores()
    peaks = Peaks(threads)
    rows: list[Row] = []
    kmac: dict[str, float] = {}
    warnings: list[str] = []
    for number, subject in enumerate(subjects):
        name = subject.model.spec.id

        def told(what: str, share: float, name: str = name, number: int = number) -> None:
            progress(f"{name} {what}".rstrip(), (number + share) / len(subjects))

        told("", 0.0)
        try:
            kmac[name] = cost_of(subject.model).kmac
        except ModelError as error:
            rows.append(Row(model=name, backend="-", precision="-", refused=one_line(str(error))))
            continue
        bench = _Bench(wanted, subject, kmac[name], peaks, threads)
        rows += bench.measure(told)
        warnings += bench.warnings
    warnings += filter(None, [peaks.disturbed()])
    return NetworkReport(
        machine=machine(),
        size=wanted.size,
        pixel_format=frame_format.pixel_format.name,
        threads=threads,
        rounds=wanted.rounds,
        kmac=kmac,
        rows=tuple(rows),
        peaks=peaks.gops({row.peak_path for row in rows if row.peak_path}),
        warnings=tuple(dict.fromkeys(warnings)),
    )


@dataclass(slots=True)
class _Lane:
    """A way to run a model, open."""

    setting: Setting
    upscaler: Upscaler
    peak_path: str | None
    count: int = 1
    """Frames a round."""
    seconds: list[float] = field(default_factory=list)
    """For a frame, in each round."""
    peaks: list[float] = field(default_factory=list)
    """Operations a second of the registers, beside each."""
    refused: str | None = None


class _Bench:
    """All ways to run one model."""

    def __init__(self, wanted: Wanted, subject: Subject, kmac: float, peaks: Peaks, threads: int) -> None:
        self._wanted, self._subject, self._peaks = wanted, subject, peaks
        self._operations = 2000 * kmac * wanted.size[0] * wanted.size[1]
        self._format = format_of(wanted.pixel_format, wanted.size)
        self._options = SessionOptions(device=wanted.device, threads=threads)
        self.warnings: list[str] = []

    def measure(self, told: Callable[[str, float], None]) -> list[Row]:
        """Return a row for each way."""
        wanted = self._wanted
        settings = list(
            settings_of(
                self._subject,
                wanted.backends,
                wanted.precisions,
                self._options,
                self._format,
                wanted.size,
            )
        )
        with ExitStack() as stack:
            lanes = []
            for setting in settings:
                told(f"opens {setting.name} {setting.precision}", 0.0)
                lanes.append(self._opened(setting, stack))
            running = [lane for lane in lanes if isinstance(lane, _Lane)]
            if running:
                self._time(running, told)
            rows = [lane if isinstance(lane, Row) else self._row(lane) for lane in lanes]
        if not wanted.memory:
            return rows
        pairs = list(zip(rows, lanes, strict=True))
        found = []
        for number, (row, lane) in enumerate(pairs):
            told(f"memory of {row.backend} {row.precision}", 0.75 + 0.25 * number / len(pairs))
            found.append(self._with_memory(row, lane) if isinstance(lane, _Lane) else row)
        return found

    def _opened(self, setting: Setting, stack: ExitStack) -> _Lane | Row:
        if setting.refused is not None:
            return self._refusal(setting, setting.refused)
        try:
            upscaler = stack.enter_context(setting.open(self._format, self._wanted.size))
        except (BackendError, ModelError, OptionsError) as error:  # such as a model without int8
            return self._refusal(setting, error.message)
        self.warnings += upscaler.notes
        path = None
        if setting.name != _NO_NETWORK:
            path = self._peaks.path_for(setting.runtime, setting.precision)
        return _Lane(setting, upscaler, path)

    def _time(self, lanes: list[_Lane], told: Callable[[str, float], None]) -> None:
        wanted, out = self._wanted, lanes[0].upscaler.size_out
        places = max(lane.upscaler.in_flight for lane in lanes)
        frames = make_frames(self._format.pixel_format, wanted.size, out, places)
        told("warms up", 0.0)
        for lane in lanes:
            self._turn(lane, frames, lane.upscaler.in_flight)
            lane.count = lane.upscaler.in_flight
            each = self._turn(lane, frames, lane.count)
            lane.count = max(lane.count, round(wanted.seconds / wanted.rounds / each))
        share = 0.75 if wanted.memory else 1.0
        for number in range(wanted.rounds):
            told(f"round {number + 1} of {wanted.rounds}", share * number / wanted.rounds)
            first = number % len(lanes)  # so that none always comes behind the same other
            for lane in lanes[first:] + lanes[:first]:
                peak = self._peaks.measure(lane.peak_path) if lane.peak_path else 0.0
                each = self._turn(lane, frames, lane.count)
                lane.seconds.append(each)
                lane.peaks.append(peak)

    @staticmethod
    def _turn(lane: _Lane, frames: Frames, count: int) -> float:
        """Return seconds a frame; a way that fails is not tried again."""
        if lane.refused is not None:
            return 1.0
        began = perf_counter()
        try:
            through(lane.upscaler, frames, count)
        except BackendError as error:
            lane.refused = error.message
        return max(1e-9, (perf_counter() - began) / count)

    def _refusal(self, setting: Setting, why: str) -> Row:
        return Row(
            model=self._subject.model.spec.id,
            backend=setting.name,
            precision=setting.precision,
            path=setting.path,
            refused=one_line(why),
        )

    def _row(self, lane: _Lane) -> Row:
        if lane.refused is not None:
            return self._refusal(lane.setting, lane.refused)
        each = median(lane.seconds)
        counts = lane.setting.name != _NO_NETWORK
        share = None
        if lane.peak_path:
            pairs = zip(lane.seconds, lane.peaks, strict=True)
            share = median(self._operations / one / peak for one, peak in pairs)
        return Row(
            model=self._subject.model.spec.id,
            backend=lane.setting.name,
            precision=lane.setting.precision,
            path=lane.setting.path,
            size_out=lane.upscaler.size_out,
            frames=lane.count * len(lane.seconds),
            ms=1000 * each,
            spread=spread_of(lane.seconds),
            fps=1 / each,
            gops=self._operations / each / 1e9 if counts else None,
            peak_path=lane.peak_path,
            share=share,
        )

    def _with_memory(self, row: Row, lane: _Lane) -> Row:
        if row.refused is not None:
            return row
        size, out, name = self._wanted.size, lane.upscaler.size_out, self._format.pixel_format.name
        try:
            need, whole = memory_of(lane.setting, name, size, out, lane.upscaler.in_flight)
        except BackendError as error:
            self.warnings.append(f"memory of {row.backend} {row.precision} is not known: {error.message}")
            return row
        return replace(row, memory_bytes=need, process_bytes=whole)
