"""int8 in OpenVINO: sums are whole on every processor, or it says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vidsr.backends import openvino
from vidsr.backends.base import SessionOptions
from vidsr.backends.openvino_int8 import INTEGERS, _largest_sum, int8_settings
from vidsr.cli import _run
from vidsr.errors import BackendUnavailableError
from vidsr.frame import PixelFormat
from vidsr.job import Job
from vidsr.models.deploy import FrameFormat
from vidsr.models.lookup import find_model
from vidsr.runtime import choose_runtime

FLOATS = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32"}
WHOLE = 255 * 127 * 9 * 16
CPU = Path("/proc/cpuinfo")


class Core:
    """An OpenVINO whose sums lose half without a setting, or that refuses the setting as well."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.asked: list[dict[str, str]] = []

    def compile_model(self, graph: Any, device: str, settings: dict[str, str]) -> Any:
        assert (device, settings["INFERENCE_PRECISION_HINT"]) == ("CPU", "f32")
        self.asked.append(settings)
        if "LP_TRANSFORMS_MODE" not in settings:
            whole = openvino._core().compile_model(graph, device, FLOATS)
            return lambda x: [whole(x)[0] / 2]
        if self.refuses:
            raise RuntimeError("unknown setting")
        return openvino._core().compile_model(graph, device, settings)


@pytest.fixture
def halving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenVINO finds itself on a processor without VNNI."""
    openvino._int8_settings.cache_clear()
    monkeypatch.setattr(openvino, "int8_settings", lambda module, core: FLOATS)
    yield
    openvino._int8_settings.cache_clear()


def test_sums_are_whole_here() -> None:
    module, core = openvino._import_quietly(), openvino._core()
    assert _largest_sum(module, core, int8_settings(module, core)) == WHOLE
    assert _largest_sum(module, core, FLOATS) == WHOLE


@pytest.mark.skipif(not CPU.exists() or " avx2 " not in CPU.read_text(), reason="for processors with AVX2")
def test_integers_are_taken_where_the_processor_sums_them_whole() -> None:
    flags = CPU.read_text().split()
    able = {"avx512_vnni", "avx_vnni"} & set(flags)
    assert (int8_settings(openvino._import_quietly(), openvino._core()) == INTEGERS) == bool(able)


def test_floats_where_integers_lose_something() -> None:
    core = Core()
    assert int8_settings(openvino._import_quietly(), core) == FLOATS
    assert ["LP_TRANSFORMS_MODE" in settings for settings in core.asked] == [False, True]


def test_refused_where_nothing_helps() -> None:
    with pytest.raises(BackendUnavailableError, match="has no VNNI") as caught:
        int8_settings(openvino._import_quietly(), Core(refuses=True))
    assert caught.value.hint == "use --precision f32, or --backend kernel"


@pytest.mark.usefixtures("halving")
def test_fast_is_f32_where_int8_would_be_computed_in_floats() -> None:
    """RGB frames go to OpenVINO."""
    model, form = find_model("ecbsr", 2), FrameFormat(PixelFormat.parse("gbrp"))
    assert openvino.BACKEND.resolve(SessionOptions(precision="int8"))["int8_sums"] == "floats"
    made = choose_runtime(Job(source="a.mp4", fast=True), model, form, (32, 24), (64, 48))
    assert (made.model.precision, made.session.precision) == ("f32", "auto")
    assert made.notes == (
        "--fast is int8 where there is one; without VNNI this processor has OpenVINO compute it in floats,"
        " no faster than f32",
    )
    asked = choose_runtime(Job(source="a.mp4", precision="int8"), model, form, (32, 24), (64, 48))
    assert (asked.model.precision, asked.resolved["int8_sums"]) == ("int8", "floats")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (INTEGERS, "int8"),
        (FLOATS, "int8 (int8 summed in floats: no faster than f32, this processor has no VNNI)"),
        (None, "int8 (int8 is not used: sums overflow)"),
    ],
)
def test_doctor_tells(
    settings: dict[str, str] | None,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def found() -> dict[str, str]:
        if settings is None:
            raise BackendUnavailableError("sums overflow")
        return settings

    monkeypatch.setattr(openvino, "_int8_settings", found)
    assert _run(["doctor"]) == 0
    line = next(
        x for x in capfd.readouterr().out.splitlines() if x.startswith("  openvino  ") and " on " in x
    )
    assert line.endswith(f", {told}")
