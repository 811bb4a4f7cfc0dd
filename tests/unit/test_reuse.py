"""Re-use: whatever changes from frame to frame, results are those of a network that computes all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidsr.backends import SessionOptions, get_backend
from vidsr.frame import PixelFormat, Planes
from vidsr.models import FrameFormat, Model, find_model
from vidsr.networks.ecbsr import ECBSR
from vidsr.networks.export import export_network
from vidsr.report import Reused
from vidsr.reuse import Reuse
from vidsr.upscaler import Upscaler, UpscalerOptions

FORMATS = ["yuv420p", "yuv444p", "gray", "yuv420p10le", "yuva420p", "yuv422p", "yuva444p10le"]
SIZE = (131, 97)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.manual_seed(3)
    plain = ECBSR(blocks=2, features=8).fold()
    with torch.no_grad():
        for kernel in plain.kernels:
            kernel *= 1.6  # so that what lies at the edge of a sample's reach changes it
    return find_model(str(export_network(plain, tmp_path_factory.mktemp("model") / "n.onnx")), 2)


class Pair:
    """Frames through re-use, and through the network alone."""

    def __init__(
        self,
        model: Model,
        pixel_format: str,
        *,
        size: tuple[int, int] = SIZE,
        backend: str = "kernel",
        precision: str = "f32",
        tile: str = "auto",
        part: str = "32",
    ) -> None:
        found = get_backend(backend)
        if precision not in found.availability().precisions and backend != "nearest":
            pytest.skip(f"{backend} has no {precision} here")
        self.pixels = PixelFormat.parse(pixel_format)
        form = FrameFormat(self.pixels)
        session = SessionOptions(precision="auto" if backend == "nearest" else precision, threads=2)  # type: ignore[arg-type]

        def opened(cut: str) -> Upscaler:
            return Upscaler(model, form, *size, found, UpscalerOptions(session=session, tile=cut))

        self.size = size
        self.stack = ExitStack()
        self.plain = self.stack.enter_context(opened(tile))
        self.whole = opened(tile)
        self.reuse = self.stack.enter_context(Reuse(self.whole, lambda: opened(part)))

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def target(self) -> Planes:
        planes = self.pixels.allocate(*self.plain.size_out)
        for plane in planes:
            plane.fill(1)
        return planes

    def expected(self, src: Planes) -> Planes:
        dst = self.target()
        self.plain.submit(src, dst).result()
        return dst

    def check(self, src: Planes) -> Reused:
        """Compare a frame's result; return what of it was re-used."""
        dst = self.target()
        self.reuse.taken()
        self.reuse.submit(src, dst).result()
        assert equal(dst, self.expected(src))
        return self.reuse.taken()

    def source(self, seed: int = 0) -> Planes:
        rng = np.random.default_rng(seed)
        shapes = self.pixels.plane_shapes(*self.size)
        return tuple(rng.integers(0, self.pixels.peak + 1, s).astype(self.pixels.dtype) for s in shapes)


def equal(one: Planes, other: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def copied(src: Planes) -> Planes:
    return tuple(plane.copy() for plane in src)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.usefixtures("kernel")
def test_one_sample_anywhere(model: Model, pixel_format: str) -> None:
    with Pair(model, pixel_format) as pair:
        src = pair.source()
        assert not pair.check(src).repeated
        assert pair.check(copied(src)).repeated
        for number, plane in enumerate(src):
            rows, columns = plane.shape
            ys, xs = [0, 15, 16, rows - 1], [0, 7, 8, 63, 64, columns - 1]
            for y, x in [(y, x) for y in ys for x in xs]:
                src = copied(src)
                src[number][y, x] ^= pair.pixels.peak
                reused = pair.check(src)
                assert (reused.repeated, reused.in_part) == (0, 1)
                assert 0 < reused.tiles - reused.tiles_repeated <= 9
        assert pair.check(copied(src)).repeated


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Re-use that does not switch itself off, which it does by the clock: frames this small never pay."""
    monkeypatch.setattr("vidsr.reuse._WINDOW", 1 << 40)


@pytest.fixture(params=["f32", "bf16"])
def gray_and_color(
    request: pytest.FixtureRequest, kernel: None, always: None, model: Model
) -> Iterator[list[Pair]]:
    with ExitStack() as stack:
        made = [Pair(model, name, precision=request.param) for name in ("gray", "yuv444p", "yuv420p10le")]
        for pair in made:
            stack.enter_context(pair)
        yield made


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rectangle(gray_and_color: list[Pair], data: st.DataObject) -> None:
    pair = data.draw(st.sampled_from(gray_and_color))
    pair.reuse.forget()
    src = pair.source(data.draw(st.integers(0, 3)))
    pair.check(src)
    for _ in range(data.draw(st.integers(1, 3))):
        src = copied(src)
        changed = False
        for _ in range(data.draw(st.integers(0, 2))):
            plane = src[data.draw(st.integers(0, len(src) - 1))]
            y, x = (data.draw(st.integers(0, side - 1)) for side in plane.shape)
            part = plane[y : y + data.draw(st.integers(1, 40)), x : x + data.draw(st.integers(1, 40))]
            part ^= plane.dtype.type(pair.pixels.peak)
            changed = True
        reused = pair.check(src)
        assert reused.repeated == (not changed) or reused.repeated == 1  # two may undo each other


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (33, 17), (129, 8)])
@pytest.mark.usefixtures("kernel")
def test_small_frames(model: Model, size: tuple[int, int]) -> None:
    with Pair(model, "yuv420p", size=size) as pair:
        src = pair.source()
        pair.check(src)
        assert pair.check(copied(src)).repeated
        for plane in (0, 2):
            src = copied(src)
            src[plane][-1, -1] ^= 255
            assert not pair.check(src).repeated


@pytest.mark.usefixtures("kernel")
def test_much_that_changes_is_computed_whole(model: Model) -> None:
    with Pair(model, "yuv420p") as pair:
        src = pair.source()
        pair.check(src)
        src = copied(src)
        src[0][::9, ::9] ^= 255
        reused = pair.check(src)
        assert (reused.frames, reused.repeated, reused.in_part) == (1, 0, 0)


def test_openvino_repeats_whole_frames_only(model: Model) -> None:
    with Pair(model, "yuv420p", size=(70, 50), backend="openvino") as pair:
        src = pair.source()
        pair.check(src)
        assert pair.check(copied(src)).repeated
        src = copied(src)
        src[1][3, 3] ^= 255
        reused = pair.check(src)
        assert (reused.frames, reused.repeated, reused.in_part) == (1, 0, 0)
        assert pair.check(copied(src)).repeated


def test_tiles_that_were_asked_for_are_repeated_by_any_backend(model: Model) -> None:
    with Pair(model, "yuv420p", backend="openvino", tile="48") as pair:
        src = pair.source()
        pair.check(src)
        src = copied(src)
        src[2][-1, -1] ^= 255
        reused = pair.check(src)
        assert (reused.in_part, reused.tiles - reused.tiles_repeated) == (1, 1)
        assert pair.check(copied(src)).repeated
