"""Tiles, padding and odd sizes: what comes out is what the whole frame would have given."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidsr.backends import SessionOptions, get_backend
from vidsr.errors import OptionsError
from vidsr.frame import ColorInfo, ColorRange, Frame, Matrix, PixelFormat, Planes
from vidsr.models import FrameFormat, Model, find_model
from vidsr.networks.ecbsr import ECBSR, PlainECBSR
from vidsr.networks.export import export_network
from vidsr.upscaler import Upscaler, UpscalerOptions

FORMATS = ["yuv420p", "yuv444p", "gray", "yuv420p10le"]
F32 = SessionOptions(precision="f32")


@pytest.fixture(scope="module")
def network() -> PlainECBSR:
    torch.manual_seed(3)
    plain = ECBSR(blocks=1, features=8).fold()
    with torch.no_grad():
        for i, kernel in enumerate(plain.kernels):
            kernel *= 1.5 if i < 2 else 0.5
    return plain


@pytest.fixture(scope="module")
def model(network: PlainECBSR, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return find_model(str(export_network(network, tmp_path_factory.mktemp("model") / "n.onnx")), 2)


def source(pixels: PixelFormat, width: int, height: int) -> Planes:
    """Waves with noise: nothing that a shift by a pixel would leave as it is."""
    rng = np.random.default_rng(width * 7919 + height)
    made = []
    for shape in pixels.plane_shapes(width, height):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        wave = 0.5 + 0.4 * np.sin(rows / 3.1) * np.cos(columns / 4.3) + rng.normal(0, 0.08, shape)
        made.append(np.clip(wave * pixels.peak, 0, pixels.peak).astype(pixels.dtype))
    return tuple(made)


def upscale(
    model: Model, form: FrameFormat, src: Planes, *, backend: str = "nearest", tile: str = "0"
) -> tuple[Planes, Upscaler]:
    height, width = src[0].shape
    session = F32 if backend == "openvino" else SessionOptions()
    with Upscaler(
        model, form, width, height, get_backend(backend), UpscalerOptions(session=session, tile=tile)
    ) as upscaler:
        dst = form.pixel_format.allocate(*upscaler.size_out)
        for plane in dst:
            plane.fill(1)
        upscaler.submit(src, dst).result()
        return dst, upscaler


def repeated(src: Planes, pixels: PixelFormat, scale: int) -> list[NDArray[np.generic]]:
    height, width = src[0].shape
    shapes = pixels.plane_shapes(width * scale, height * scale)
    return [p.repeat(scale, 0).repeat(scale, 1)[:h, :w] for p, (h, w) in zip(src, shapes, strict=True)]


def assert_close(got: Planes, wanted: Planes, share: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        difference = np.abs(one.astype(int) - other.astype(int))
        assert difference.max() <= 1
        assert np.count_nonzero(difference) <= max(1, share * difference.size)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(FORMATS),
    width=st.integers(1, 80),
    height=st.integers(1, 80),
    tile=st.integers(1, 50),
)
@example(name="yuv420p", width=1, height=1, tile=1)
@example(name="yuv420p", width=79, height=53, tile=9)
def test_nearest_in_tiles_is_exact(model: Model, name: str, width: int, height: int, tile: int) -> None:
    pixels = PixelFormat.parse(name)
    src = source(pixels, width, height)
    got, _ = upscale(model, FrameFormat(pixels, chroma="nearest"), src, tile=str(tile))
    for one, other in zip(got, repeated(src, pixels, 2), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(FORMATS),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    tile=st.integers(15, 40),
)
@example(name="yuv420p", width=1, height=1, tile=15)
@example(name="gray", width=16, height=60, tile=15)
def test_cards_with_multiple_and_least_size_pad_and_crop(
    model: Model, name: str, width: int, height: int, tile: int
) -> None:
    picky = replace(model, spec=replace(model.spec, multiple=4, min_size=15))
    pixels = PixelFormat.parse(name)
    src = source(pixels, width, height)
    for wanted in ("0", str(tile)):
        got, upscaler = upscale(picky, FrameFormat(pixels, chroma="nearest"), src, tile=wanted)
        assert upscaler.plan.width >= 15
        assert upscaler.plan.height >= 15
        for one in upscaler.plan.tiles:
            sides = (one.source.x, one.source.y, one.source.width, one.source.height)
            assert {side % 4 for side in sides} == {0}
        for one, other in zip(got, repeated(src, pixels, 2), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [(16, 16), (29, 40), (100, 17)])
def test_tiles_are_never_smaller_than_the_network_takes(model: Model, size: tuple[int, int]) -> None:
    picky = replace(model, spec=replace(model.spec, halo=1, min_size=15))
    form = FrameFormat(PixelFormat.parse("gray"), chroma="nearest")
    _, upscaler = upscale(picky, form, source(form.pixel_format, *size), tile="15")
    assert min(upscaler.plan.width, upscaler.plan.height) >= 15


def test_tiles_below_the_least_size_are_refused(model: Model) -> None:
    picky = replace(model, spec=replace(model.spec, min_size=15))
    form = FrameFormat(PixelFormat.parse("gray"))
    with pytest.raises(OptionsError, match="at least 15"):
        upscale(picky, form, source(form.pixel_format, 64, 64), tile="14")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("size", "tile"), [((97, 61), 32), ((80, 80), 17), ((150, 9), 40)])
def test_openvino_in_tiles_is_the_whole_frame(
    model: Model, name: str, size: tuple[int, int], tile: int
) -> None:
    form = FrameFormat(PixelFormat.parse(name))
    src = source(form.pixel_format, *size)
    whole, _ = upscale(model, form, src, backend="openvino")
    tiled, upscaler = upscale(model, form, src, backend="openvino", tile=str(tile))
    assert len(upscaler.plan.tiles) > 1
    assert_close(tiled, whole, 1e-4)


def luma(network: PlainECBSR, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with torch.no_grad():
        out = network(torch.from_numpy(plane.astype(np.float32) / 255)[None, None])
    return np.rint(np.clip(out[0, 0].numpy() * 255, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (321, 241), (1918, 802)])
def test_sizes_against_the_network_itself(network: PlainECBSR, model: Model, size: tuple[int, int]) -> None:
    width, height = size
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    src = source(form.pixel_format, width, height)
    whole, _ = upscale(model, form, src, backend="openvino")
    assert [p.shape for p in whole] == [(2 * height, 2 * width), (height, width), (height, width)]
    assert_close(whole[:1], (luma(network, src[0]),), 1e-3)
    for tile in ("64", "256"):
        tiled, upscaler = upscale(model, form, src, backend="openvino", tile=tile)
        assert (len(upscaler.plan.tiles) > 1) == (max(size) > int(tile))
        assert_close(tiled, whole, 1e-4)


@pytest.mark.slow
def test_eight_k_in_tiles_of_its_own_choice(network: PlainECBSR, model: Model) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    src = source(form.pixel_format, 7680, 4320)
    got, upscaler = upscale(model, form, src, backend="openvino", tile="auto")
    assert len(upscaler.plan.tiles) > 1
    assert got[0].shape == (8640, 15360)
    for band in (slice(0, 540), slice(1500, 2040), slice(3780, 4320)):
        wanted = luma(network, src[0][band])
        margin = 2 * len(network.kernels)
        inner = slice(0 if band.start == 0 else margin, None if band.stop == 4320 else -margin)
        assert_close((got[0][2 * band.start : 2 * band.stop][inner],), (wanted[inner],), 1e-3)
    small = src[1].astype(int)
    assert np.abs(got[1][::2, ::2].astype(int) - small).mean() < 12, "chroma is where it was"


def test_auto_tiles_large_frames_only(model: Model) -> None:
    form = FrameFormat(PixelFormat.parse("gray"))
    for size, several in (((1920, 1080), False), ((3840, 2160), True)):
        with Upscaler(model, form, *size, get_backend("nearest")) as upscaler:
            assert (len(upscaler.plan.tiles) > 1) == several


def test_planes_of_another_shape_are_refused(model: Model) -> None:
    form = FrameFormat(PixelFormat.parse("yuv420p"))
    src = source(form.pixel_format, 16, 16)
    with Upscaler(model, form, 16, 16, get_backend("nearest")) as upscaler:
        with pytest.raises(ValueError, match="has planes"):
            upscaler.submit(src, src)
        with pytest.raises(ValueError, match="has planes"):
            upscaler.submit(src[:1], form.pixel_format.allocate(32, 32))


def test_frames_keep_their_times(model: Model) -> None:
    pixels = PixelFormat.parse("gray")
    color = ColorInfo(Matrix.BT709, ColorRange.LIMITED)
    frame = Frame(source(pixels, 8, 6), pixels, color, 77, 3, Fraction(1, 24), origin="kept")
    with Upscaler(model, FrameFormat(pixels), 8, 6, get_backend("nearest")) as upscaler:
        large = upscaler.upscale(frame)
    assert (large.width, large.height) == (16, 12)
    kept = (large.pts, large.duration, large.time_base, large.color, large.origin)
    assert kept == (77, 3, Fraction(1, 24), color, "kept")


def test_an_error_in_a_tile_reaches_the_caller_each_time(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidsr.backends import openvino
    from vidsr.errors import InferenceError

    form = FrameFormat(PixelFormat.parse("gray"))
    src, dst = source(form.pixel_format, 60, 60), form.pixel_format.allocate(120, 120)
    run, calls = openvino._Request.run, []

    def fail_late(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 9:
            raise RuntimeError("out of memory")
        run(*arguments)

    monkeypatch.setattr(openvino._Request, "run", fail_late)
    options = UpscalerOptions(session=F32, tile="24")
    with Upscaler(model, form, 60, 60, get_backend("openvino"), options) as upscaler:
        assert len(upscaler.plan.tiles) == 9
        ticket = upscaler.submit(src, dst)
        for _ in range(2):
            with pytest.raises(InferenceError, match="out of memory"):
                ticket.result()
        upscaler.submit(src, dst).result()
