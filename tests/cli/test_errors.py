"""What goes wrong is told in one line with a way on, has the right exit code, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from synth import make_clip

from vidsr.cli import _run

Sources = dict[str, Path]
Fails = Callable[..., str]


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _external_data(path: Path) -> None:
    model = onnx.load(Path(__file__).parents[2] / "engines" / "2x-ecbsr-m4c16.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Sources by what is wrong with them; "good.mp4" is a clip without fault."""
    folder = tmp_path_factory.mktemp("sources")
    good = make_clip(folder / "good.mp4", times=6, sound=True, size=(32, 32))
    whole = good.read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    (folder / "empty.mp4").touch()
    _sound_only(folder / "sound.m4a")
    make_clip(folder / "ass.mkv", times=25, subtitles="ass", size=(32, 32))
    (folder / "text.onnx").write_text("this is no network\n" * 100)
    _external_data(folder / "external.onnx")
    damaged = bytearray(make_clip(folder / "d.mkv", times=60, options={"g": "5"}).read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 400] = bytes(range(200)) * 2
    (folder / "damaged.mkv").write_bytes(damaged)
    return {p.name: p for p in folder.iterdir()}


@pytest.fixture
def fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Fails:
    """Run ``vidsr upscale`` and check all that is the same for every failure; return the one line.

    With --plan it is the same line.
    """

    def check(arguments: list[object], *words: str, code: int) -> str:
        line = fail(arguments, *words, code=code)
        assert fail([*arguments, "--plan"], *words, code=code) == line
        return line

    def fail(arguments: list[object], *words: str, code: int) -> str:
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        assert _run(["upscale", *map(str, arguments), "--backend", "nearest", "--no-progress"]) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("vidsr: ")
        assert err.count("\n") == 1
        for word in words:
            assert word in err
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
        return err

    return check


SOURCES = [
    ("text.mp4", ["cannot open this as video", "; the file is damaged, incomplete or no media file"]),
    ("half.mp4", ["cannot open this as video", "; the file is damaged, incomplete or no media file"]),
    ("empty.mp4", ["the file is empty"]),
    ("sound.m4a", ["there is no video in it, only audio"]),
]


@pytest.mark.parametrize(("name", "words"), SOURCES, ids=[n for n, _ in SOURCES])
def test_sources_that_are_none(
    made: Sources, tmp_path: Path, fails: Fails, name: str, words: list[str]
) -> None:
    fails([made[name], "-o", tmp_path / "out.mp4"], str(made[name]), *words, code=1)


def test_missing_sources(made: Sources, tmp_path: Path, fails: Fails) -> None:
    missing = tmp_path / "missing.mp4"
    fails([missing, "-o", tmp_path / "out.mp4"], f"{missing}: no such file", code=1)
    fails([missing], str(missing), code=1)
    folder = made["good.mp4"].parent
    fails([folder, "-o", tmp_path / "out.mp4"], f"{folder}: this is a folder", "name_%04d.png", code=1)
    pattern = tmp_path / "in_%03d.png"
    fails([pattern, "-o", tmp_path / "out.mp4"], f"{pattern}: no picture fits this pattern", code=1)


def test_a_network_address_is_refused(tmp_path: Path, fails: Fails) -> None:
    fails(["http://127.0.0.1:9/a.mp4", "-o", tmp_path / "out.mp4"], "add --allow-network to open it", code=2)
    fails(["http:a.mp4", "-o", tmp_path / "out.mp4"], "http:a.mp4: no such file", code=1)


