"""``vidsr bench`` as a stranger uses it: tables at any width, JSON with all keys, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip

from vidsr.benching.results import Machine, NetworkReport, Passage, PipelineReport, Row, StageShare
from vidsr.cli import _run, bench_tables
from vidsr.cli.bench_tables import networks_told, pipeline_told

QUICK = "--size 32x24 --seconds 0.02 --rounds 3 --no-memory".split()
MACHINE = Machine("1.0", "A Processor of Some Name", 2)
GOOD = Row(
    model="2x-ecbsr-m4c16",
    backend="kernel",
    precision="bf16",
    path="avx512-bf16",
    size_out=(1920, 1080),
    frames=70,
    ms=27.123,
    spread=0.041,
    fps=36.87,
    gops=379.9,
    peak_path="avx512-bf16",
    share=0.834,
    memory_bytes=3_100_000,
    process_bytes=90_000_000,
)
BAD = Row(model="2x-ecbsr-m4c16", backend="openvino", precision="int8", refused="CPU does not compute int8")
REPORT = NetworkReport(
    machine=MACHINE,
    size=(960, 540),
    pixel_format="yuv420p",
    threads=1,
    rounds=7,
    kmac={"2x-ecbsr-m4c16": 9.936},
    rows=(GOOD, BAD),
    peaks={"avx512-bf16": 455.4},
    warnings=("something",),
)


def answer(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert _run(["bench", *arguments]) == code
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_a_line_a_combination() -> None:
    lines = networks_told(REPORT, None).splitlines()
    assert lines[0] == "1 thread of A Processor of Some Name (2 cores), vidsr 1.0; medians of 7 rounds"
    assert lines[2] == "2x-ecbsr-m4c16: 960x540 to 1920x1080, yuv420p, 10.3 GOP a frame"
    assert lines[3:6] == [
        "backend             precision    ms  spread   fps  GOP/s  of peak  memory",
        "kernel avx512-bf16  bf16       27.1      4%  36.9    380      83%    3 MB",
        "openvino            int8       CPU does not compute int8",
    ]
    assert "avx512-bf16 455 GOP/s" in " ".join(lines)
    assert lines[-1] == "warning: something"


@pytest.mark.parametrize("width", [24, 40, 72, 73, 80, 200])
def test_it_fits_every_terminal(width: int) -> None:
    text = networks_told(REPORT, width)
    assert max(map(len, text.splitlines())) <= width
    assert ("backend  " in text) is (width >= 73)
    words = " ".join(text.split())
    for figure in ("27.1", "4%", "36.9", "380", "83%", "3 MB", "CPU does not compute int8"):
        assert figure in words


def test_nothing_to_explain_where_nothing_was_measured() -> None:
    text = networks_told(
        NetworkReport(
            **{f.name: getattr(REPORT, f.name) for f in fields(REPORT)}
            | {"rows": (BAD,), "peaks": {}, "warnings": ()}
        ),
        None,
    )
    assert text.splitlines()[2:] == [
        "2x-ecbsr-m4c16: 960x540, yuv420p, 10.3 GOP a frame",
        "openvino  int8       CPU does not compute int8",
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "-"), (0.0123, "0.01"), (9.994, "9.99"), (9.996, "10.0"), (99.96, "100"), (12345.6, "12346")],
)
def test_three_digits(value: float | None, told: str) -> None:
    assert bench_tables._figure(value) == told


def test_json_has_every_key_always(capfd: pytest.CaptureFixture[str]) -> None:
    precisions = ["--precision", "f32", "--precision", "bf16"]
    found = json.loads(answer(capfd, *QUICK, "--backend", "nearest", *precisions, "--threads", "1", "--json"))
    assert set(found) == {f.name for f in fields(NetworkReport)}
    assert (found["size"], found["threads"], found["rounds"]) == ([32, 24], 1, 3)
    good, bad = found["rows"]
    for row in (good, bad):
        assert set(row) == {f.name for f in fields(Row)}
    assert (good["model"], good["backend"], good["refused"]) == ("2x-ecbsr-m4c16", "nearest", None)
    assert good["fps"] == pytest.approx(1000 / good["ms"])
    assert bad["precision"] == "bf16"
    assert bad["refused"] == "the backend nearest has only the device cpu and the precision f32"
    assert bad["ms"] is None


def test_models_and_formats_that_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    text = answer(
        capfd, *QUICK, "3x-rfdn-s", "ecbsr", "-s", "4", "--format", "gbrp10", "--backend", "nearest"
    )
    assert "3x-rfdn-s: 32x24 to 96x72, gbrp10, " in text
    assert "4x-ecbsr-m4c16: 32x24 to 128x96, gbrp10, " in text
    assert len(re.findall(r"^nearest +f32 +[\d.]+ ", text, re.MULTILINE)) == 2


def test_where_nothing_can_be_done_the_code_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    text = answer(capfd, *QUICK, "--backend", "nearest", "-d", "npu", code=1)
    assert "nearest  f32" in text


def test_memory_is_a_column(capfd: pytest.CaptureFixture[str]) -> None:
    text = answer(capfd, *QUICK[:-1], "--backend", "nearest")
    assert re.search(r"^nearest .* \d+ MB$", text, re.MULTILINE)
    assert "memory: what opening the network" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--size 64", "'64' is not a size"),
        ("--size 64x", "--size needs both sides here, not '64x'; write 960x540"),
        ("--size 99999x9", "--size takes 1x1 to 16384x16384, not 99999x9"),
        ("--format nv12", "--format: nv12 is not a planar gray, yuv or gbr format"),
        ("esrgan", "no model 'esrgan' at scale 2; there are"),
        ("--backend openvin", "no backend 'openvin'; did you mean openvino?"),
        ("--precision f8", "--precision takes auto, f32, bf16, f16"),
        ("--rounds 0", "--rounds must be 1 to 1000, not 0"),
        ("--seconds nan", "--seconds must be more than 0"),
        ("--threads -1", "--threads must be 0 to 1024, not -1"),
        ("-s 17", "--scale must be 1 to 16, not 17"),
        ("--preset fast", "--preset needs --pipeline CLIP; leave it out"),
        ("-e a=b", "-e needs --pipeline CLIP; leave it out"),
        ("--pipeline in.mp4 --no-memory", "--no-memory is not for --pipeline"),
        ("--pipeline in.mp4 a b", "--pipeline takes one model, not 2"),
        ("--pipeline in.mp4 --frames 0", "--frames must be 1 or more, not 0"),
    ],
)
def test_options_that_cannot_be(capfd: pytest.CaptureFixture[str], options: str, words: str) -> None:
    assert _run(["bench", *options.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_a_clip_through_the_pipeline(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.mp4", times=6, size=(32, 24), sound=True)
    options = ["--pipeline", str(source), "--frames", "4", "--rounds", "2", "--backend", "nearest"]
    options += ["--preset", "ultrafast", "--encoder-threads", "1"]
    found: dict[str, Any] = json.loads(answer(capfd, *options, "--json"))
    assert set(found) == {f.name for f in fields(PipelineReport)}
    assert (found["frames"], found["rounds"], found["size_out"]) == (4, 2, [64, 48])
    bare, coded = found["without_encoding"], found["with_encoding"]
    assert (bare["encoder"], coded["encoder"]) == (None, "libx264")
    assert coded["encoder_options"]["preset"] == "ultrafast"
    for passage in (bare, coded):
        assert set(passage) == {f.name for f in fields(Passage)}
        assert [stage["name"] for stage in passage["stages"]] == ["decode", "inference", "encode"]
        assert 0 < passage["fps_least"] <= passage["fps"] <= passage["fps_most"]
        for stage in passage["stages"]:
            assert set(stage) == {f.name for f in fields(StageShare)}
            assert 0 <= stage["busy"] <= 1.01
    assert 0 < found["ratio"] < 5
    text = answer(capfd, *options)
    assert "runs        4 frames, 2 times each way, in turn" in text
    assert re.search(r"^without encoding: [\d.]+ fps \([\d.]+ to [\d.]+\), \d+% of", text, re.MULTILINE)
    assert re.search(r"^with libx264: [\d.]+ fps ", text, re.MULTILINE)
    assert len(re.findall(r"^  (?:decode|inference|drop|encode) +\d+% +\d+% +\d+%$", text, re.MULTILINE)) == 6
    assert "warning: 4 frames a run are few" in text
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
    report = PipelineReport(
        **{name: found[name] for name in found if not name.startswith("with")} | {"machine": MACHINE},
        without_encoding=_passage(bare),
        with_encoding=_passage(coded),
    )
    assert max(map(len, pipeline_told(report, 50).splitlines())) <= max(50, len(str(source)) + 14)


def _passage(found: dict[str, Any]) -> Passage:
    return Passage(**found | {"stages": tuple(StageShare(**stage) for stage in found["stages"])})


def test_a_picture_is_no_clip(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = make_clip(tmp_path / "in.png", times=1, size=(32, 24), codec="png", pixel_format="gray")
    assert _run(["bench", "--pipeline", str(source), "--backend", "nearest"]) == 2
    assert capfd.readouterr().err == f"vidsr: {source}: this is no video; --pipeline takes a clip\n"
