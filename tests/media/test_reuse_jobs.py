"""Re-use in whole jobs: the same bytes, whatever repeats, whoever encodes and wherever a run was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import vidsr
from vidsr.cli.app import app
from vidsr.cli.outcome import told
from vidsr.frame import PixelFormat
from vidsr.models.lookup import Model, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network
from vidsr.pipeline import Progress
from vidsr.video.formats import new_frame, planes_of

WIDTH, HEIGHT, FRAMES = 258, 194, 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(4)
    return find_model(
        str(export_network(ECBSR(blocks=1, features=8), tmp_path_factory.mktemp("m") / "n.onnx")), 2
    )


def screen(layout: PixelFormat) -> Iterator[list[np.ndarray]]:
    """Yield planes: held for three frames, a dot that moves, another picture in the middle."""
    rng = np.random.default_rng(5)
    for index in range(FRAMES):
        if index % 20 == 0:
            shapes = layout.plane_shapes(WIDTH, HEIGHT)
            picture = [rng.integers(0, layout.peak + 1, s).astype(layout.dtype) for s in shapes]
        shown = [plane.copy() for plane in picture]
        place = index // 3
        for plane in shown:
            plane[place : place + 9, 2 * place : 2 * place + 9] = layout.peak
        yield shown


def clip(path: Path, codec: str, pixel_format: str = "yuv420p") -> Path:
    layout = PixelFormat.parse(pixel_format)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        for index, values in enumerate(screen(layout)):
            made, planes = new_frame(layout, WIDTH, HEIGHT)
            for plane, value in zip(planes, values, strict=True):
                plane[:] = value
            made.pts = index
            out.mux(stream.encode(made))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clip") / "exact.mkv", "ffv1")


Runner = Callable[..., tuple[vidsr.JobReport, bytes]]


@pytest.fixture
def run(model: Model, tmp_path: Path) -> Runner:
    def work(source: Path, name: str, reuse: str, **options: object) -> tuple[vidsr.JobReport, bytes]:
        options = {"backend": "kernel", "encoder_threads": 1, "preset": None} | options
        job = vidsr.Job(
            source=source, output=tmp_path / f"{reuse}_{name}", model=str(model.path), reuse=reuse, **options
        )
        report = vidsr.run(job)
        return report, decoded(tmp_path / f"{reuse}_{name}")

    return work


def decoded(path: Path) -> bytes:
    """Return all samples of a video."""
    with av.open(str(path)) as file:
        return b"".join(plane.tobytes() for frame in file.decode(video=0) for plane in planes_of(frame))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("libx264", "out.mp4"),
        pytest.param("libx265", "out.mkv", marks=pytest.mark.slow),
        ("ffv1", "out.mkv"),
        pytest.param("prores_ks", "out.mov", marks=pytest.mark.slow),
        ("mpeg4", "out.mp4"),
    ],
)
def test_the_same_samples_from_any_encoder(exact: Path, run: Runner, codec: str, name: str) -> None:
    report, got = run(exact, name, "auto", codec=codec)
    plain, wanted = run(exact, name, "off", codec=codec)
    assert got == wanted
    again = report.reused
    assert (again.frames, again.repeated, again.in_part) == (FRAMES, 25, 13)
    assert again.tiles_repeated > again.tiles / 2
    assert plain.reused.frames == plain.reused.repeated == 0
    assert "re-use    25 of 40 frames repeated, 13 in part; comparing took " in told(report)
    assert "re-use" not in told(plain)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le", "gray", "yuva420p"])
def test_the_same_samples_of_any_format(tmp_path: Path, run: Runner, pixel_format: str) -> None:
    source = clip(tmp_path / "in.mkv", "ffv1", pixel_format)
    report, got = run(source, "out.mkv", "auto", codec="ffv1")
    assert got == run(source, "out.mkv", "off", codec="ffv1")[1]
    assert report.reused.repeated == 25


def test_openvino_repeats_frames(exact: Path, run: Runner) -> None:
    report, got = run(exact, "out.mkv", "auto", codec="ffv1", backend="openvino", precision="f32")
    assert got == run(exact, "out.mkv", "off", codec="ffv1", backend="openvino", precision="f32")[1]
    assert (report.reused.repeated, report.reused.in_part) == (25, 0)


@pytest.mark.usefixtures("kernel")
def test_lossy_sources(tmp_path: Path, run: Runner) -> None:
    source = clip(tmp_path / "in.mp4", "libx264")
    report, got = run(source, "out.mkv", "auto", codec="ffv1")
    assert got == run(source, "out.mkv", "off", codec="ffv1")[1]
    assert report.reused.frames == FRAMES


@pytest.mark.usefixtures("kernel")
def test_goes_on_where_it_was_cut_off(exact: Path, run: Runner, model: Model, tmp_path: Path) -> None:
    class CutError(Exception):
        pass

    def cut(progress: Progress) -> None:
        if progress.frames == 17:
            raise CutError

    options = {"codec": "ffv1", "segment_frames": 4}
    _, wanted = run(exact, "out.mkv", "off", **options)
    job = vidsr.Job(
        source=exact,
        output=tmp_path / "auto_out.mkv",
        model=str(model.path),
        backend="kernel",
        codec="ffv1",
        encoder_threads=1,
        segment_frames=4,
    )
    with pytest.raises(CutError):
        vidsr.run(job, progress=cut)
    # Without re-use the rest may be made as well: it is no part of what decides the bytes.
    report, got = run(exact, "out.mkv", "auto", **options)
    assert report.frames_resumed > 0
    assert 0 < report.reused.frames == FRAMES - report.frames_resumed
    assert got == wanted


@pytest.mark.usefixtures("kernel")
def test_the_rest_may_be_made_without(exact: Path, run: Runner, model: Model, tmp_path: Path) -> None:
    job = vidsr.Job(
        source=exact, output=tmp_path / "off_out.mkv", model=str(model.path), backend="kernel",
        codec="ffv1", encoder_threads=1, segment_frames=4,
    )  # fmt: skip

    def cut(progress: Progress) -> None:
        if progress.frames == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vidsr.run(job, progress=cut)
    report, got = run(exact, "out.mkv", "off", codec="ffv1", segment_frames=4)
    assert report.frames_resumed > 0
    assert got == run(exact, "out.mkv", "auto", codec="ffv1", segment_frames=4)[1]


@pytest.mark.usefixtures("kernel")
def test_large_results_are_not_kept(exact: Path, run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsr.stages.LARGE_BYTES", 1000)
    assert run(exact, "out.mkv", "auto", codec="ffv1")[0].reused.frames == 0


def test_in_json(exact: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["upscale", str(exact), "-o", "null:", "-m", str(model.path), "--json", "--no-progress"]
    for reuse, frames in (("auto", FRAMES), ("off", 0)):
        app([*words, "--reuse", reuse], standalone_mode=False)
        told_of = json.loads(capsys.readouterr().out)["reused"]
        assert told_of["frames"] == frames
