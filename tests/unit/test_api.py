"""vidsr.Upscaler takes every kind of frame, gives the same kind back, and tells what it cannot take."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from synth import planes_at

import vidsr
from vidsr import ChromaLocation, ColorInfo, ColorRange, Frame, Matrix, PixelFormat, Upscaler, VidsrError

WIDTH, HEIGHT = 34, 22
GRAY = planes_at(PixelFormat.parse("gray"), (WIDTH, HEIGHT), 0)[0]


def nearest(**options: Any) -> Upscaler:
    """Return one whose results are known beforehand."""
    return Upscaler("ecbsr", 2, backend="nearest", chroma="nearest", **options)


def twice(plane: np.ndarray) -> np.ndarray:
    return plane.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_and_rgb_arrays(dtype: type) -> None:
    gray = GRAY.astype(dtype)
    rgb = np.dstack([gray, gray + 1, gray + 2])
    with nearest() as upscaler:
        for given in (gray, rgb, gray[:, ::-1], rgb[::2, ::3], np.asfortranarray(rgb)):
            before = given.copy()
            made = upscaler.upscale(given)
            assert made.dtype == given.dtype
            assert np.array_equal(made, twice(given))
            assert np.array_equal(given, before)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuva444p", "gbrp12le", "gray10le", "yuv410p"])
def test_planes(name: str) -> None:
    layout = PixelFormat.parse(name)
    planes = tuple(planes_at(layout, (32, 20), 0))
    with nearest() as upscaler:
        made = upscaler.upscale(planes, pixel_format=name)
        assert type(made) is tuple
        assert [p.shape for p in made] == list(layout.plane_shapes(64, 40))
        assert all(np.array_equal(m, twice(p)) for m, p in zip(made, planes, strict=True))
        listed = upscaler.upscale(list(planes), pixel_format=name)
        assert type(listed) is list
        if len(planes) == 1:
            assert np.array_equal(upscaler.upscale(planes[0], pixel_format=name), made[0])


def test_rgb_is_what_its_planes_are() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    red, green, blue = np.moveaxis(rgb, 2, 0)
    with Upscaler("ecbsr", 2) as upscaler:
        made = upscaler.upscale(rgb)
        planes = upscaler.upscale((green, blue, red), pixel_format="gbrp")
        frame = upscaler.upscale(av.VideoFrame.from_ndarray(rgb, "rgb24"))
    assert np.array_equal(made, np.dstack([planes[2], planes[0], planes[1]]))
    assert np.array_equal(made, frame.to_ndarray())


def test_frames_keep_what_they_say() -> None:
    layout = PixelFormat.parse("yuv420p")
    frame = Frame(
        planes=tuple(planes_at(layout, (32, 20), 0)),
        pixel_format=layout,
        color=ColorInfo(Matrix.BT709, ColorRange.FULL, 9, 16),
        pts=70,
        duration=3,
        time_base=Fraction(1, 90),
        shift=4,
        key=True,
    )
    with nearest() as upscaler:
        made = upscaler.upscale(frame)
    assert (made.width, made.height, made.pts, made.duration, made.time_base) == (
        64,
        40,
        70,
        3,
        Fraction(1, 90),
    )
    assert (made.color, made.shift, made.key) == (frame.color, 4, True)


@pytest.mark.parametrize(
    "name", ["yuv420p", "yuvj420p", "yuv422p10le", "nv12", "rgb24", "gray16be", "gbrp", "rgba"]
)
def test_pyav_frames_keep_format_times_and_colour(name: str) -> None:
    frame = av.VideoFrame(32, 20, name)
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[:] = 60
    frame.pts, frame.time_base, frame.duration = 1234, Fraction(1, 1000), 40
    if name.startswith(("yuv", "nv")):
        frame.colorspace, frame.color_range = 1, 2
        frame.color_primaries, frame.color_trc = 9, 16
    with Upscaler("ecbsr", 2) as upscaler:
        made = upscaler.upscale(frame)
    assert (made.format.name, made.width, made.height) == (name, 64, 40)
    for what in ("pts", "time_base", "duration", "colorspace", "color_range", "color_primaries", "color_trc"):
        assert getattr(made, what) == getattr(frame, what), what
    samples = made.to_ndarray() >> 8 if name == "gray16be" else made.to_ndarray()
    if name != "yuv422p10le":
        assert np.abs(samples.astype(int) - 60).max() <= 1


def test_colour_of_planes_counts() -> None:
    planes = tuple(planes_at(PixelFormat.parse("yuv420p"), (32, 20), 0))
    with Upscaler("ecbsr", 2) as upscaler:
        guessed = upscaler.upscale(planes, pixel_format="yuv420p")
        given = [
            upscaler.upscale(
                planes,
                pixel_format="yuv420p",
                color=ColorInfo(Matrix.BT601, ColorRange.LIMITED, chroma_location=location),
            )
            for location in (ChromaLocation.LEFT, ChromaLocation.CENTER)
        ]
    same = [all(map(np.array_equal, guessed, other)) for other in given]
    assert same == [True, False]


def test_sizes_and_formats_may_change_and_few_networks_stay() -> None:
    with nearest(kept=2) as upscaler:
        for size in [(8, 6), (9, 7), (10, 8), (8, 6)] * 2:
            gray = np.zeros(size, np.uint8)
            assert upscaler.upscale(gray).shape == (2 * size[0], 2 * size[1])
            assert len(upscaler._shelf) <= 2
        assert upscaler.upscale(np.zeros((8, 6, 3), np.uint8)).shape == (16, 12, 3)


def test_size_instead_of_scale() -> None:
    with Upscaler("ecbsr", size="x33", backend="nearest") as upscaler:
        assert upscaler.upscale(GRAY).shape == (33, 51)
    for scale in (1.5, "3/2", Fraction(3, 2)):
        with Upscaler("ecbsr", scale, backend="nearest") as upscaler:
            assert upscaler.upscale(GRAY).shape == (33, 51)


def test_threads_get_what_one_gets() -> None:
    frames = [
        planes_at(PixelFormat.parse("gray"), (WIDTH, HEIGHT + index % 3), index)[0] for index in range(24)
    ]
    with Upscaler("ecbsr", 2, kept=2) as upscaler, ThreadPoolExecutor(6) as pool:
        wanted = [upscaler.upscale(frame) for frame in frames]
        barrier = threading.Barrier(6)

        def work(index: int) -> np.ndarray:
            if index < 6:
                barrier.wait()
            return upscaler.upscale(frames[index])

        made = list(pool.map(work, range(24)))
    assert all(map(np.array_equal, made, wanted))


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        (GRAY.astype(np.float32), {}, "samples of type float32 are no code values"),
        (GRAY.astype(">u2"), {}, "in this machine's byte order"),
        (GRAY[None], {}, "an array of shape (1, 22, 34) is no plane"),
        (GRAY[:0], {}, "an array of shape (0, 34) is no plane"),
        (np.zeros((4, 4, 4), np.uint8), {}, "give a gray array [H, W], an RGB array [H, W, 3]"),
        ((GRAY, GRAY, GRAY), {}, "say pixel_format='yuv420p'"),
        ((GRAY, GRAY), {"pixel_format": "yuv444p"}, "yuv444p has 3 planes, not 2"),
        ((GRAY, GRAY, GRAY), {"pixel_format": "yuv420p"}, "has planes ((22, 34), (11, 17), (11, 17)), not"),
        (GRAY.astype(np.uint16), {"pixel_format": "gray"}, "gray 34x22 has planes"),
        (GRAY, {"pixel_format": "nv12"}, "nv12 is not a planar gray, yuv or gbr format"),
        (np.full((4, 4), 1024, np.uint16), {"pixel_format": "gray10le"}, "codes up to 1023"),
        (np.zeros((4, 4, 3), np.uint8), {"pixel_format": "yuv444p"}, "is RGB, not yuv444p"),
        ("clip.mp4", {}, "a frame cannot be of type str"),
        (("a", "b", "c"), {"pixel_format": "yuv420p"}, "a plane cannot be of type str"),
        ((), {"pixel_format": "gray"}, "gray has 1 planes, not 0"),
        (av.VideoFrame(8, 8, "gray"), {"pixel_format": "gray"}, "are for arrays and planes"),
        (av.VideoFrame(8, 8, "pal8"), {}, "frame.reformat(format='rgb24')"),
        (av.VideoFrame(), {}, "a frame without pixels"),
        (av.AudioFrame(), {}, "PyAV's AudioFrame is no picture"),
    ],
)
def test_what_is_no_frame_is_one_clear_line(frame: Any, options: dict[str, Any], said: str) -> None:
    with nearest() as upscaler:
        with pytest.raises(VidsrError) as caught:
            upscaler.upscale(frame, **options)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(upscaler._shelf) == 0
        assert upscaler.upscale(GRAY).shape == (44, 68)  # it goes on


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "esrgan"}, "no model 'esrgan'"),
        ({"backend": "opnvino"}, "did you mean openvino?"),
        ({"scale": "much"}, "'much' is not a scale"),
        ({"scale": float("nan")}, "'nan' is not a scale"),
        ({"scale": 2, "size": "x1080"}, "both say how large"),
        ({"tile": "big"}, "--tile takes auto"),
        ({"kept": 0}, "kept must be 1 or more"),
    ],
)
def test_wrong_options_are_told_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(VidsrError, match=said.replace("?", r"\?")):
        Upscaler(**options)


def test_closed_is_closed() -> None:
    upscaler = nearest()
    assert upscaler.upscale(GRAY).shape == (44, 68)
    upscaler.close()
    upscaler.close()
    with pytest.raises(VidsrError, match="this Upscaler is closed"):
        upscaler.upscale(GRAY)
    with pytest.raises(VidsrError, match="this Upscaler is closed"):
        upscaler.stream([GRAY])


def test_a_network_that_cannot_be_opened_leaves_nothing() -> None:
    with Upscaler("ecbsr", 2, precision="int8", backend="nearest") as upscaler:
        for _ in range(2):
            with pytest.raises(VidsrError, match="only the device cpu and the precision f32"):
                upscaler.upscale(GRAY)
        assert len(upscaler._shelf) == 0


def test_unknown_options_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(VidsrError, match=r"no option 'cfr'; did you mean crf\?"):
        vidsr.upscale(tmp_path / "no.mp4", cfr=3)


def test_public_names_are_sorted_there_and_described() -> None:
    assert vidsr.__all__ == sorted(vidsr.__all__)
    for name in vidsr.__all__:
        value = getattr(vidsr, name)
        assert value.__doc__, name
        assert value.__module__.startswith("vidsr."), name
    assert vidsr.Upscaler.__module__ == "vidsr.api"
