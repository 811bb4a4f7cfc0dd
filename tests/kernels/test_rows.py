"""The compiled kernels against numpy, on every path that this machine can take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import expected, expected_int8, picture, random_stack, rounded

from vidsr import kernels
from vidsr.kernels import FoldedStack, PathInfo, RowKernel, aligned_memory

PATHS = kernels.paths()
NAMES = [path.name for path in PATHS]
DEPTHS = [(255, np.uint8), (1023, np.uint16), (4095, np.uint16), (65535, np.uint16)]

pytestmark = pytest.mark.usefixtures("kernel")


def run(
    stack: FoldedStack, path: PathInfo, plane: Any, peak: int, *, bands: int = 1, cache: int | None = None
) -> Any:
    """Return what a path makes of a plane, in bands of rows."""
    rows = RowKernel(stack, path, peak, cache=cache)
    height, width = plane.shape
    made = np.full((height * stack.scale, width * stack.scale), 77, plane.dtype)
    memory = aligned_memory(rows.workspace_bytes(width))
    for band in range(bands):
        first, end = height * band // bands, height * (band + 1) // bands
        if first < end:
            rows.run(plane, made, first, end, memory)
    return made


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 120)),
    blocks=st.integers(0, 4),
    channels=st.sampled_from([1, 3, 4, 8, 13, 16, 32, 64]),
    scale=st.integers(1, 4),
    depth=st.sampled_from(DEPTHS),
)
@settings(max_examples=40)
def test_every_path_against_numpy(
    path: PathInfo, seed: int, size: tuple[int, int], blocks: int, channels: int, scale: int, depth: Any
) -> None:
    rng = np.random.default_rng(seed)
    peak, kind = depth
    stack = random_stack(rng, blocks, channels, scale, quantised=path.precision == "int8")
    plane = picture(rng, *size, peak, kind)
    made = run(stack, path, plane, peak)
    if path.precision == "int8":
        assert_as_integers(made, stack, plane, peak)
        return
    off = np.abs(made - np.clip(expected(stack, plane, peak), 0, peak))
    if path.precision == "f32":
        assert off.max() < 0.5 + max(0.01, peak / 2**17)
    else:
        assert off.max() < 0.5 + peak / 24  # 8 bits of mantissa, through up to six layers
        assert np.sqrt((off**2).mean()) < 0.5 + peak / 160


def assert_as_integers(made: Any, stack: FoldedStack, plane: Any, peak: int) -> None:
    """A float32 that lies between two codes may fall to the other side, and take a neighbour with it."""
    wanted = rounded(expected_int8(stack, plane, peak), peak, plane.dtype)
    off = np.abs(made.astype(int) - wanted.astype(int))
    if peak > 32767:  # the first convolution is in f32 then
        assert off.max() <= peak * 0.06
        assert off.mean() <= peak * 0.008
    else:
        # One such code reaches a neighbourhood, or all of a small picture, the farther the deeper the stack.
        assert off.max() <= 1 + peak * 0.03
        if len(stack.convs) <= 3:
            assert np.mean(off > 0) < 0.02 or (off > 0).sum() <= 200


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 60), st.integers(1, 300)),
    bands=st.integers(2, 7),
    cache=st.sampled_from([1, 20_000, 60_000, 1 << 20]),
    scale=st.sampled_from([2, 3]),
)
@settings(max_examples=25)
def test_bands_and_strips_change_no_sample(
    path: PathInfo, seed: int, size: tuple[int, int], bands: int, cache: int, scale: int
) -> None:
    rng = np.random.default_rng(seed)
    stack = random_stack(rng, 2, 8, scale, quantised=True)
    plane = picture(rng, *size, 255, np.uint8)
    whole = run(stack, path, plane, 255, cache=1 << 30)
    assert np.array_equal(run(stack, path, plane, 255, bands=bands, cache=cache), whole)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
@pytest.mark.parametrize(("peak", "kind"), DEPTHS[:2])
def test_tiles_with_their_halo_are_parts_of_the_whole(path: PathInfo, peak: int, kind: Any) -> None:
    rng = np.random.default_rng(5)
    stack = random_stack(rng, 3, 16, 2, quantised=True)
    plane = picture(rng, 70, 150, peak, kind)
    whole, halo = run(stack, path, plane, peak), len(stack.convs)
    top, left, height, width = 21, 37, 30, 64
    cut = plane[top - halo : top + height + halo, left - halo : left + width + halo]
    made = run(stack, path, cut, peak)[2 * halo : -2 * halo, 2 * halo : -2 * halo]
    assert np.array_equal(made, whole[2 * top : 2 * (top + height), 2 * left : 2 * (left + width)])


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_rows_may_lie_anywhere(path: PathInfo) -> None:
    rng = np.random.default_rng(6)
    stack = random_stack(rng, 1, 8, 3, quantised=True)
    plane = picture(rng, 19, 23, 1023, np.uint16)
    whole = run(stack, path, plane, 1023)
    memory = aligned_memory(1 << 22)
    rows = RowKernel(stack, path, 1023)
    wide = np.pad(plane, ((2, 1), (5, 9)))[2:-1, 5:-9]
    upside_down = plane[::-1].copy()[::-1]
    for source in (wide, upside_down):
        target = np.full((19 * 3 + 4, 23 * 3 + 7), 5, np.uint16)
        inner = target[2:-2, 3:-4]
        rows.run(source, inner, 0, 19, memory)
        assert np.array_equal(inner, whole)
        target[2:-2, 3:-4] = 5
        assert (target == 5).all()  # nothing was written around it


def test_f32_paths_stay_within_a_code_on_one_sample_in_ten_thousand() -> None:
    rng = np.random.default_rng(7)
    stack = random_stack(rng, 4, 16, 2)
    plane = picture(rng, 270, 480, 255, np.uint8)
    right = rounded(expected(stack, plane, 255), 255, np.uint8)
    for path in PATHS:
        if path.precision == "f32":
            off = np.abs(run(stack, path, plane, 255).astype(int) - right)
            assert off.max() <= 1
            assert np.mean(off > 0) < 1e-4, path.name


def test_refusals() -> None:
    rng = np.random.default_rng(8)
    stack = random_stack(rng, 1, 8, 2)
    path = PATHS[0]
    rows = RowKernel(stack, path, 255)
    plane, target = np.zeros((8, 9), np.uint8), np.zeros((16, 18), np.uint8)
    memory = aligned_memory(rows.workspace_bytes(9))
    rows.run(plane, target, 0, 8, memory)
    wrong: list[tuple[Any, ...]] = [
        (plane, target[:, :-1], 0, 8, memory),
        (plane, target.astype(np.uint16), 0, 8, memory),
        (plane[:, ::2], target, 0, 8, memory),
        (plane.astype(np.float32), target, 0, 8, memory),
        (plane[0], target, 0, 8, memory),
        (plane, target, 0, 9, memory),
        (plane, target, -1, 8, memory),
        (plane, target, 3, 3, memory),
        (plane, target, 0, 8, memory[:-1]),
        (plane, target, 0, 8, memory[1:]),
        (plane[:0], target[:0], 0, 0, memory),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError):
            rows.run(*arguments)
    target.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        rows.run(plane, target, 0, 8, memory)
    for path in PATHS:
        if path.precision == "int8":
            with pytest.raises(ValueError, match="not quantised"):
                RowKernel(stack, path, 255)
        with pytest.raises(ValueError, match="does not fit"):
            RowKernel(random_stack(rng, 1, 80, 2, quantised=True), path, 255)
        with pytest.raises(ValueError, match="2 to 66"):
            RowKernel(random_stack(rng, 70, 4, 2, quantised=True), path, 255)


def test_peaks_are_measured() -> None:
    for path in PATHS:
        found = kernels.peak(path.name, 0.01)
        assert found == 0 if path.name == "portable" else 1e9 < found < 1e13, path.name
    with pytest.raises(ValueError, match="no path"):
        kernels.peak("sse9", 0.01)
