"""The gate of engines: what is off by noise passes or fails as the dB say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vidsr.backends import SessionOptions, get_backend
from vidsr.backends.tensorrt.gate import check, frames_for, require
from vidsr.errors import EngineBuildError
from vidsr.frame import PixelFormat, Planes
from vidsr.models import Deployed, FrameFormat, deploy, find_model

WIDTH, HEIGHT = 40, 26
Run = Callable[[Planes, Planes], None]


@pytest.fixture(scope="module", params=["yuv420p", "yuv420p10"])
def deployed(request: pytest.FixtureRequest) -> Deployed:
    return deploy(find_model("ecbsr", 2), FrameFormat(PixelFormat.parse(request.param)), WIDTH, HEIGHT)


@pytest.fixture
def noisy(deployed: Deployed) -> Callable[[float], Run]:
    """Float32's result with noise of a PSNR in dB, the same sign and size everywhere but for its pattern."""
    session = get_backend("openvino").open(deployed, SessionOptions(precision="f32"))

    def runner(decibels: float) -> Run:
        peak = deployed.format.pixel_format.peak
        step = peak * 10 ** (-decibels / 20)
        random = np.random.default_rng(0)

        def run(src: Planes, dst: Planes) -> None:
            session.submit(src, dst).result()
            for plane in dst:
                # One step up on as many samples as make the wanted mean square, away from the clip.
                size = max(1, round(step))
                hit = random.random(plane.shape) < step * step / size**2
                up = plane.astype(np.int64) + np.where(plane > peak // 2, -size, size) * hit
                np.copyto(plane, up.astype(plane.dtype))

        return run

    yield runner  # type: ignore[misc]
    session.close()


def test_equal_results_pass(deployed: Deployed, noisy: Callable[[float], Run]) -> None:
    result = check(noisy(400.0), deployed)
    assert (result.psnr_db, result.largest, result.frames) == (100.0, 0, 3)
    assert "OpenVINO f32" in result.against
    require(result)


@pytest.mark.parametrize(("decibels", "passes"), [(56.0, True), (52.0, True), (48.0, False), (30.0, False)])
def test_noise(deployed: Deployed, noisy: Callable[[float], Run], decibels: float, passes: bool) -> None:
    result = check(noisy(decibels), deployed)
    assert result.psnr_db == pytest.approx(decibels, abs=0.8)
    assert result.passes == passes
    assert result.largest >= 1
    if passes:
        require(result)
    else:
        with pytest.raises(EngineBuildError, match=r"not accurate enough.*at least 50 are wanted.*openvino"):
            require(result)


def test_one_bad_plane_of_one_frame_fails(deployed: Deployed, noisy: Callable[[float], Run]) -> None:
    good, count = noisy(400.0), 0

    def run(src: Planes, dst: Planes) -> None:
        nonlocal count
        good(src, dst)
        count += 1
        if count == 2:
            dst[-1][:] = np.roll(dst[-1], 1)

    result = check(run, deployed)
    assert count == 3
    assert not result.passes


def test_what_writes_nothing_fails(deployed: Deployed) -> None:
    assert not check(lambda *_: None, deployed).passes


def test_no_frames_prove_nothing(deployed: Deployed) -> None:
    assert not check(lambda *_: None, deployed, []).passes


def test_the_frames_are_always_the_same_and_go_to_the_ends(deployed: Deployed) -> None:
    one, other = list(frames_for(deployed)), list(frames_for(deployed))
    pixels = deployed.format.pixel_format
    for frame, same in zip(one, other, strict=True):
        pixels.check(frame, WIDTH, HEIGHT)
        assert all(np.array_equal(a, b) for a, b in zip(frame, same, strict=True))
    assert {int(one[2][0].min()), int(one[2][0].max())} == {0, pixels.peak}
