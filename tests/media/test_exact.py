"""Nearest neighbour through the whole pipeline, losslessly: every sample arrives, repeated exactly."""

from pathlib import Path

import numpy as np
import pytest
from describe import decode
from synth import make_clip

import vidsr

FORMATS = [
    "gray", "gray10le",
    "yuv420p", "yuv422p", "yuv444p", "yuv440p",
    "yuv420p10le", "yuv422p10le", "yuv444p10le", "gbrp10le", "yuva420p",
]  # fmt: skip


@pytest.mark.parametrize("tile", ["0", "32"])
@pytest.mark.parametrize("size", [(64, 48), (53, 37)])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_sample_is_repeated_exactly(
    tmp_path: Path, pixel_format: str, size: tuple[int, int], tile: str
) -> None:
    colors = (2, 0, 2, 2) if pixel_format.startswith("gbr") else (1, 1, 1, 1)
    source = make_clip(
        tmp_path / "in.mkv", pixel_format=pixel_format, size=size, times=4, codec="ffv1", colors=colors
    )
    job = vidsr.Job(
        source=source,
        output=tmp_path / "out.mkv",
        backend="nearest",
        chroma="nearest",
        codec="ffv1",
        tile=tile,
    )
    report = vidsr.run(job)
    assert report.warnings == ()
    before, after = decode(source), decode(tmp_path / "out.mkv")
    assert len(before) == len(after) == 4
    for small, large in zip(before, after, strict=True):
        assert len(small) == len(large)
        for one, many in zip(small, large, strict=True):
            repeated = one.repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_array_equal(many, repeated[: many.shape[0], : many.shape[1]])
            # A plane of an odd size may lose its last repeat, never a sample.
            assert repeated.shape[0] - many.shape[0] in (0, 1)
