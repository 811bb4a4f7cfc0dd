"""vidsr.hosts.vapoursynth, in a process of its own: planes, properties, errors, and that nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from piping import ffmpeg
from piping import piped as through_pipe
from synth import make_clip
from vapoursynth_process import ROOT, child_environment, inside

import vidsr
from vidsr.errors import UnsupportedFormatError
from vidsr.frame import ChromaLocation, ColorRange, Matrix, PixelFormat
from vidsr.hosts import vapoursynth as host
from vidsr.hosts import vapoursynth_frames as frames
from vidsr.video.formats import planes_of

__all__ = ["inside"]  # pytest finds this fixture here
Inside = Callable[..., Any]
FRAMES = 60
YUV = PixelFormat.parse("yuv420p")


def raw_frames(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [b"".join(p.tobytes() for p in planes_of(f)) for f in file.decode(video=0)]


def piped(python: Path, folder: Path, script: Path, *arguments: str) -> bytes:
    """What vspipe writes of a script: raw planes. It keeps its own settings in a folder."""
    words = [word for argument in arguments for word in ("-a", argument)]
    command = [str(python.with_name("vspipe")), *words, str(script), "-"]
    # It finds its Python by running the command vapoursynth, and writes down where that is.
    found = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    own = child_environment() | {"PATH": found, "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, env=own, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.media
@pytest.mark.parametrize("pixel_format", [pytest.param("yuv420p", marks=pytest.mark.slow), "yuv422p10le"])
def test_the_same_frames_from_all_doors(
    pixel_format: str, vapoursynth_python: Path, inside: Inside, tmp_path: Path, kernel: None
) -> None:
    clip = make_clip(tmp_path / "clip.mkv", pixel_format=pixel_format, times=FRAMES, options={"crf": "12"})
    options = {"model": "ecbsr", "scale": 2, "backend": "kernel"}
    vidsr.run(vidsr.Job(source=clip, output=tmp_path / "out.mkv", codec="ffv1", **options))
    wanted = raw_frames(tmp_path / "out.mkv")
    assert len(set(wanted)) == FRAMES
    script = tmp_path / "script.vpy"
    script.write_text(
        "import vapoursynth as vs\n"
        "from vidsr.hosts.vapoursynth import upscale\n"
        f"clip = vs.core.bs.VideoSource({str(clip)!r}, cachemode=0)\n"
        f"upscale(clip, {', '.join(f'{k}={v!r}' for k, v in options.items())}).set_output()\n"
    )
    assert piped(vapoursynth_python, tmp_path, script) == b"".join(wanted)
    raw = tmp_path / "raw"
    inside("random_order", clip=str(clip), into=str(raw), model="ecbsr", backend="kernel")
    assert raw.read_bytes() == b"".join(wanted)
    # The other two doors, so that all four are compared in one place.
    told = ["--matrix", "bt709", *(["--chroma-location", "left"] if "420" in pixel_format else [])]
    y4m = ffmpeg("-i", clip, "-strict", "-1", "-f", "yuv4mpegpipe", "-")
    large = through_pipe(y4m, "--model", "ecbsr", "--backend", "kernel", *told)
    assert ffmpeg("-i", "-", "-f", "rawvideo", "-", data=large) == b"".join(wanted)
    with av.open(str(clip)) as source, vidsr.Upscaler("ecbsr", 2, backend="kernel") as upscaler:
        made = [planes_of(frame) for frame in upscaler.stream(source.decode(video=0))]
    assert [b"".join(plane.tobytes() for plane in planes) for planes in made] == wanted


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("GRAY8", "gray"),
        ("GRAY10", "gray10le"),
        ("GRAY16", "gray16le"),
        ("YUV420P8", "yuv420p"),
        ("YUV420P9", "yuv420p9le"),
        ("YUV422P10", "yuv422p10le"),
        ("YUV444P12", "yuv444p12le"),
        ("YUV420P14", "yuv420p14le"),
        ("YUV444P16", "yuv444p16le"),
        ("YUV440P8", "yuv440p"),
        ("YUV411P8", "yuv411p"),
        ("YUV410P8", "yuv410p"),
        ("RGB24", "gbrp"),
        ("RGB30", "gbrp10le"),
        ("RGB48", "gbrp16le"),
    ],
)
def test_every_family_and_depth(form: str, name: str, inside: Inside) -> None:
    inside("every_format", form=form, name=name, backend="auto")


@pytest.mark.parametrize(
    ("options", "job", "size"),
    [
        ({"scale": 1.5}, {"scale": Fraction(3, 2)}, [144, 96]),
        ({"size": "x160"}, {}, [240, 160]),
        ({"scale": 3, "tile": 32}, {"scale": 3, "tile": "32"}, [288, 192]),
        ({"num_streams": 1, "model": "2x-ecbsr-m4c8"}, {"model": "2x-ecbsr-m4c8"}, [192, 128]),
        ({"num_streams": 5, "threads": 1}, {}, [192, 128]),
        ({"chroma": "nearest"}, {"chroma": "nearest"}, [192, 128]),
        (
            {"backend": "openvino", "precision": "f32"},
            {"backend": "openvino", "precision": "f32"},
            [192, 128],
        ),
    ],
)
def test_options_are_a_jobs(
    options: dict[str, Any], job: dict[str, Any], size: list[int], inside: Inside
) -> None:
    told = {name: str(value) if isinstance(value, Fraction) else value for name, value in job.items()}
    told |= {"size": options["size"]} if "size" in options else {}
    inside("every_option", options=options, job=told, size=size)


def test_frame_properties_stay(inside: Inside) -> None:
    inside("properties_stay")


@pytest.mark.parametrize(
    ("size", "before", "after"),
    [
        ("128x96", None, [0, 0]),
        ("128x96", [64, 45], [64, 45]),
        ("128x128", None, [4, 3]),
        ("128x128", [3, 2], [2, 1]),
        ("128x128", [0, 0], [4, 3]),
    ],
)
def test_shape_of_pixels_goes_with_the_size(
    size: str, before: list[int] | None, after: list[int], inside: Inside
) -> None:
    assert inside("shape_of_pixels", size=size, sar=before) == after


def test_each_frame_has_its_own_colour(inside: Inside) -> None:
    inside("colour_by_the_frame")


@pytest.mark.parametrize(
    ("props", "matrix", "color_range", "location"),
    [
        ({}, Matrix.BT601, ColorRange.LIMITED, ChromaLocation.LEFT),
        ({"_Matrix": 2, "_Primaries": 9}, Matrix.BT2020, ColorRange.LIMITED, ChromaLocation.TOPLEFT),
        ({"_Matrix": 0}, Matrix.BT601, ColorRange.LIMITED, ChromaLocation.LEFT),
        (
            {"_Matrix": 1, "_Range": 1, "_ChromaLocation": 1},
            Matrix.BT709,
            ColorRange.FULL,
            ChromaLocation.CENTER,
        ),
        ({"_Matrix": 5, "_ColorRange": 0}, Matrix.BT601, ColorRange.FULL, ChromaLocation.LEFT),
        ({"_ColorRange": 1}, Matrix.BT601, ColorRange.LIMITED, ChromaLocation.LEFT),
        ({"_Range": 0, "_ColorRange": 0}, Matrix.BT601, ColorRange.LIMITED, ChromaLocation.LEFT),
        ({"_ChromaLocation": 5}, Matrix.BT601, ColorRange.LIMITED, ChromaLocation.BOTTOM),
    ],
)
def test_properties_decide_how_a_frame_is_read(
    props: dict[str, int], matrix: Matrix, color_range: ColorRange, location: ChromaLocation
) -> None:
    form = frames.form_of(props, YUV, (720, 576), "bicubic")
    assert (form.matrix, form.range, form.chroma_location) == (matrix, color_range, location)


def test_what_is_not_tagged_is_guessed_by_kind_and_size() -> None:
    assert frames.form_of({}, YUV, (1280, 720), "bicubic").matrix is Matrix.BT709
    assert frames.form_of({}, PixelFormat.parse("gray"), (64, 48), "bicubic").range is ColorRange.FULL
    rgb = frames.form_of({"_Matrix": 1}, PixelFormat.parse("gbrp"), (64, 48), "nearest")
    assert (rgb.matrix, rgb.range, rgb.chroma) == (Matrix.RGB, ColorRange.FULL, "nearest")
    with pytest.raises(UnsupportedFormatError, match="SetFieldBased"):
        frames.form_of({"_FieldBased": 1}, YUV, (64, 48), "bicubic")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("float", "convert it first: clip.resize.Point(format=vs.YUV420P16)"),
        ("half", "convert it first: clip.resize.Point(format=vs.YUV444P16)"),
        ("long", "convert it first: clip.resize.Point(format=vs.GRAY16)"),
        ("format", "bring all frames to one format first"),
        ("size", "bring all frames to one size first"),
        ("sound", "a clip is wanted, not AudioNode"),
        ("fields", "deinterlace first, or say that it is progressive: clip.std.SetFieldBased(0)"),
    ],
)
def test_clips_that_will_not_do_are_refused(what: str, words: str, inside: Inside) -> None:
    text = inside("refused", what=what)
    assert text.startswith("vidsr: ")
    assert words in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "nothing"}, "no model 'nothing'"),
        ({"scale": 0.5}, "the scale must be from 1 to 16"),
        ({"scale": "two"}, "two"),
        ({"size": "127x95"}, "ask for multiples of 2 across and 2 down"),
        ({"scale": 2, "size": "x96"}, "give one of them"),
        ({"tile": -1}, "--tile takes auto, 0 or a size"),
        ({"num_streams": 0}, "num_streams takes 1 to 64"),
        ({"backend": "nothing"}, "nothing"),
        ({"device": "moon", "backend": "kernel"}, "no device 'moon'"),
    ],
)
def test_options_that_will_not_do_are_refused(options: dict[str, Any], words: str, inside: Inside) -> None:
    text = inside("wrong_option", options=options)
    assert text.startswith("vidsr: ")
    assert words in text


def test_a_frame_that_will_not_do_is_named(inside: Inside) -> None:
    text = inside("wrong_later")
    assert "frame 1: the frame is two fields, woven; deinterlace first" in text
    assert "Traceback" not in text


def test_without_vapoursynth_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vapoursynth", None)
    with pytest.raises(vidsr.errors.VidsrError, match=r"pip install 'vidsr\[vapoursynth\]'"):
        host.upscale(None)


@pytest.mark.parametrize("streams", [2, 5])
def test_as_many_frames_at_once_as_the_network_takes(streams: int, inside: Inside) -> None:
    inside("frames_at_once", streams=streams)


@pytest.mark.parametrize("backend", ["kernel", "openvino"])
def test_a_dropped_clip_leaves_nothing(backend: str, inside: Inside) -> None:
    inside("nothing_left", backend=backend)


def test_the_files_run_in_vs_mlrt_unchanged(inside: Inside) -> None:
    for scale in (2, 3):
        file = ROOT / f"engines/{scale}x-ecbsr-m4c16.onnx"
        assert inside("beside_mlrt", model=str(file), scale=scale) < 0.001


@pytest.mark.slow
def test_the_example_shows_both_ways(vapoursynth_python: Path, tmp_path: Path) -> None:
    script = ROOT / "examples/vapoursynth.vpy"
    ours, theirs = (piped(vapoursynth_python, tmp_path, script, f"way={way}") for way in ("vidsr", "mlrt"))
    assert len(ours) == len(theirs) == 144 * 640 * 360 * 3 // 2
    luma = [raw[: 640 * 360] for raw in (ours, theirs)]
    # In bf16, where the processor has it, they round in other places.
    assert sum(abs(a - b) > 1 for a, b in zip(*luma, strict=True)) < 0.01 * 640 * 360
    assert sum(abs(a - b) > 8 for a, b in zip(*luma, strict=True)) == 0
