"""Planes that no network makes: the compiled filters against the same arithmetic in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsr import kernels
from vidsr.color import upsampling_phases
from vidsr.models.resample import keys

PATHS = kernels.paths()
NAMES = [path.name for path in PATHS]

pytestmark = pytest.mark.usefixtures("kernel")


def along(x: Any, scale: int, offset: float) -> Any:
    """Return rows of x [h, w], float64, at `scale` times their number, by Keys' cubic with repeated ends."""
    made = np.zeros((len(x) * scale, x.shape[1]))
    for row in range(len(made)):
        place = row // scale + upsampling_phases(scale, offset)[row % scale]
        for k in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            made[row] += keys(place - k) * x[min(max(k, 0), len(x) - 1)]
    return made


def phases(scale: int, offset: float) -> kernels.Phases:
    from vidsr.models.rows import _phases

    return _phases(scale, offset)


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 30), st.integers(1, 70)),
    scale=st.integers(1, 4),
    offsets=st.tuples(st.sampled_from([0.25, 0.5, 0.75, 0.125]), st.sampled_from([0.25, 0.5])),
    depth=st.sampled_from([(255, np.uint8), (1023, np.uint16), (65535, np.uint16)]),
    crop=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    bands=st.integers(1, 4),
)
@settings(max_examples=60)
def test_against_numpy(
    path: kernels.PathInfo,
    seed: int,
    size: tuple[int, int],
    scale: int,
    offsets: tuple[float, float],
    depth: Any,
    crop: tuple[int, int],
    bands: int,
) -> None:
    peak, kind = depth
    plane = np.random.default_rng(seed).integers(0, peak + 1, size).astype(kind)
    rows, columns = (side * scale - min(c, scale - 1) for side, c in zip(size, crop, strict=True))
    target = np.full((rows + 2, columns + 5), 9, kind)
    inner = target[1:-1, 2:-3]
    down, across = (phases(scale, offset) for offset in offsets)
    memory = kernels.aligned_memory(kernels.resample_workspace(size[1], scale, down[0]))
    for band in range(bands):
        part = (rows * band // bands, rows * (band + 1) // bands)
        if part[0] < part[1]:
            kernels.resample(path, plane, inner, scale, down, across, peak, part, memory)
    values = along(along(plane.astype(np.float64), scale, offsets[0]).T, scale, offsets[1]).T
    off = np.abs(inner - np.clip(values, 0, peak)[:rows, :columns])
    assert off.max() <= 0.5 + peak / 2**20
    target[1:-1, 2:-3] = 9
    assert (target == 9).all()


def test_refusals() -> None:
    path = PATHS[0]
    plane, target = np.zeros((4, 5), np.uint8), np.zeros((8, 10), np.uint8)
    filters = (phases(2, 0.5), phases(2, 0.5))
    memory = kernels.aligned_memory(kernels.resample_workspace(5, 2, filters[0][0]))
    kernels.resample(path, plane, target, 2, *filters, 255, (0, 8), memory)
    short = (filters[0][0], filters[0][1], filters[0][2][:-4])
    far = (filters[0][0], 7, filters[0][2])
    wrong: list[tuple[Any, ...]] = [
        (path, plane, target[:, :8], 2, *filters, 255, (0, 8), memory),
        (path, plane, target[:6], 2, *filters, 255, (0, 8), memory),
        (path, plane, target, 3, *filters, 255, (0, 8), memory),
        (path, plane, target, 2, short, filters[1], 255, (0, 8), memory),
        (path, plane, target, 2, far, filters[1], 255, (0, 8), memory),
        (path, plane, target, 2, *filters, 256, (0, 8), memory),
        (path, plane, target, 2, *filters, 255, (0, 9), memory),
        (path, plane, target, 2, *filters, 255, (0, 8), memory[:-64]),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError):
            kernels.resample(*arguments)
