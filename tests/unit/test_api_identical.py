"""The same frames through ``vidsr upscale`` and through Python: identical planes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from synth import make_clip

import vidsr
from vidsr.cli import _run
from vidsr.video.formats import planes_of

FRAMES = 60


@pytest.fixture(scope="module", params=["yuv420p", "yuv422p10le"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return make_clip(path, pixel_format=request.param, size=(66, 50), times=FRAMES, codec="ffv1")


@pytest.fixture(scope="module")
def wanted(clip: Path) -> list[av.VideoFrame]:
    """What the command line makes of it, by way of a lossless file."""
    output = clip.with_name("larger.mkv")
    assert _run(["upscale", str(clip), "-o", str(output), "-m", "ecbsr", "-c", "ffv1", "--no-progress"]) == 0
    return list(decoded(output))


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def assert_same(made: list[vidsr.frame.Planes], wanted: list[av.VideoFrame]) -> None:
    assert len(made) == len(wanted) == FRAMES
    for number, (planes, frame) in enumerate(zip(made, wanted, strict=True)):
        for one, other in zip(planes, planes_of(frame), strict=True):
            assert np.array_equal(one, other), number


def test_frames_of_pyav(clip: Path, wanted: list[av.VideoFrame]) -> None:
    with vidsr.Upscaler("ecbsr", 2) as upscaler:
        made = list(upscaler.stream(decoded(clip)))
    assert_same([planes_of(frame) for frame in made], wanted)
    assert [float(f.pts * f.time_base) for f in made] == [float(f.pts * f.time_base) for f in wanted]
    assert {f.format.name for f in made} == {f.format.name for f in wanted}


def test_planes(clip: Path, wanted: list[av.VideoFrame]) -> None:
    info = vidsr.probe(clip)
    name = info.pixel_format.name
    with vidsr.Upscaler("ecbsr", 2) as upscaler:
        one = [
            upscaler.upscale(planes_of(frame), pixel_format=name, color=info.color) for frame in decoded(clip)
        ]
        sources = [tuple(plane.copy() for plane in planes_of(frame)) for frame in decoded(clip)]
        streamed = list(upscaler.stream(sources, pixel_format=name, color=info.color))
    assert_same(one, wanted)
    assert_same(streamed, wanted)


def test_a_whole_file(clip: Path, wanted: list[av.VideoFrame], tmp_path: Path) -> None:
    output, told = tmp_path / "out.mkv", []
    report = vidsr.upscale(str(clip), str(output), model="ecbsr", codec="ffv1", progress=told.append)
    assert (report.output, report.frames) == (str(output), FRAMES)
    assert (told[0].frames, told[-1].phase) == (0, "joining")
    assert_same([planes_of(frame) for frame in decoded(output)], wanted)
