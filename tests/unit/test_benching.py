"""``vidsr bench`` inside: figures that follow from each other, refusals that are rows, peaks, memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsr import kernels
from vidsr.backends import get_backend, nearest
from vidsr.backends.base import SessionOptions
from vidsr.benching import memory, networks
from vidsr.benching import peaks as peaks_module
from vidsr.benching.memory import memory_of
from vidsr.benching.networks import Wanted, measure_networks
from vidsr.benching.peaks import Peaks
from vidsr.benching.results import spread_of
from vidsr.benching.subjects import (
    Frames,
    Setting,
    Subject,
    find_subjects,
    format_of,
    make_frames,
    settings_of,
    through,
)
from vidsr.errors import BackendError, InferenceError, OptionsError
from vidsr.frame import PixelFormat
from vidsr.kernels import PathInfo

SIZE = (32, 24)
QUICK: dict[str, Any] = {"size": SIZE, "seconds": 0.02, "rounds": 3, "memory": False}
ENGINES = Path(__file__).parents[2] / "engines"


def test_spread_is_of_the_middle_half() -> None:
    assert spread_of([1.0, 2.0]) is None
    assert spread_of([1.0, 1.0, 1.0]) == 0
    assert spread_of([99.0, 3.0, 2.0, 1.0, 4.0]) == pytest.approx((4 - 2) / 3)


def test_models_are_found_once_and_without_a_name_the_default() -> None:
    assert [one.model.spec.id for one in find_subjects([], 3)] == ["3x-ecbsr-m4c16"]
    names = ["ecbsr", "2x-ecbsr-m4c16", "3x-rfdn-s", str(ENGINES / "2x-rfdn-s.onnx")]
    found = [one.model.spec.id for one in find_subjects(names, 2)]
    assert found == ["2x-ecbsr-m4c16", "3x-rfdn-s", "2x-rfdn-s"]


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gbrp", "gray", "yuva420p"])
def test_frames_have_something_in_them(name: str) -> None:
    pixels = PixelFormat.parse(name)
    frames = make_frames(pixels, (33, 21), (66, 42), 3)
    assert len(frames.results) == 3
    first, second = frames.sources
    for planes in frames.sources:
        pixels.check(planes, 33, 21)
    pixels.check(frames.results[0], 66, 42)
    for one, other in zip(first, second, strict=True):
        assert one.min() > 0
        assert one.max() < pixels.peak
        assert len(np.unique(one)) > 30
        assert not np.array_equal(one, other)


class _Ticket:
    def __init__(self, log: list[str], number: int, bad: int | None) -> None:
        self.log, self.number, self.bad = log, number, bad

    def result(self) -> None:
        self.log.append(f"result {self.number}")
        if self.number == self.bad:
            raise InferenceError("broken")


class _Upscaler:
    def __init__(self, in_flight: int, bad: int | None = None) -> None:
        self.in_flight, self.bad = in_flight, bad
        self.log: list[str] = []
        self.busy: dict[int, int] = {}
        self.count = 0

    def submit(self, src: Any, dst: Any) -> _Ticket:
        self.log.append(f"submit {self.count} {src} into {dst}")
        self.count += 1
        return _Ticket(self.log, self.count - 1, self.bad)


def test_as_many_frames_as_wanted_are_on_their_way() -> None:
    upscaler, frames = _Upscaler(2), Frames(("a", "b"), ("x", "y", "z"))  # type: ignore[arg-type]
    through(upscaler, frames, 4)  # type: ignore[arg-type]
    assert upscaler.log == [
        "submit 0 a into x", "submit 1 b into y", "result 0", "submit 2 a into x",
        "result 1", "submit 3 b into y", "result 2", "result 3",
    ]  # fmt: skip


def test_a_failure_waits_for_what_is_on_its_way() -> None:
    upscaler, frames = _Upscaler(3, bad=0), Frames(("a",), ("x", "y", "z"))  # type: ignore[arg-type]
    with pytest.raises(InferenceError, match="broken"):
        through(upscaler, frames, 9)  # type: ignore[arg-type]
    assert upscaler.log[3:] == ["result 0", "result 1", "result 2"]


def test_figures_follow_from_each_other() -> None:
    report = measure_networks(Wanted(backends=["openvino"], precisions=["f32"], threads=1, **QUICK))
    (row,) = report.rows
    assert (row.model, row.backend, row.precision, row.path) == ("2x-ecbsr-m4c16", "openvino", "f32", "CPU")
    assert (row.size_out, report.threads, report.rounds, row.refused) == ((64, 48), 1, 3, None)
    assert row.ms is not None
    assert row.fps == pytest.approx(1000 / row.ms)
    assert row.gops == pytest.approx(2000 * report.kmac[row.model] * 32 * 24 * row.fps / 1e9)
    assert row.frames is not None
    assert row.frames % 3 == 0
    if row.peak_path is None:  # no peak is known of this processor
        assert (row.share, report.peaks) == (None, {})
    else:
        assert row.share is not None
        assert row.share > 0  # on a machine that others use it may be anything
        assert list(report.peaks) == [row.peak_path]
        assert report.peaks[row.peak_path] > 1


def test_all_ways_have_their_turn_and_a_peak_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def turn(lane: Any, frames: Any, count: int) -> float:
        order.append(f"{lane.setting.name} {count}")
        return 0.001

    def measure(self: Peaks, path: str) -> float:
        order.append(path)
        self._found.setdefault(path, []).append(5e9)
        return 5e9

    monkeypatch.setattr(networks._Bench, "_turn", staticmethod(turn))
    monkeypatch.setattr(networks, "_NO_NETWORK", "none")
    monkeypatch.setattr(Peaks, "measure", measure)
    monkeypatch.setattr(Peaks, "path_for", lambda *_: "wide")
    wanted = Wanted(backends=["nearest", "openvino"], precisions=["f32"], **QUICK)
    report = measure_networks(wanted)
    # Opened, tried, then 7 frames (20 ms in 3 rounds of 1 ms each) a turn, each round begins with another.
    one, other = ["wide", "nearest 7"], ["wide", "openvino 7"]
    assert order[4:] == [*one, *other, *other, *one, *one, *other]
    operations = 2000 * report.kmac["2x-ecbsr-m4c16"] * 32 * 24
    assert [row.share for row in report.rows] == [pytest.approx(operations * 1000 / 5e9)] * 2
    assert report.peaks == {"wide": 5.0}


def test_what_runs_no_network_has_no_operations() -> None:
    (row,) = measure_networks(Wanted(backends=["nearest"], **QUICK)).rows
    assert row.fps is not None
    assert (row.gops, row.share, row.peak_path) == (None, None, None)


def refusals(subject: Subject, *names: str, precisions: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    options = SessionOptions()
    frame_format = format_of("yuv420p", SIZE)
    for setting in settings_of(subject, names, precisions, options, frame_format, SIZE):
        yield setting.name, setting.refused


def test_what_cannot_be_done_is_told_once_for_each_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    imdn = Subject.find("2x-imdn-rtc", 2)
    ((name, why),) = refusals(imdn, "kernel")
    assert name == "kernel"
    assert "imdn-rtc is no stack" in why or kernels.missing()
    found = list(refusals(imdn, "nearest", precisions=("f32", "bf16")))
    assert [why is None for _, why in found] == [True, False]
    assert "only the device cpu and the precision f32" in found[1][1]
    absent = type(get_backend("nearest").availability())(False, "not today")
    monkeypatch.setattr(nearest.NearestBackend, "availability", lambda self: absent)
    ((_, why),) = refusals(imdn, "nearest", precisions=("f32", "bf16"))
    assert why == "the backend nearest cannot be used here: not today"


def test_a_model_that_breaks_on_the_way_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = 0

    def submit(self: Any, src: Any, dst: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise InferenceError("the device is gone")
        return nearest._Done()

    monkeypatch.setattr(nearest._NearestSession, "submit", submit)
    (row,) = measure_networks(Wanted(backends=["nearest"], **QUICK)).rows
    assert (row.refused, row.ms, calls) == ("the device is gone", None, 4)


def test_a_damaged_model_is_a_row_and_the_others_are_measured(tmp_path: Path) -> None:
    for suffix in (".onnx", ".toml"):
        (tmp_path / f"2x-rfdn-s{suffix}").write_bytes((ENGINES / f"2x-rfdn-s{suffix}").read_bytes())
    (tmp_path / "2x-rfdn-s.onnx").write_bytes(b"damaged")
    names = [str(tmp_path / "2x-rfdn-s.onnx"), "ecbsr"]
    broken, good = measure_networks(Wanted(models=names, backends=["nearest"], **QUICK)).rows
    assert "sha256" in (broken.refused or "")
    assert (good.model, good.refused) == ("2x-ecbsr-m4c16", None)


def test_a_precision_that_a_model_does_not_offer_is_a_row() -> None:
    wanted = Wanted(models=["2x-rfdn-s"], backends=["openvino"], precisions=["f32", "int8"], **QUICK)
    good, none = measure_networks(wanted).rows
    assert (good.precision, good.refused) == ("f32", None)
    assert (none.precision, none.refused) == ("int8", "2x-rfdn-s does not offer int8")


def test_the_peak_is_the_kernels_own_or_the_fastest_of_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"plain": 0.0, "narrow": 1e9, "wide": 4e9, "half": 8e9}
    parts = ((4, 4, 4, 4), (True, False, False))
    paths = [
        PathInfo(name, "bf16" if name == "half" else "f32", 2 if name == "half" else 1, 4, *parts)
        for name in rates
    ]
    monkeypatch.setattr(kernels, "paths", lambda: tuple(paths))
    monkeypatch.setattr(kernels, "peak", lambda path, seconds: rates[path])
    peaks = Peaks(3)
    assert peaks.path_for({"path": "narrow"}, "f32") == "narrow"
    assert peaks.path_for({"path": "plain"}, "f32") is None
    assert peaks.path_for({"device": "CPU"}, "f32") == "wide"
    assert peaks.path_for({"device": "CPU"}, "bf16") == "half"
    assert peaks.path_for({"device": "CPU"}, "int8") is None
    assert peaks.path_for({"device": "GPU.0"}, "f32") is None
    assert peaks.path_for({}, "f32") is None
    assert peaks.gops({"wide", "half"}) == {"half": 24.0, "wide": 12.0}  # of three threads


@pytest.mark.parametrize(("ours", "told"), [(1.0, None), (0.5, "vidsr got 50% of them")])
def test_other_programs_are_told_of(monkeypatch: pytest.MonkeyPatch, ours: float, told: str | None) -> None:
    wall, own = itertools.count(), itertools.count()
    monkeypatch.setattr(peaks_module, "perf_counter", lambda: float(next(wall)))
    monkeypatch.setattr(peaks_module, "thread_time", lambda: ours * next(own))
    monkeypatch.setattr(kernels, "peak", lambda path, seconds: 1e9)
    peaks = Peaks(1)
    assert peaks.disturbed() is None
    peaks.measure("wide")
    found = peaks.disturbed()
    assert (found is None) if told is None else (told in (found or ""))


def _setting(device: str = "auto") -> Setting:
    subject = Subject.find("2x-ecbsr-m4c16", 2)
    return Setting(subject, get_backend("nearest"), "nearest", SessionOptions(device=device), {})


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    size, out = (960, 540), (1920, 1080)
    need, whole = memory_of(_setting(), "yuv420p", size, out, 1)
    # A plane at twice the width, and one at twice the height as well: 3 MB. Making frames took more before.
    assert 1 << 20 < need < 8 << 20
    assert need + (20 << 20) < whole < 1 << 30
    with pytest.raises(BackendError, match=r"its process ended with code 1 \(the backend nearest has only"):
        memory_of(_setting("gpu"), "yuv420p", SIZE, (64, 48), 1)


def test_memory_that_nobody_tells_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MARKS", Path("/nowhere"))
    report = measure_networks(Wanted(backends=["nearest"], **(QUICK | {"memory": True})))
    assert report.rows[0].fps is not None
    assert report.rows[0].memory_bytes is None
    (warning,) = report.warnings
    assert warning.startswith("memory of nearest f32 is not known: this system does not tell how much")


@pytest.mark.parametrize("size", [(0, 4), (4, 20000)])
def test_sizes_that_are_none(size: tuple[int, int]) -> None:
    with pytest.raises(OptionsError, match="--size takes 1x1 to 16384x16384"):
        format_of("yuv420p", size)
    with pytest.raises(OptionsError, match="no backend 'nearst'; did you mean nearest"):
        measure_networks(Wanted(backends=["nearst"]))
