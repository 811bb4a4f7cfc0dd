"""Edges: chroma lies where luma lies, within a sixteenth of a sample, through every way to the encoder."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from synth import make_clip

import vidsr
from vidsr.backends import SessionOptions
from vidsr.backends.openvino import BACKEND
from vidsr.color import chroma_offsets
from vidsr.frame import ChromaLocation, ColorInfo, ColorRange, Matrix, PixelFormat, Planes
from vidsr.models import FrameFormat, deploy, find_model
from vidsr.video.convert import convert_frame
from vidsr.video.formats import new_frame, planes_of
from vidsr.video.probe import probe

SIZE = (96, 80)
EDGE = 0.437  # of the picture's width or height: between samples, whatever the layout
LAYOUTS = ["yuv420p", "yuv422p", "yuv440p", "yuv411p"]
Array = NDArray[np.float64]


def places(count: int, offset: float, shift: int) -> Array:
    """Return where a plane's samples lie along an axis, in luma samples from the corner."""
    places: Array = (np.arange(count) + offset) * 2**shift
    return places


def axis_places(
    layout: PixelFormat, size: tuple[int, int], plane: int, axis: int, location: ChromaLocation
) -> Array:
    """Return the places of a plane's samples along x (axis 0) or y (axis 1)."""
    count = layout.plane_shapes(*size)[plane][1 - axis]
    if plane == 0:
        return places(count, 0.5, 0)
    return places(count, chroma_offsets(location, *layout.chroma_shifts)[axis], layout.chroma_shifts[axis])


def edged(layout: PixelFormat, size: tuple[int, int], axis: int, location: ChromaLocation) -> Planes:
    """Return planes that show one soft edge at `EDGE`, sampled where each sample lies."""
    planes = layout.allocate(*size)
    for number, plane in enumerate(planes):
        at = axis_places(layout, size, number, axis, location)
        line = (0.5 + 0.3 * np.tanh((at - EDGE * size[axis]) / 4)) * layout.peak
        plane[:] = np.round(line)[None, :] if axis == 0 else np.round(line)[:, None]
    return planes


