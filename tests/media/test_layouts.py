"""Pixel formats: what each is read as without loss, and what an encoder that lacks it gets instead."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from packed import PACKED, Array, fill, write_nut

import vidsr
from vidsr.frame import PixelFormat, VideoInfo
from vidsr.job import Job
from vidsr.video.coding import choose_coding
from vidsr.video.convert import to_planar
from vidsr.video.formats import color_of, nearest_planar, planes_of
from vidsr.video.probe import probe

SIZE = (22, 14)


def noise(layout: PixelFormat, seed: int, *, colorless: bool = False) -> list[Array]:
    rng = np.random.default_rng(seed)
    shapes = layout.plane_shapes(*SIZE)
    planes = [rng.integers(0, layout.peak + 1, shape).astype(layout.dtype) for shape in shapes]
    if colorless:
        for plane in planes[1:3]:
            plane[:] = (layout.peak + 1) // 2
    return planes


def decoded_planes(path: Path, layout: PixelFormat) -> list[list[Array]]:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return [[p.copy() for p in planes_of(to_planar(f, layout, f.width, f.height))] for f in frames]


# Those that have no name in any container that holds raw video; hardware decoders make them.
NAMELESS = {
    "nv16",
    "nv24",
    "p010le",
    "p012le",
    "p016le",
    "p210le",
    "p410le",
    "x2rgb10le",
    "gbrp12be",
    "ya16le",
}


@pytest.mark.parametrize("name", list(PACKED))
def test_packed_layouts_become_planar_exactly(name: str) -> None:
    planar, pack = PACKED[name]
    layout = PixelFormat.parse(planar)
    for seed in range(5):
        planes = noise(layout, seed, colorless=name.startswith("ya"))
        frame = av.VideoFrame(*SIZE, name)
        fill(frame, pack(planes))
        for tagged in (0, 1, 2):
            frame.color_range = tagged
            made = to_planar(frame, layout, *SIZE, color_of(frame, layout, None))
            assert made.format.name == layout.name
            for one, other in zip(planes_of(made), planes, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", sorted(PACKED.keys() - NAMELESS))
def test_packed_sources_are_repeated_exactly(tmp_path: Path, name: str) -> None:
    planar, pack = PACKED[name]
    layout = PixelFormat.parse(planar)
    assert nearest_planar(name) == layout
    pictures = [noise(layout, seed, colorless=name.startswith("ya")) for seed in range(2)]
    source = write_nut(tmp_path / "in.nut", name, SIZE, [pack(planes) for planes in pictures])
    job = Job(source=source, output=tmp_path / "out.mkv", backend="nearest", chroma="nearest", codec="ffv1")
    report = vidsr.run(job)
    assert not any("alpha" in warning for warning in report.warnings)
    made = decoded_planes(tmp_path / "out.mkv", layout)
    assert len(made) == 2
    for small, large in zip(pictures, made, strict=True):
        for one, many in zip(small, large, strict=True):
            np.testing.assert_array_equal(many, one.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes(tmp_path: Path, transparent: bool) -> None:
    """A palette without a transparent colour is RGB, not RGB with alpha that every codec loses."""
    rng = np.random.default_rng(5)
    colors = rng.integers(0, 256, (256, 4)).astype(np.uint8)  # B, G, R, A
    colors[:, 3] = rng.integers(0, 256, 256) if transparent else 255
    numbers = rng.integers(0, 256, (SIZE[1], SIZE[0])).astype(np.uint8)
    frame = av.VideoFrame(*SIZE, "pal8")
    fill(frame, [numbers, colors.reshape(1, -1)])
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = *SIZE, "pal8"
    frame.pts = 0
    source = tmp_path / "in.png"
    source.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))
    info = probe(source)
    assert (info.source_format, info.pixel_format.name) == ("pal8", "gbrap" if transparent else "gbrp")
    vidsr.run(Job(source=source, output=tmp_path / "out.png", backend="nearest", chroma="nearest"))
    with av.open(str(tmp_path / "out.png")) as file:
        made = next(file.decode(video=0))
    assert made.format.name == ("rgba" if transparent else "rgb24")
    wanted = colors[numbers][..., [2, 1, 0, 3]].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(made.to_ndarray(format="rgba"), wanted)


def chosen(codec: str, source: str, suffix: str = ".mkv") -> str:
    info = _info(source)
    return choose_coding(Job(source=Path("x"), codec=codec), info, pictures=None, suffix=suffix).pixel_format


def _info(source: str) -> VideoInfo:
    info = object.__new__(VideoInfo)
    object.__setattr__(info, "pixel_format", nearest_planar(source))
    return info


@pytest.mark.parametrize(
    ("codec", "source", "wanted"),
    [
        # The same depth, or the next that holds it, before what loses bits.
        ("libx264", "yuv420p9le", "yuv420p10le"),
        ("libx264", "yuv420p12le", "yuv420p10le"),
        ("libx264", "yuv420p16le", "yuv420p10le"),
        ("libx264", "gray10le", "gray10le"),
        ("libx264", "gray12le", "gray10le"),
        ("libx264", "gray9le", "gray10le"),
        ("libx265", "yuv420p9le", "yuv420p10le"),
        ("libx265", "yuv422p12le", "yuv422p12le"),
        ("libx265", "yuv444p16le", "yuv444p12le"),
        ("libx265", "gray16le", "gray12le"),
        ("libsvtav1", "yuv420p12le", "yuv420p10le"),
        ("libsvtav1", "gray", "yuv420p"),
        ("libsvtav1", "gray16le", "yuv420p10le"),
        # No less chroma than there is, and no more than it takes.
        ("libx264", "yuv440p", "yuv444p"),
        ("libx264", "yuv411p", "yuv422p"),
        ("libx264", "yuv410p", "yuv420p"),
        ("libx265", "yuv440p10le", "yuv444p10le"),
        ("libsvtav1", "yuv444p10le", "yuv420p10le"),
        ("libvpx-vp9", "yuv440p", "yuv440p"),
        ("prores_ks", "yuv420p", "yuv422p10le"),
        ("prores_ks", "yuv444p12le", "yuv444p10le"),
        # RGB stays RGB where there is a place for it.
        ("libx264", "rgb24", "yuv444p"),
        ("libx264", "gbrp10le", "yuv444p10le"),
        ("libx264rgb", "rgb24", "bgr0"),
        ("libx265", "gbrp12le", "gbrp12le"),
        # Alpha before depth and chroma.
        ("prores_ks", "bgra", "yuva444p10le"),
        ("libvpx-vp9", "bgra", "yuva420p"),
        ("libvpx-vp9", "yuva444p12le", "yuva420p"),
        ("ffv1", "yuva444p12le", "yuva444p12le"),
    ],
)
def test_the_nearest_that_an_encoder_takes(codec: str, source: str, wanted: str) -> None:
    assert chosen(codec, source) == wanted


@pytest.mark.parametrize(
    ("source", "suffix", "wanted"),
    [
        ("yuva420p", ".webm", ("libvpx-vp9", "yuva420p")),
        ("yuva420p", ".mov", ("prores_ks", "yuva444p10le")),
        ("yuva420p", ".mp4", ("libx264", "yuv420p")),
        ("yuva420p", ".mkv", ("libx264", "yuv420p")),
        ("yuv420p", ".mov", ("libx264", "yuv420p")),
        ("yuv420p", ".webm", ("libvpx-vp9", "yuv420p")),
    ],
)
def test_what_auto_makes_of_transparency(source: str, suffix: str, wanted: tuple[str, str]) -> None:
    coding = choose_coding(Job(source=Path("x")), _info(source), pictures=None, suffix=suffix)
    assert (coding.codec, coding.pixel_format) == wanted


def test_a_coarser_depth_is_a_warning(tmp_path: Path) -> None:
    layout = PixelFormat.parse("yuv420p12le")
    source = write_nut(tmp_path / "in.nut", layout.name, SIZE, [noise(layout, 1)])
    report = vidsr.run(Job(source=source, output=tmp_path / "out.mkv", backend="nearest"))
    assert "libx264 gets yuv420p10le: the source is yuv420p12le" in report.warnings
    assert "YUV 4:2:0 of 10 bits" in (report.written or "")


def test_opaque_stays_opaque_at_another_depth(tmp_path: Path) -> None:
    layout = PixelFormat.parse("gbrap")
    planes = noise(layout, 2)
    planes[3][:] = 255
    planes[3][3, 4] = 0
    source = write_nut(tmp_path / "in.nut", "bgra", SIZE, [PACKED["bgra"][1](planes)])
    vidsr.run(Job(source=source, output=tmp_path / "out.mov", backend="nearest", codec="prores_ks"))
    with av.open(str(tmp_path / "out.mov")) as file:
        frame = next(file.decode(video=0))
    alpha = planes_of(frame)[-1]
    peak = PixelFormat.parse(frame.format.name).peak
    assert set(np.unique(alpha)) == {0, peak}