OPTIONS = [
    (["--tile", "big"], 2, ["--tile takes auto, 0 or a size in pixels, not 'big'"]),
    (["--tile", "-3"], 2, ["--tile"]),
    (["--crf", "fine"], 2, ["--crf", "--help"]),
    (["--start", "noon"], 2, ["'noon' is not a time; write seconds, M:SS or H:MM:SS"]),
    (["--start", "1:75"], 2, ["'1:75' is not a time"]),
    (["--start", "5", "--end", "2"], 2, ["--end (2 s) must come after --start (5 s)"]),
    (["--start", "99"], 2, ["no frame lies between --start and --end"]),
    (["--frames", "0"], 2, ["--frames"]),
    (["--scale", "0"], 2, ["the scale must be from 1 to 16, not 0"]),
    (["--scale", "1"], 2, ["as large as the source, 32x32; ask for a larger --scale"]),
    (["--scale", "1.5", "--size", "64x"], 2, ["--scale and --size both say how large; give one of them"]),
    (["--size", "large"], 2, ["'large' is not a size; write 1920x1080, 1920x or x1080"]),
    (
        ["--size", "64x16"],
        2,
        ["the result would be 64x16, smaller than the source's 32x32; ask for a larger"],
    ),
    (
        ["--size", "51x50"],
        2,
        ["--size 51x50: the encoder takes multiples of 2 here, not 51; ask for 50 or 52"],
    ),
    (["--size", "900x"], 2, ["900x900 is more than 16 times the source's 32x32; ask for less"]),
    (["--model", "espcn", "--scale", "1.5"], 2, ["no model 'espcn' at scale 2; there are"]),
    (["--scale", "two"], 2, ["'two' is not a scale; write 2, 1.5 or 3/2"]),
    (["--precision", "f8"], 2, ["--precision takes auto, f32, bf16, f16, int8, not 'f8'"]),
    (["--chroma", "blue"], 2, ["--chroma"]),
    (["--verify", "never"], 2, ["--verify"]),
    (["--segment-frames", "0"], 2, ["--segment-frames"]),
    (["--threads", "-1"], 2, ["--threads"]),
    (["--bogus"], 2, ["--bogus", "--help"]),
    (["--model", "espcn"], 2, ["no model 'espcn' at scale 2", "; "]),
    (["--model", "ecbsr-m4c61"], 2, ["did you mean"]),
    (["--model", "missing.onnx"], 1, ["missing.onnx: there is no such model file; check the path"]),
    (["--codec", "h266"], 2, ["no encoder 'h266'; 'vidsr doctor' lists the encoders"]),
    (["--pix-fmt", "rgb48"], 2, ["libx264 cannot encode 'rgb48'; it takes yuv420p"]),
    (["--preset", "hasty"], 2, ["libx264 has no preset 'hasty'; it has ultrafast"]),
    (["-e", "tune=fim"], 2, ["libx264 has no tune 'fim'"]),
    (["--crf", "-5"], 1, ["crf=-5", "--crf"]),
    (["-e", "novalue"], 2, ["-e takes key=value, not 'novalue'"]),
    (["-e", "no_such=1"], 2, ["libx264 does not know the option 'no_such'"]),
    (["-c", "libx265", "--preset", "hasty"], 1, ["preset=hasty", "--preset"]),
    (["-c", "av1", "--preset", "99"], 1, ["preset=99", "--preset"]),
    (["--drop", "9"], 2, ["--drop 9", "; there are 1"]),
    (["--drop", "0"], 2, ["--drop 0"]),
]


@pytest.mark.parametrize(("options", "code", "words"), OPTIONS, ids=[" ".join(o[0]) for o in OPTIONS])
def test_options_that_cannot_be(
    made: Sources, tmp_path: Path, fails: Fails, options: list[str], code: int, words: list[str]
) -> None:
    fails([made["good.mp4"], "-o", tmp_path / "out.mp4", *options], *words, code=code)


def test_unknown_backends(made: Sources, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(["upscale", str(made["good.mp4"]), "-o", str(tmp_path / "o.mp4"), "--backend", "cuda"]) == 2
    there = "auto, fused, tensorrt, kernel, openvino, torch, nearest"
    assert capfd.readouterr().err == f"vidsr: no backend 'cuda'; there are: {there}\n"
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be(made: Sources, tmp_path: Path, fails: Fails) -> None:
    good = made["good.mp4"]
    fails([good, "-o", tmp_path / "no" / "out.mp4"], f"{tmp_path / 'no'}: there is no such folder; ", code=1)
    file = tmp_path / "file"
    file.write_text("in the way")
    fails([good, "-o", file / "out.mp4"], str(file), "; ", code=1)
    fails([good, "-o", tmp_path], str(tmp_path), "; ", code=2)
    fails([good, "-o", tmp_path / "out.avi"], "'.avi' is no container", "; use .mp4", code=2)
    fails([good, "-o", tmp_path / "out"], "is no container", code=2)


def test_what_exists_is_not_replaced(made: Sources, tmp_path: Path, fails: Fails) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"dear to somebody")
    fails([made["good.mp4"], "-o", output], f"{output}: this file exists; add --overwrite", code=2)
    assert output.read_bytes() == b"dear to somebody"