def edge_of(plane: NDArray[np.generic], axis: int, at: Array) -> float:
    """Return where a plane's middle line has its edge.

    Where samples are far apart: where a step would have the same sum. Of luma, where the line crosses the
    mean of its ends: a sum would count what a network does to the flat parts, a code here and there.
    """
    line = plane[len(plane) // 2] if axis == 0 else plane[:, plane.shape[1] // 2]
    values = line.astype(np.float64)
    step = at[1] - at[0]
    if step > 1:
        return float(at[-1] + step / 2 - step * ((values - values[0]) / (values[-1] - values[0])).sum())
    middle = (np.median(values[:8]) + np.median(values[-8:])) / 2
    after = int(np.argmax(values >= middle))
    before = after - 1
    part = (middle - values[before]) / (values[after] - values[before])
    return float(at[before] + part * step)


def misplacement(
    planes: Planes, layout: PixelFormat, size: tuple[int, int], axis: int, at: ChromaLocation
) -> float:
    """Return by how many luma samples chroma is off luma, at most."""
    edges = [
        edge_of(plane, axis, axis_places(layout, size, number, axis, at))
        for number, plane in enumerate(planes)
    ]
    return max(abs(edge - edges[0]) for edge in edges[1:])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("location", list(ChromaLocation))
@pytest.mark.parametrize("name", LAYOUTS)
def test_chroma_stays_at_the_edge(name: str, location: ChromaLocation, axis: int) -> None:
    """Through the deployed graph of a luma network; also where the target is no whole multiple."""
    layout = PixelFormat.parse(name)
    source = edged(layout, SIZE, axis, location)
    assert misplacement(source, layout, SIZE, axis, location) < 1 / 24
    model = find_model("2x-ecbsr-m4c16", 2)
    form = FrameFormat(layout, Matrix.BT709, ColorRange.LIMITED, location)
    targets = [None, (144, 120)] if name == "yuv420p" else [None]
    for target in targets:
        deployed = deploy(model, form, *SIZE, target=target)
        made = layout.allocate(deployed.out_width, deployed.out_height)
        with closing(BACKEND.open(deployed, SessionOptions(precision="f32", in_flight=1))) as session:
            session.submit(source, made).result()
        size = (deployed.out_width, deployed.out_height)
        assert misplacement(made, layout, size, axis, location) < 1 / 16


def test_another_siting_would_be_seen() -> None:
    """The measure is fine enough: half a luma sample of the source is a whole one of the result."""
    layout = PixelFormat.parse("yuv420p")
    planes = edged(layout, SIZE, 0, ChromaLocation.LEFT)
    assert misplacement(planes, layout, SIZE, 0, ChromaLocation.CENTER) == pytest.approx(0.5, abs=1 / 32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("location", list(ChromaLocation))
@pytest.mark.parametrize(
    ("source", "target"),
    [("yuv444p", "yuv420p"), ("yuv422p", "yuv420p"), ("yuv444p10le", "yuv420p10le"), ("yuv420p", "yuv444p")],
)
def test_other_subsampling_keeps_the_place(
    source: str, target: str, location: ChromaLocation, axis: int
) -> None:
    """What swscale makes for an encoder that lacks the source's layout; without a word it centres chroma."""
    layout, wanted = PixelFormat.parse(source), PixelFormat.parse(target)
    frame, planes = new_frame(layout, *SIZE)
    for plane, values in zip(planes, edged(layout, SIZE, axis, location), strict=True):
        plane[:] = values
    color = ColorInfo(Matrix.BT709, ColorRange.LIMITED, chroma_location=location)
    made = convert_frame(frame, color, target, color)
    assert misplacement(planes_of(made), wanted, SIZE, axis, location) < 1 / 16


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("location", list(ChromaLocation))
def test_jpeg_has_its_chroma_in_the_middle(location: ChromaLocation, axis: int) -> None:
    layout = PixelFormat.parse("yuv420p")
    frame, planes = new_frame(layout, *SIZE)
    for plane, values in zip(planes, edged(layout, SIZE, axis, location), strict=True):
        plane[:] = values
    own = ColorInfo(Matrix.BT601, ColorRange.FULL, chroma_location=location)
    jpeg = ColorInfo(Matrix.BT601, ColorRange.FULL, chroma_location=ChromaLocation.CENTER)
    made = convert_frame(frame, own, "yuvj420p", jpeg)
    assert misplacement(planes_of(made), layout, SIZE, axis, ChromaLocation.CENTER) < 1 / 16


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"])
@pytest.mark.parametrize("location", list(ChromaLocation))
def test_the_place_is_read_and_written_or_missed(
    tmp_path: Path, location: ChromaLocation, codec: str
) -> None:
    options = {"chroma_sample_location": location.value, "preset": "ultrafast"}
    source = make_clip(tmp_path / "in.mkv", times=2, options=options)
    color = probe(source).color
    assert (color.chroma_location, color.guessed) == (location, frozenset())
    preset = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12"}.get(codec)
    job = vidsr.Job(source=source, output=tmp_path / "out.mkv", backend="nearest", codec=codec, preset=preset)
    report = vidsr.run(job)
    assert f"chroma {location}" in report.color
    made = probe(tmp_path / "out.mkv")
    shifts = made.pixel_format.chroma_shifts
    kept = chroma_offsets(made.color.chroma_location, *shifts) == chroma_offsets(location, *shifts)
    missed = any("where chroma lies" in warning for warning in report.warnings)
    assert kept is not missed


def test_what_is_not_said_is_a_guess(tmp_path: Path) -> None:
    plain = probe(make_clip(tmp_path / "a.mkv", times=1, codec="ffv1"))
    wide = probe(make_clip(tmp_path / "b.mkv", times=1, codec="ffv1", colors=(1, 9, 9, 16)))
    assert (plain.color.chroma_location, wide.color.chroma_location) == ("left", "topleft")
    assert "chroma_location" in plain.color.guessed & wide.color.guessed
    # MPEG-1 has it in the middle; its decoder says so.
    old = make_clip(tmp_path / "c.mpg", times=3, codec="mpeg1video", time_base=Fraction(1, 25))
    assert (probe(old).color.chroma_location, probe(old).color.guessed & {"chroma_location"}) == (
        "center",
        frozenset(),
    )