def test_the_source_is_not_replaced(made: Sources, tmp_path: Path, fails: Fails) -> None:
    source, link = tmp_path / "in.mp4", tmp_path / "link.mp4"
    source.write_bytes(made["good.mp4"].read_bytes())
    link.symlink_to(source)
    hard = tmp_path / "hard.mp4"
    hard.hardlink_to(source)
    for one, other in ((source, source), (source, link), (link, source), (source, hard)):
        fails([one, "-o", other, "-y"], "would replace the source; name another output", code=2)
    fails([source, "-o", tmp_path / "." / "in.mp4", "-y"], "would replace the source", code=2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.onnx", ["this is not an ONNX file; "]),
        ("external.onnx", ["lies in another file; save the model as one"]),
    ],
)
def test_hostile_networks(made: Sources, tmp_path: Path, fails: Fails, name: str, words: list[str]) -> None:
    fails([made["good.mp4"], "-o", tmp_path / "out.mp4", "-m", made[name]], str(made[name]), *words, code=1)


def test_a_stream_that_the_container_cannot_hold(made: Sources, tmp_path: Path, fails: Fails) -> None:
    line = fails([made["ass.mkv"], "-o", tmp_path / "out.mp4"], ".mp4 cannot hold stream 1", code=2)
    assert "; name the output .mkv, or add --drop 1 to leave it out" in line


def test_pictures_need_a_number_or_one_frame(made: Sources, tmp_path: Path, fails: Fails) -> None:
    fails([made["good.mp4"], "-o", tmp_path / "out.png"], "more than one frame; ", "--frames 1", code=2)


def test_damage_in_the_middle_is_told_or_survived(made: Sources, tmp_path: Path) -> None:
    """Either all is well, or one line says where it ended."""
    output = tmp_path / "out.mkv"
    source = str(made["damaged.mkv"])
    arguments = ["upscale", source, "-o", str(output), "--backend", "nearest", "--no-progress"]
    code = f"from vidsr.cli import main; import sys; sys.argv = ['vidsr', *{arguments!r}]; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == output.exists()
    assert done.stderr.count("\n") == (0 if done.returncode == 0 else 1)


def test_what_nobody_foresaw_is_one_line_and_a_trace_for_who_asks(
    made: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("vidsr.pipeline.make_plan", fail)
    arguments = ["upscale", str(made["good.mp4"]), "-o", str(tmp_path / "out.mp4")]
    line = (
        "vidsr: unexpected ZeroDivisionError (a defect), a fault in vidsr;"
        " please report it with what VIDSR_TRACEBACK=1 prints\n"
    )
    assert _run(arguments) == 1
    assert capfd.readouterr() == ("", line)
    monkeypatch.setenv("VIDSR_TRACEBACK", "1")
    assert _run(arguments) == 1
    err = capfd.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith(line)


def test_encoders_say_nothing(made: Sources, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Their chatter, on stderr whatever FFmpeg's log level is, would hide a warning of ours."""
    for codec in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"):
        arguments = [made["good.mp4"], "-o", tmp_path / f"{codec}.mkv", "-c", codec, "--backend", "nearest"]
        assert _run(["upscale", *map(str, arguments), "--no-progress"]) == 0
        assert capfd.readouterr().err == "", codec


@pytest.mark.parametrize("option", ["x264-params=keyint=7", "x264-params=keyint=7:bframes=1"])
def test_further_parameters_are_added_to_those_that_joining_needs(
    made: Sources, tmp_path: Path, option: str
) -> None:
    """Segments whose headers depend on their contents cannot be joined."""
    output = tmp_path / "out.mp4"
    arguments = [made["good.mp4"], "-o", output, "-e", option, "--segment-frames", 2, "--backend", "nearest"]
    assert _run(["upscale", *map(str, arguments), "--no-progress"]) == 0
    assert b"stitchable=1" in output.read_bytes()
    assert b"keyint=7" in output.read_bytes()


def test_after_a_refused_picture_the_hint_works(
    made: Sources, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["upscale", str(made["good.mp4"]), "-o", str(tmp_path / "out.png"), "--backend", "nearest"]
    assert _run([*arguments, "--no-progress"]) == 2
    assert _run([*arguments, "--no-progress", "--frames", "1"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = "from vidsr.cli import main; import sys; sys.argv = ['vidsr', 'models', 'list']; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait()
